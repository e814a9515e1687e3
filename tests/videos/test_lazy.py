"""Frames decoded as they are asked for: the same as those of a whole reading, and fewer of them."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence, encode, moving_picture, write_frames
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video, read_videos
from vipjax.videos.access import found_in
from vipjax.videos.lazy import FrameCache, resampled


def keyed(path, length=60, every=10):
  """A video with a key frame every so many frames, and how to count what is decoded of it."""
  frames = moving_picture(length, 32, 48)
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=10)
    stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
    stream.codec_context.gop_size = every
    stream.options = {"sc_threshold": "0"}
    for image in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(stream.encode())


def test_what_lies_before_the_key_frame_is_not_decoded(tmp_path, monkeypatch):
  path = tmp_path / "clip.mp4"
  keyed(path)
  whole = read_video(path).frames
  (lazy,) = open_videos(path)
  stamps = []
  from vipjax.videos import decode

  collect = decode.VideoFile._collect

  def counted(self, frames, wanted, key):
    def watched():
      for frame in frames:
        stamps.append(frame.time)
        yield frame

    return collect(self, watched(), wanted, key)

  monkeypatch.setattr(decode.VideoFile, "_collect", counted)
  np.testing.assert_array_equal(lazy[55], whole[55])
  assert len(stamps) == 6 and min(stamps) == 5.0
  stamps.clear()
  np.testing.assert_array_equal(lazy[[2, 33]], whole[[2, 33]])
  assert len(stamps) == 3 + 4
  stamps.clear()
  lazy[[2, 33, 55]]
  assert stamps == []  # out of the cache


def test_the_cache_forgets_the_least_recently_used():
  cache = FrameCache(3 * 12)
  frames = [np.full((2, 2, 3), number, np.uint8) for number in range(4)]
  for number in range(3):
    cache.put(("video", number), frames[number])
  assert cache.get(("video", 0)) is frames[0]
  cache.put(("video", 3), frames[3])
  assert cache.get(("video", 1)) is None and cache.get(("video", 0)) is frames[0]
  assert cache.nbytes == 36
  cache.put(("video", 4), np.zeros((9, 9, 3), np.uint8))  # larger than all of it
  assert cache.get(("video", 4)) is None and cache.nbytes == 36


def test_the_cache_is_bounded_while_videos_are_watched(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(20, 8, 8))
  (lazy,) = open_videos(tmp_path / "clip.npy", cache_bytes=5 * 8 * 8 * 3)
  for index in range(20):
    lazy[index]
  assert lazy._cache.nbytes == 5 * 8 * 8 * 3


def test_an_npz_is_decompressed_once_and_stays_as_it_is(tmp_path, monkeypatch):
  frames = moving_picture(20, 8, 8)
  np.savez_compressed(tmp_path / "clip.npz", frames)
  (lazy,) = open_videos(tmp_path / "clip.npz", frame_stride=2)
  loaded, load = [], np.load
  monkeypatch.setattr(np, "load", lambda *arguments: loaded.append(1) or load(*arguments))
  for index in range(10):
    taken = lazy[index : index + 1]
    np.testing.assert_array_equal(taken[0], frames[2 * index])
    taken[:] = 0
  np.testing.assert_array_equal(lazy[[0, 9]], frames[[0, 18]])
  assert len(loaded) == 2  # its header, and all of it


def test_what_is_found_in_a_file_is_kept_until_the_file_changes(tmp_path):
  path, calls = tmp_path / "a", []

  def find(path):
    calls.append(path)
    return path.read_text()

  with pytest.raises(FileNotFoundError):
    found_in(find, path)
  for text in ("one", "three"):
    path.write_text(text)
    assert [found_in(find, path) for _ in range(3)] == [text] * 3
  assert len(calls) == 3


@pytest.mark.parametrize(
  ("times", "rate", "expected"),
  [
    ([0, 0.1, 0.2, 0.3], 10, [0, 1, 2, 3]),
    ([0, 0.1, 0.2, 0.3], 5, [0, 2]),
    ([0, 0.1, 0.2, 0.3], 20, [0, 0, 1, 1, 2, 2, 3]),
    ([0, 0.5, 0.6, 1.0], 4, [0, 0, 1, 2, 3]),
    ([0, 0.033, 0.067, 0.1], 30, [0, 1, 2, 3]),
    ([0.0], 30, [0]),
  ],
)
def test_resampled(times, rate, expected):
  assert resampled(np.array(times, float), rate).tolist() == expected


def test_a_rate_makes_a_variable_one_even(tmp_path):
  path = tmp_path / "clip.mkv"
  frames = moving_picture(5, 32, 32)
  encode(path, frames, "libx264", rate=10, pts=[0, 1, 2, 8, 9])
  whole = read_video(path).frames
  video = read_video(path, fps=10)
  assert video.fps == 10
  np.testing.assert_array_equal(video.frames, whole[[0, 1, 2, 2, 2, 2, 2, 2, 3, 4]])
  sparse = read_video(path, fps=10, frame_stride=3, max_frames=3)
  assert sparse.fps == pytest.approx(10 / 3)
  np.testing.assert_array_equal(sparse.frames, whole[[0, 2, 2]])


def test_rate_of_images_and_arrays(tmp_path):
  frames = moving_picture(10, 8, 8)
  write_frames(tmp_path / "0", frames)
  np.savez(tmp_path / "1.npz", frames=frames, fps=20.0)
  images, array = read_videos(tmp_path, fps=5)
  np.testing.assert_array_equal(images.frames, frames[::2])
  np.testing.assert_array_equal(array.frames, frames[::4])
  assert images.fps == array.fps == 5


@pytest.mark.parametrize("fps", [0, -1.0, float("nan")])
def test_bad_rate(tmp_path, fps):
  np.save(tmp_path / "clip.npy", moving_picture(2, 8, 8))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path, fps=fps)
  assert_one_sentence(error, "fps above 0")


def test_no_frame_chosen(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(2, 8, 8))
  with pytest.raises(UserError) as error:
    open_videos(tmp_path / "clip.npy")[0][5:]
  assert_one_sentence(error, "at least one of 2 frames, got slice(5")
