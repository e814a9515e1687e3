"""Goals: which frames they are, distances to them, and whether they fit."""

import pathlib
import types

import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture
from vipjax.encoder import goal_distances
from vipjax.reward.goals import (
  Goal,
  embed_goal,
  find_goals,
  goal_frames,
  misfits,
  names_files,
)
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_videos, write_image, write_videos

DATA = pathlib.Path(__file__).parents[1] / "testdata/lerobot_v30"
NAMES = ("a.mp4", "b.mp4")


@pytest.fixture
def videos():
  return [moving_picture(5, 16, 16), moving_picture(8, 16, 24)]


def test_last_frames(videos):
  goals = find_goals("last", videos, NAMES)
  assert [len(goal.frames) for goal in goals] == [1, 1]
  np.testing.assert_array_equal(goals[1].frames[0], videos[1][-1])
  together = find_goals("all-last", videos, NAMES)
  assert together[0] is together[1] and together[0].name == "the last frames of 2 videos"
  assert together[0].sources == ("a.mp4, last frame", "b.mp4, last frame")
  assert goals[1].sources == ("b.mp4, last frame",)
  np.testing.assert_array_equal(together[0].frames[0], videos[0][-1])


@pytest.mark.parametrize(("text", "index"), [("frame=2", 2), ("frame=-2", -2), ("frame=0", 0)])
def test_a_chosen_frame(videos, text, index):
  for goal, video in zip(find_goals(text, videos, NAMES), videos, strict=True):
    np.testing.assert_array_equal(goal.frames[0], video[index])
    assert goal.sources[0].endswith(f".mp4, frame {index}")


def test_files(tmp_path, videos):
  write_image(tmp_path / "a.png", videos[0][1])
  np.save(tmp_path / "b.npy", videos[1])
  files = (f"{tmp_path / 'a.png'}", f"{tmp_path / 'b.npy'}")
  goals = find_goals(", ".join(files), open_videos(tmp_path / "b.npy"), ["b"])
  assert goals[0].sources == files
  assert len(goals) == 1 and goals[0].name == "a.png, b.npy"
  np.testing.assert_array_equal(goals[0].frames[0], videos[0][1])
  np.testing.assert_array_equal(goals[0].frames[1], videos[1][-1])


def test_goals_are_of_the_camera_and_of_no_failure(tmp_path):
  frames = moving_picture(6, 36, 52)
  write_image(tmp_path / "a.png", frames[2])
  (picture,) = goal_frames(str(tmp_path / "a.png"), "top")
  np.testing.assert_array_equal(picture, frames[2])
  # The second of its three episodes fails.
  found = goal_frames(f"{DATA},{tmp_path / 'a.png'}", "top")
  ends = [video.frames[-1] for video in read_videos(DATA, view="top")]
  assert len(found) == 3
  np.testing.assert_array_equal(found[:2], [ends[0], ends[2]])
  # A single camera may have any name.
  films = [Video(frames, view="left", episode=1, robot_visible=seen) for seen in (True, False)]
  write_videos(tmp_path / "films", films)
  assert len(goal_frames(str(tmp_path / "films"), "top")) == 1
  with pytest.raises(UserError, match="a goal of the camera side, got none") as error:
    goal_frames(str(DATA), "side")
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("text", "part"),
  [
    ("", "expected a goal, got ''"),
    ("frame=two", "whole number in 'frame=N', got 'two'"),
    ("frame=5", "from -5 to 4 in a.mp4, got 5"),
    ("nowhere.png", "got nothing at nowhere.png"),
  ],
)
def test_bad_goals_are_one_sentence(videos, text, part):
  with pytest.raises(UserError, match=part):
    find_goals(text, videos, NAMES)


def test_distances_to_mean_and_nearest(value, videos):
  goal = Goal("both", (videos[0][-1], videos[0][0]), ("", ""))
  frames = videos[0]
  embeddings = value.embed(frames)
  for how in ("mean", "nearest"):
    expected = value.distance(frames, np.stack(goal.frames), how)
    actual = goal_distances(embeddings, embed_goal(value, goal, how))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
  with pytest.raises(UserError, match="mean, nearest, got 'best'"):
    embed_goal(value, goal, "best")


def warnings_of(name, images, video, embeddings=None, distances=None):
  """As if the video went straight to a goal that it reaches, where nothing else is said."""
  way = np.arange(len(video), dtype=np.float32)[:, None]
  embeddings = way if embeddings is None else embeddings
  distances = way[::-1, 0] if distances is None else distances
  value = types.SimpleNamespace(distances=goal_distances)
  goal = Goal(name, tuple(images), ("",) * len(images))
  return misfits(value, goal, video, embeddings, distances)


def test_commas_in_names(tmp_path, videos, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = ["a, b.png", "c.png", "frame=3.png", "d,,e.png"]
  for number, name in enumerate(names):
    write_image(tmp_path / name, videos[1][number])
  (tmp_path / "folder,1").mkdir()
  write_image("folder,1/f.png", videos[1][4])
  names.append("folder,1/f.png")
  for chosen in ([0], [2], [3], [1, 0], [0, 1], [3, 4, 2, 1, 0]):
    for goal in (
      ",".join(names[each] for each in chosen),
      ", ".join(names[each] for each in chosen),
    ):
      (found,) = find_goals(goal, [videos[0]], ["a"])
      assert list(found.sources) == [names[each] for each in chosen]
      np.testing.assert_array_equal(found.frames, videos[1][chosen])
  assert names_files("frame=3.png") and not names_files("frame=3")
  with pytest.raises(UserError, match="got nothing at gone.png"):
    find_goals("c.png,gone.png,a, b.png", [videos[0]], ["a"])


@pytest.mark.parametrize("level", [0, 255, "picture"])
def test_pictures_that_do_not_change_are_told_in_these_words(videos, level):
  still = videos[0][:1] if level == "picture" else np.full((1, 16, 16, 3), level, np.uint8)
  video = np.repeat(still, 5, axis=0)
  video[2] ^= 1  # what a codec may do
  for goal in (video[-1], videos[0][3]):
    (warning,) = warnings_of("its last frame", [goal], video)
    assert warning.startswith("The pictures do not change")


def test_a_video_of_flat_pictures_resembles_its_own(videos):
  fading = np.full((5, 16, 16, 3), 10, np.uint8) * np.arange(5, dtype=np.uint8)[:, None, None, None]
  assert warnings_of("its last frame", [fading[-1]], fading) == []
  (warning,) = warnings_of("other", [videos[0][-1]], fading)
  assert "resembles no frame" in warning


def test_a_goal_of_the_video_fits(videos):
  for video in videos:
    assert warnings_of("last", [video[-1]], video) == []
    # Smaller, darker and noisy, as another camera's picture of the same scene.
    rng = np.random.default_rng(0)
    dim = (video[-1][::2, ::2] * 0.7 + rng.normal(8, 3, video[-1][::2, ::2].shape)).clip(0, 255)
    assert warnings_of("dim", [dim.astype(np.uint8)], video) == []


def test_another_shape_and_another_scene_are_told(videos):
  (warning,) = warnings_of("wide", [videos[1][-1]], moving_picture(4, 16, 16))[:1]
  assert "is 16x24 and the video 16x16" in warning
  upside_down = videos[0][-1][::-1, ::-1]
  (warning,) = warnings_of("turned", [upside_down], videos[0])
  assert "resembles no frame" in warning and "turned" in warning
  # One of several that fits is enough: the others may be of other episodes.
  assert warnings_of("two", [upside_down, videos[0][-1]], videos[0]) == []


def test_a_goal_farther_than_the_video_goes_is_told(videos):
  video = videos[0]
  embeddings = np.array([[4, 0], [3, 0], [2, 0], [1, 0], [0, 0]], np.float32)
  for beside, found in ((3.9, 0), (4.1, 1)):
    distances = goal_distances(embeddings, np.array([[0, beside]], np.float32))
    warnings = warnings_of("aside", [video[-1]], video, embeddings, distances)
    assert len(warnings) == found
  assert "at least 4.1 from every frame of the video, which itself covers 4 up to" in warnings[0]
