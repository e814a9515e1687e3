"""Composites, against scenes whose parts are known: an arm (a column) over an object (a row)."""

import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, write_dataset, write_videos
from vipjax.videos.composite import (
  composite_videos,
  detour,
  differing,
  first_motion,
  fixed_arm,
)

LENGTH, MOVES, SIZE = 6, 2, 48
OPTIONS = {"view": "front", "episode": 0, "task": "window-open", "success": True}


def draw(arm, moment):
  """uint8 [SIZE, SIZE, 3]; the object moves from moment MOVES on; `arm` None is robot-free."""
  frame = np.full((SIZE, SIZE, 3), 60, np.uint8)
  place = 8 + 8 * max(moment - MOVES, 0)
  frame[30:42, place : place + 8] = (20, 120, 200)
  if arm is not None:
    frame[:36, 6 * arm : 6 * arm + 8] = (220, 30, 30)
  return frame


def film(visible, **changes):
  frames = np.stack([draw(t if visible else None, t) for t in range(LENGTH)])
  return Video(frames, 10.0, robot_visible=visible, source="made", **{**OPTIONS, **changes})


def opened(folder, videos, form="frames"):
  write_dataset(folder, videos, form)
  return open_videos(folder)


def test_the_mask_is_where_a_film_and_its_twin_differ():
  plain, free = film(True).frames, film(False).frames
  masks = differing(plain, free)
  assert masks.sum() == LENGTH * 36 * 8
  assert masks[2, :36, 12:20].all()
  # The arm is 200 levels brighter than the object, and 160 than all else.
  assert differing(plain, free, 160).sum() < masks.sum()
  assert not differing(plain, free, 200).any()


def test_a_cleaned_mask_has_no_single_pixels_and_no_single_holes():
  plain = np.zeros((1, 9, 9, 3), np.uint8)
  plain[0, 3:8, 3:8], plain[0, 5, 5], plain[0, 0, 0] = 90, 0, 90
  masks = differing(plain, np.zeros_like(plain), 12)
  expected = np.zeros((9, 9), bool)
  expected[3:8, 3:8] = True
  for corner in (3, 7):
    expected[corner, [3, 7]] = False  # four of nine
  np.testing.assert_array_equal(masks[0], expected)


@pytest.mark.parametrize("threshold", [0, 12])
def test_motion_begins_after_the_last_frame_like_the_first(threshold):
  free = film(False).frames
  assert first_motion(free, threshold) == MOVES
  with pytest.raises(UserError, match="got one that stands still"):
    first_motion(free[: MOVES + 1])


def test_tracks():
  robot, scene = fixed_arm(6, 2, 5)
  assert (robot.tolist(), scene.tolist()) == ([5] * 4, [2, 3, 4, 5])
  robot, scene = detour(6, 2, 5)
  assert robot.tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 3, 4, 5]
  assert scene.tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4, 5]
  assert [each.tolist() for each in detour(4, 1, 1)] == [[0, 1, 2, 3]] * 2


def test_composites_of_lossless_films_are_exact(tmp_path):
  made = composite_videos(opened(tmp_path / "a", [film(True), film(False)]), 2, 1, threshold=0)
  poses = ["fixed arm of frame 2", "fixed arm of frame 5", "detour of frame 5"]
  assert [each.metadata["source"].split(", ")[-1] for each in made] == poses
  tracks = [fixed_arm(LENGTH, MOVES, 2), fixed_arm(LENGTH, MOVES, 5), detour(LENGTH, MOVES, 5)]
  for video, moments in zip(made, tracks, strict=True):
    expected = np.stack([draw(a, o) for a, o in zip(*moments, strict=True)])
    # An arm hides what is behind it in its own moment alone; this one hides the object nowhere.
    np.testing.assert_array_equal(video.read().frames, expected)
    np.testing.assert_array_equal(video[[1, 0]], expected[[1, 0]])
    assert video.fps == 10.0
    assert {name: video.metadata[name] for name in OPTIONS} == OPTIONS


def test_composites_of_compressed_films_are_near(tmp_path):
  made = composite_videos(opened(tmp_path / "a", [film(True), film(False)], "mp4"), 1, 1)
  for video, moments in zip(
    made, (fixed_arm(LENGTH, MOVES, 5), detour(LENGTH, MOVES, 5)), strict=True
  ):
    expected = np.stack([draw(a, o) for a, o in zip(*moments, strict=True)]).astype(int)
    assert np.abs(video[:] - expected).mean() < 3


def test_each_view_has_its_own_and_failures_have_none(tmp_path):
  films = [
    film(visible, view=view, episode=episode, success=episode == 0)
    for view in ("front", "side") for episode in (0, 1) for visible in (True, False)
  ]  # fmt: skip
  made = composite_videos(opened(tmp_path / "a", films), 0, 2)
  assert [(each.metadata["view"], each.metadata["episode"]) for each in made] == [
    ("front", 0), ("front", 0), ("side", 0), ("side", 0),
  ]  # fmt: skip


@pytest.mark.parametrize(
  "films, words",
  [
    ([film(False)], "expected a video with the robot"),
    ([film(True)], "got 1 and 0 like"),
    ([film(True), film(False, view="side")], "got 1 and 0 like"),
    ([film(True), film(False), film(True, view="side")], "got 1 and 0 like"),
  ],
)
def test_a_missing_twin_is_one_sentence(tmp_path, films, words):
  write_videos(tmp_path / "a", films)
  with pytest.raises(UserError, match=words):
    composite_videos(open_videos(tmp_path / "a"), 1, 0)


def test_twins_of_other_lengths_are_one_sentence(tmp_path):
  films = opened(tmp_path / "a", [film(True), film(False)])
  short = open_videos(tmp_path / "a", max_frames=4)
  with pytest.raises(UserError, match="got 6 in .* and 4 in its twin"):
    composite_videos([films[0], short[1]], 1, 0)
