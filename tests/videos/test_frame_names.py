"""Names of frames: their order, and the times that they tell."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture, write_frames
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video
from vipjax.videos.frame_names import in_sequence

FOLDER = pathlib.Path("folder")

# In their order.
COUNTED = {
  "plain": ["7", "8", "9", "10"],
  "padded": ["frame_0001", "frame_0002", "frame_0003"],
  "every tenth": ["a10b", "a20b", "a30b"],
  "number first": ["8_left", "9_left", "10_left"],
  "of a version": ["v1.10_0001", "v1.10_0002"],
  "after a point": ["shot.0009", "shot.0010", "shot.0011"],
  "versions": [f"v1.{number}" for number in range(1, 12)],
  "counted after a point": [f"cam_1.{number}" for number in range(1, 12)],
  "four digits after a point": [f"1.{number:04d}" for number in range(1, 12)],
  "addresses": ["10.0.0.9", "10.0.0.10", "10.0.0.11"],
  "of a day": ["20240101_000000", "20240101_000001", "20240101_000002"],
  "of a day that counts on": ["20240101_000098", "20240101_000099", "20240101_000100"],
  "of a moment": [f"2024-01-01_10-20-30_{number:04d}" for number in range(1, 12)],
  "of a moment, three digits": [f"2024-01-01_10-20-30_{number:03d}" for number in range(1, 12)],
  "of a moment, plain": [f"2024-01-01_10-20-30_{number}" for number in range(1, 12)],
  "seconds and frames": ["1_8", "1_9", "2_0", "2_5"],
  "one": ["12.5"],
}
TIMES = {
  "seconds": (["1.5", "1.75", "2.0", "10.25"], [0, 0.25, 0.5, 8.75]),
  "of one second": (["0.1", "0.15", "0.3", "0.99"], [0, 0.05, 0.2, 0.89]),
  "one width": (["0.00", "0.10", "0.20", "0.30"], [0, 0.1, 0.2, 0.3]),
  "some without a point": (["9.9", "10", "10.1"], [0, 0.1, 0.2]),
  "small": (["1e-05", "0.1", "0.2"], [0, 0.09999, 0.19999]),
  "large": (["1.7e+09", "1700000001.5"], [0, 1.5]),
  "before": (["-0.5", "0.0", "0.5"], [0, 0.5, 1]),
  "of a camera": (["cam0_9.5", "cam0_12.3", "cam0_100.1"], [0, 2.8, 90.6]),
  "word": (["t9.25", "t10.5"], [0, 1.25]),
  "camera last": (["9.25_left", "10.5_left"], [0, 1.25]),
  "numbered as well": (["0009_17.25", "0010_17.5", "0011_18.0"], [0, 0.25, 0.75]),
  "since 1970": (["1718000000.9", "1718000001.10", "1718000001.2"], [0, 0.2, 0.3]),
  "seconds since 1970": (["1718000000", "1718000001", "1718000003"], [0, 1, 3]),
  "milliseconds": (["1718000000000", "1718000000033", "1718000000101"], [0, 0.033, 0.101]),
  "microseconds": (["1718000000000000", "1718000000033000"], [0, 0.033]),
  "nanoseconds": (["1403636579763555584", "1403636579813555584"], [0, 0.05]),
  "time of day": (["00:00:59.5", "00:01:02.25", "00:01:02.5"], [0, 2.75, 3]),
  "times with dashes": (["00-00-59.500", "00-01-02.250"], [0, 2.75]),
  "date and time": (["2024-02-28T23:59:59", "2024-02-29T00:00:01.5"], [0, 2.5]),
  "dashes": (["2024-01-01_10-20-30.5", "2024-01-01_10-20-31.25"], [0, 0.75]),
  "digits": (["20240101102030123", "20240101102031000"], [0, 0.877]),
  "of a telephone": (["IMG_20240101_102059", "IMG_20240101_102103"], [0, 4]),
  "of a player": (["snap-2024-01-01-10h20m30s123", "snap-2024-01-01-10h20m31s000"], [0, 0.877]),
  "microseconds apart": (["20240101_102030_000100", "20240101_102030_100100"], [0, 0.1]),
}  # fmt: skip


def sequence(names):
  """What is made of names in another order than theirs."""
  shuffled = np.random.default_rng(0).permutation(names).tolist()
  images, times = in_sequence(FOLDER, [FOLDER / f"{name}.png" for name in shuffled])
  return [image.name.removesuffix(".png") for image in images], times


@pytest.mark.parametrize("names", COUNTED.values(), ids=COUNTED)
def test_numbers_that_count(names):
  ordered, times = sequence(names)
  assert ordered == names and times is None


@pytest.mark.parametrize(("names", "expected"), TIMES.values(), ids=TIMES)
def test_numbers_that_are_times(names, expected):
  ordered, times = sequence(names)
  assert ordered == names
  np.testing.assert_allclose(times, expected, atol=1e-9)


def test_uneven_numbers_of_an_unknown_unit_keep_their_proportions():
  ordered, times = sequence(["0", "33", "67", "100"])
  assert ordered == ["0", "33", "67", "100"]
  np.testing.assert_allclose(times, np.array([0, 33, 67, 100]) * 0.3 / 100)


@pytest.mark.parametrize(
  "names", [["0", "1", "3"], ["10", "20", "50"], ["a_5_b", "a_6_b", "a_8_b"]]
)
def test_missing_frames(names):
  with pytest.raises(UserError) as error:
    sequence(names)
  assert_one_sentence(error, FOLDER, f"{names[2]}.png after {names[1]}.png", "restore")


@pytest.mark.parametrize("names", [["12.5", "012.5"], ["1", "01"]])
def test_the_same_number_twice(names):
  with pytest.raises(UserError) as error:
    sequence(names)
  assert_one_sentence(error, "got one for")


def test_images_named_by_time(tmp_path):
  """Names of other people's recorders (time.time() at 10 Hz with jitter)."""
  rng = np.random.default_rng(0)
  stamps = 1718000000.1 + np.arange(30) / 10 + rng.uniform(-0.005, 0.005, 30)
  frames = moving_picture(30, 8, 8)
  for stamp, frame in zip(stamps.tolist(), frames, strict=True):
    write_frames(tmp_path / "0", [frame], f"{stamp}.png")
  video = read_video(tmp_path)
  np.testing.assert_array_equal(video.frames, frames)
  assert video.fps == pytest.approx(29 / (stamps[-1] - stamps[0]), rel=1e-5)
  (lazy,) = open_videos(tmp_path, fps=5)
  # By their times, to a tenth of a step; not every second one.
  expected = [
    np.flatnonzero(stamps - stamps[0] <= at + 0.01)[-1] for at in np.arange(len(lazy)) / 5
  ]
  np.testing.assert_array_equal(lazy[:], frames[expected])
  # The fps that a manifest gives wins.
  shutil.copytree(tmp_path / "0", tmp_path / "told" / "0")
  (tmp_path / "told" / "videos.json").write_text('[{"file": "0", "fps": 4}]')
  assert read_video(tmp_path / "told").fps == 4
