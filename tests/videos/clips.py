"""Small moving pictures and ways to spoil files, shared by the tests of this folder."""

from __future__ import annotations

import contextlib
import fractions
import os
import re

import av
import numpy as np
from PIL import Image

from tests.videos.drawn import EPISODES, episode
from vipjax.videos import read_videos


def moving_picture(length=10, height=48, width=64):
  """Smooth, all different, and with no symmetry that a turned or mirrored frame could hide in."""
  y, x = np.mgrid[:height, :width]
  frames = [
    np.stack(
      [
        128 + 90 * np.sin(x / 9 + time / 2),
        128 + 90 * np.cos(y / 11 - time / 3),
        40 + 150 * (x + 2 * y) / (width + 2 * height),
      ],
      axis=-1,
    )
    for time in range(length)
  ]
  return np.stack(frames).astype(np.uint8)


def psnr(first, second):
  """Peak signal-to-noise ratio in dB of two uint8 arrays."""
  error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
  return 10 * np.log10(255**2 / error)


@contextlib.contextmanager
def without_permission(path):
  """Takes every permission from the path; root, whom permissions do not stop, becomes nobody."""
  modes = {path: path.stat().st_mode}
  user = os.geteuid()
  if user == 0:
    # pytest's folders are open to their owner alone, so the way to the path is opened too.
    modes |= {folder: folder.stat().st_mode for folder in path.parents}
    for folder in path.parents:
      if modes[folder] & 0o055 != 0o055:
        folder.chmod(modes[folder] | 0o055)
  path.chmod(0)
  try:
    if user == 0:
      os.seteuid(65534)
    yield
  finally:
    os.seteuid(user)
    for changed, mode in modes.items():
      if changed.stat().st_mode != mode:
        changed.chmod(mode)


def encode(
  path, frames, codec, rate=10, rotation=None, pixel_format="yuv420p", pts=None, gop=None,
  b_frames=None, options=None,
):  # fmt: skip
  """Writes a file by PyAV alone, as other people's tools would."""
  with av.open(str(path), "w") as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixel_format
    stream.options = options or {}
    if gop is not None:
      stream.codec_context.gop_size = gop
    if b_frames is not None:
      stream.codec_context.max_b_frames = b_frames
    if rotation is not None:
      stream.set_display_rotation(**rotation)
    for index, image in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(image, format="rgb24")
      frame.pts = index if pts is None else pts[index]
      frame.time_base = 1 / fractions.Fraction(rate)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_frames(folder, frames, name="{}.png"):
  """Writes a folder of numbered images."""
  folder.mkdir(parents=True, exist_ok=True)
  for index, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / name.format(index))


def assert_one_sentence(error, *parts):
  """Checks the form that every message has, and what this one must name."""
  message = str(error.value)
  for part in parts:
    assert str(part) in message, message
  assert re.fullmatch(r"expected [^\n]+, got [^\n]+; [^\n]+\.", message), message


def check_episodes(folder, cameras, exact):
  """Every camera of every episode is what was drawn."""
  videos = read_videos(folder)
  assert [(video.episode, video.view) for video in videos] == [
    (number, name) for number in range(3) for name in cameras
  ]
  for video in videos:
    length, task, success = EPISODES[video.episode]
    frames = episode(cameras[video.view], video.episode)
    assert video.frames.shape == frames.shape
    if exact:
      np.testing.assert_array_equal(video.frames, frames)
    else:
      assert psnr(video.frames, frames) > 30
      # Each is nearest to its own: not one frame early or late.
      for index, frame in enumerate(video.frames):
        assert np.argmax([psnr(frame, other) for other in frames]) == index
    assert (video.task, video.success, video.fps) == (task, success, 10.0)
