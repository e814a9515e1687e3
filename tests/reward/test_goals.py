"""Goals: which frames they are, distances to them, and whether they fit."""

import jax
import numpy as np
import pytest

from tests.videos.clips import moving_picture
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.reward.goals import Goal, embed_goal, find_goals, goal_distances, misfits
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, write_image


@pytest.fixture(scope="module")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


@pytest.fixture
def videos():
  return [moving_picture(5, 16, 16), moving_picture(8, 16, 24)]


def test_last_frames(videos):
  goals = find_goals("last", videos)
  assert [len(goal.frames) for goal in goals] == [1, 1]
  np.testing.assert_array_equal(goals[1].frames[0], videos[1][-1])
  together = find_goals("all-last", videos)
  assert together[0] is together[1] and together[0].name == "the last frames of 2 videos"
  np.testing.assert_array_equal(together[0].frames[0], videos[0][-1])


@pytest.mark.parametrize(("text", "index"), [("frame=2", 2), ("frame=-2", -2), ("frame=0", 0)])
def test_a_chosen_frame(videos, text, index):
  for goal, video in zip(find_goals(text, videos), videos, strict=True):
    np.testing.assert_array_equal(goal.frames[0], video[index])


def test_files(tmp_path, videos):
  write_image(tmp_path / "a.png", videos[0][1])
  np.save(tmp_path / "b.npy", videos[1])
  goals = find_goals(f"{tmp_path / 'a.png'}, {tmp_path / 'b.npy'}", open_videos(tmp_path / "b.npy"))
  assert len(goals) == 1 and goals[0].name == "a.png, b.npy"
  np.testing.assert_array_equal(goals[0].frames[0], videos[0][1])
  np.testing.assert_array_equal(goals[0].frames[1], videos[1][-1])


@pytest.mark.parametrize(
  ("text", "part"),
  [
    ("", "expected a goal, got ''"),
    ("frame=two", "whole number in 'frame=N', got 'two'"),
    ("frame=5", "from -5 to 4 in video 0, got 5"),
    ("nowhere.png", "nothing is at nowhere.png"),
  ],
)
def test_bad_goals_are_one_sentence(videos, text, part):
  with pytest.raises(UserError, match=part):
    find_goals(text, videos)


def test_distances_to_mean_and_nearest(value, videos):
  goal = Goal("both", (videos[0][-1], videos[0][0]))
  frames = videos[0]
  embeddings = value.embed(frames)
  for how in ("mean", "nearest"):
    expected = value.distance(frames, np.stack(goal.frames), how)
    actual = goal_distances(embeddings, embed_goal(value, goal, how))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
  with pytest.raises(UserError, match="mean, nearest, got 'best'"):
    embed_goal(value, goal, "best")


def test_a_goal_of_the_video_fits(videos):
  for video in videos:
    (goal,) = find_goals("last", [video])
    assert misfits(goal, video) == []
    # Smaller, darker and noisy, as another camera's picture of the same scene.
    rng = np.random.default_rng(0)
    dim = (video[-1][::2, ::2] * 0.7 + rng.normal(8, 3, video[-1][::2, ::2].shape)).clip(0, 255)
    assert misfits(Goal("dim", (dim.astype(np.uint8),)), video) == []


def test_another_shape_and_another_scene_are_told(videos):
  (warning,) = misfits(Goal("wide", (videos[1][-1],)), moving_picture(4, 16, 16))[:1]
  assert "is 16x24 and the video 16x16" in warning
  upside_down = videos[0][-1][::-1, ::-1]
  (warning,) = misfits(Goal("turned", (upside_down,)), videos[0])
  assert "resembles no frame" in warning and "turned" in warning
