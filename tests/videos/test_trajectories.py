"""Trajectories: what is written is read again, by us and by the formats' own tools."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as parquet
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture
from vipjax.runtime.errors import UserError
from vipjax.types import Trajectory, Video
from vipjax.videos import read_videos, write_videos
from vipjax.videos.formats import rlds
from vipjax.videos.formats.episodes import Episode
from vipjax.videos.trajectories import read_trajectories, write_trajectories


def made(steps, success, episode, view="front", **changes):
  rng = np.random.default_rng(episode)
  rewards, discounts = np.zeros(steps, np.float32), np.ones(steps, np.float32)
  if success:
    rewards[-3:], discounts[-1] = 1.0, 0.0
  frames = np.roll(moving_picture(steps + 1, 32, 48), 5 * episode + len(view), axis=2)
  known = {"task": f"task {episode}", "embodiment": "sawyer", "source": f"episode {episode}"}
  return Trajectory(
    rng.normal(size=(steps + 1, 5)).astype(np.float32),
    rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
    rewards, discounts, success, frames, 80.0, view=view, episode=episode, **known, **changes,
  )  # fmt: skip


TWO = [made(5, True, 0), made(4, False, 1)]


@pytest.mark.parametrize("form", ["tfds", "lerobot"])
def test_what_is_written_is_read_again(tmp_path, form):
  again = list(read_trajectories(write_trajectories(tmp_path / "data", TWO, form)))
  assert [each.episode for each in again] == [0, 1]
  for read, written in zip(again, TWO, strict=True):
    for name in ("observations", "actions", "rewards", "discounts"):
      found, wanted = getattr(read, name), getattr(written, name)
      np.testing.assert_array_equal(found, wanted)
      assert found.dtype == np.float32
    if form == "tfds":
      np.testing.assert_array_equal(read.frames, written.frames)
    assert read.frames.shape == written.frames.shape and len(read) == len(written)
    for name in ("success", "task", "fps", "view", "embodiment"):
      assert getattr(read, name) == getattr(written, name)
  # A data set of films, too.
  assert [len(video.frames) for video in read_videos(tmp_path / "data")] == [6, 5]


def test_tfds_reads_the_steps(tmp_path):
  import tensorflow_datasets as tfds

  folder = write_trajectories(tmp_path / "data", TWO, "tfds")
  episode = tfds.builder_from_directory(folder).as_data_source("train")[0]
  steps = list(episode["steps"])
  assert episode["episode_metadata"]["success"]
  np.testing.assert_array_equal([step["action"] for step in steps[:-1]], TWO[0].actions)
  np.testing.assert_array_equal(
    [step["observation"]["state"] for step in steps], TWO[0].observations
  )
  # The last one begins no step.
  assert [float(step["reward"]) for step in steps] == [0, 0, 1, 1, 1, 0]
  assert [float(step["discount"]) for step in steps] == [1, 1, 1, 1, 0, 0]
  assert steps[-1]["is_terminal"] and not steps[-2]["is_terminal"]


def test_lerobot_has_columns_features_and_statistics_of_them(tmp_path):
  folder = write_trajectories(tmp_path / "data", TWO, "lerobot")
  rows = parquet.read_table(folder / "data/chunk-000/file-000.parquet")
  features = json.loads((folder / "meta/info.json").read_text())["features"]
  sizes = {
    "observation.state": 5, "action": 2, "next.reward": 1, "next.discount": 1, "next.done": 1,
    "next.success": 1,
  }  # fmt: skip
  assert {name: features[name]["shape"] for name in sizes} == {k: [n] for k, n in sizes.items()}
  assert features["action"]["dtype"] == "float32" and features["next.done"]["dtype"] == "bool"
  assert rows["next.done"].to_pylist() == [False] * 5 + [True] + [False] * 4 + [True]
  stats = json.loads((folder / "meta/stats.json").read_text())
  actions = np.array(rows["action"].to_pylist())
  np.testing.assert_allclose(stats["action"]["mean"], actions.mean(axis=0), rtol=1e-6)
  np.testing.assert_allclose(stats["action"]["q90"], np.quantile(actions, 0.9, axis=0), rtol=1e-6)
  assert stats["next.reward"]["max"] == [1.0] and stats["action"]["count"] == [11]
  parts = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
  np.testing.assert_allclose(parts[1]["stats/action/max"], actions[6:].max(axis=0), rtol=1e-6)


def test_views_of_one_episode_share_its_steps(tmp_path):
  both = [TWO[0], dataclasses.replace(TWO[0], view="side")]
  folder = write_trajectories(tmp_path / "data", both, "tfds")
  with pytest.raises(UserError) as error:
    next(read_trajectories(folder))
  assert_one_sentence(error, "one camera", "front, side")
  (one,) = read_trajectories(folder, view="side")
  np.testing.assert_array_equal(one.actions, TWO[0].actions)


def test_others_pay_the_last_step_and_know_no_discount(tmp_path):
  video = Video(moving_picture(4, 32, 48), view="image", success=True, task="push", episode=0)
  steps = {
    "state": np.zeros((4, 2), np.float32), "action": np.ones((4, 3), np.float32),
    "reward": np.array([0, 0, 0, 1], np.float32),
  }  # fmt: skip
  rlds.write_tfds(tmp_path / "data", [Episode(0, {"image": video}, steps)])
  (read,) = read_trajectories(tmp_path / "data")
  np.testing.assert_array_equal(read.rewards, [0, 0, 1])
  np.testing.assert_array_equal(read.discounts, [1, 1, 0])
  assert read.actions.shape == (3, 3)


def test_what_is_no_data_with_actions_is_one_sentence(tmp_path):
  write_videos(tmp_path / "films", [Video(moving_picture(4, 32, 48))])
  with pytest.raises(UserError) as error:
    next(read_trajectories(tmp_path / "films"))
  assert_one_sentence(error, "a state, an action and a reward", "state, action, reward")
  for changes, words in (
    ({"frames": None}, "expected frames in episode 0"),
    ({"rewards": np.zeros(4, np.float32)}, "5 actions and rewards for 4"),
  ):
    with pytest.raises(UserError) as error:
      write_trajectories(tmp_path / "x", [dataclasses.replace(TWO[0], **changes)], "tfds")
    assert_one_sentence(error, words)
  with pytest.raises(UserError) as error:
    write_trajectories(tmp_path / "x", TWO, "mp4")
  assert_one_sentence(error, "tfds, lerobot", "'mp4'")
