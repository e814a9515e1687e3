"""Films and their erased twins, as other readers find them."""

import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence
from tests.videos.test_erase import passing_block
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import composite_videos, open_videos, read_videos, write_dataset
from vipjax.videos.erase import grown
from vipjax.videos.twins import write_twins

FRAMES, MASKS, BACKGROUND = passing_block()


def films(folder, *metadata, frames=FRAMES):
  write_dataset(folder, [Video(frames, 10.0, **each) for each in metadata], "frames")
  return open_videos(folder)


def true_masks(index, video):
  return MASKS


def test_a_twin_shows_the_scene_and_shares_the_episode_of_its_film(tmp_path):
  known = {"task": "push", "view": "top", "episode": 3, "success": True}
  videos = films(tmp_path / "films", known)
  (twin,) = write_twins(tmp_path / "out", videos, true_masks)
  np.testing.assert_array_equal(twin.erased.frames, np.stack([BACKGROUND] * 12))
  assert twin.camera_shift == 0
  np.testing.assert_array_equal(twin.erased.weights, grown(MASKS, 1.44, 1.44))  # 1.5% of 96
  plain, free = read_videos(tmp_path / "out")
  assert (plain.robot_visible, free.robot_visible) == (True, False)
  for video in (plain, free):
    assert {**known, "fps": 10.0}.items() <= video.metadata().items()
    assert len(video.frames) == 12
  assert np.abs(free.frames.astype(int) - BACKGROUND).mean() < 3
  np.testing.assert_array_equal(free.frames[[0, -1]], [BACKGROUND, BACKGROUND])
  assert free.source == f"{plain.source}, robot erased"


def test_a_tail_is_left_out_of_both(tmp_path):
  videos = films(tmp_path / "films", {"episode": 0})
  (twin,) = write_twins(tmp_path / "out", videos, true_masks, tail=0.3)  # of 10 frames a second
  np.testing.assert_array_equal(twin.video.frames, FRAMES[:9])
  np.testing.assert_array_equal(twin.erased.frames, np.stack([BACKGROUND] * 9))
  assert [len(video.frames) for video in read_videos(tmp_path / "out")] == [9, 9]
  with pytest.raises(UserError) as error:
    list(write_twins(tmp_path / "other", videos, true_masks, tail=1.2))
  assert_one_sentence(error, "less than each video has, got 1.2 s", "which has 1.1 s")


def test_numbers_that_are_missing_or_double_are_given_anew(tmp_path):
  for name, metadata, numbers in (
    ("none", [{}, {}], [0, 0, 1, 1]),
    ("double", [{"episode": 4, "task": "a"}, {"episode": 4, "task": "b"}], [0, 0, 1, 1]),
    ("views", [{"episode": 4, "view": "a"}, {"episode": 4, "view": "b"}], [4, 4, 4, 4]),
  ):
    parts = (films(tmp_path / name / str(index), each) for index, each in enumerate(metadata))
    videos = [video for part in parts for video in part]
    assert len(list(write_twins(tmp_path / f"{name}_out", videos, true_masks))) == 2
    found = read_videos(tmp_path / f"{name}_out")
    assert [video.episode for video in found] == numbers
    assert [video.robot_visible for video in found] == [True, False] * 2


def test_what_shows_no_robot_is_passed_over(tmp_path):
  known = {"episode": 0, "view": "top"}
  videos = films(tmp_path / "films", {**known, "robot_visible": False}, known)
  seen = []

  def masks_of(index, video):
    seen.append((index, video.robot_visible))
    return MASKS

  assert len(list(write_twins(tmp_path / "out", videos, masks_of))) == 1
  assert seen == [(1, True)]
  with pytest.raises(UserError) as error:
    list(write_twins(tmp_path / "other", videos[:1], masks_of))
  assert_one_sentence(error, "a video with the robot", "got 1")


def test_films_and_twins_are_taken_for_composites(tmp_path):
  # An object that moves behind the block, and stays.
  frames = FRAMES.copy()
  frames[7:, 70:90, 10:30] = (10, 200, 10)
  videos = films(tmp_path / "films", {}, frames=frames)
  list(write_twins(tmp_path / "out", videos, true_masks))
  made = composite_videos(open_videos(tmp_path / "out"), fixed_arms=1, detours=1)
  assert len(made) == 2


def test_a_camera_that_moves_is_refused_unless_it_is_said_to_stand(tmp_path):
  moving = np.stack([np.roll(frame, t // 2, axis=1) for t, frame in enumerate(FRAMES)])
  videos = films(tmp_path / "films", {}, frames=moving)
  with pytest.raises(UserError) as error:
    list(write_twins(tmp_path / "out", videos, true_masks))
  assert_one_sentence(error, "a camera that stands still", "films", "--static_camera")
  assert not (tmp_path / "out" / "videos.json").exists()
  (twin,) = write_twins(tmp_path / "out", videos, true_masks, check_camera=False)
  assert twin.camera_shift >= 1


def test_masks_without_a_robot_are_refused(tmp_path):
  videos = films(tmp_path / "films", {})
  with pytest.raises(UserError) as error:
    list(write_twins(tmp_path / "out", videos, lambda *_: np.zeros_like(MASKS)))
  assert_one_sentence(error, "the robot somewhere in", "without a pixel")
