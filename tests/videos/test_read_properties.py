"""Readers, whatever the numbers of frames, their sizes and what is asked of them."""

import pathlib
import tempfile

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.videos.clips import write_frames
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video

lengths, sizes = st.integers(1, 12), st.integers(1, 9)


def noise(length, height, width):
  rng = np.random.default_rng(length)
  return rng.integers(0, 255, (length, height, width, 3), dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(lengths, sizes, sizes, st.integers(1, 5), st.integers(1, 12), st.booleans())
def test_what_is_read_is_what_was_written(length, height, width, stride, most, images):
  frames = noise(length, height, width)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / ("frames" if images else "frames.npz")
    if images:
      write_frames(path, frames, "frame_{:03d}.png")
    else:
      np.savez(path, frames=frames, fps=10)
    np.testing.assert_array_equal(read_video(path).frames, frames)
    part = read_video(path, frame_stride=stride, max_frames=most)
    np.testing.assert_array_equal(part.frames, frames[::stride][:most])
    (lazy,) = open_videos(path)
    wanted = np.random.default_rng(0).integers(0, length, 5)
    np.testing.assert_array_equal(lazy[wanted], frames[wanted])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.mp4", "a.npz", "a.npy", "a.gif", "0.png"]))
@example(b"PK\x05\x06 begins like an empty zip archive", "a.npz")
def test_bytes_that_are_no_video_are_one_sentence(content, name):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / name
    path.write_bytes(content)
    try:
      read_video(path if not name.endswith("png") else path.parent)
    except UserError as error:
      message = str(error)
      assert "\n" not in message and message.startswith("expected ") and message.endswith(".")
    else:
      raise AssertionError(f"{content!r} was read as {name}")
