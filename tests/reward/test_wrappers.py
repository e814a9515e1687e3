"""The wrappers, on environments whose pictures say exactly where they are."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tests.reward.picture_env import GOAL, PictureEnv, long_env, picture, short_env
from vipjax import EmbeddingRewardVectorWrapper, EmbeddingRewardWrapper, FrameInInfo
from vipjax.encoder.progress import init_head
from vipjax.reward import EmbeddingReward, RewardSettings
from vipjax.runtime.errors import UserError


@pytest.fixture(scope="module")
def distances(value):
  """Distance to the goal by position."""
  return value.distance(np.stack([picture(position) for position in range(12)]), GOAL)


def close(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_reward_is_the_fall_of_the_distance(value, distances):
  env = EmbeddingRewardWrapper(PictureEnv(horizon=3), value, GOAL)
  _, info = env.reset(seed=0)
  close(info["distance"], distances[0])
  for position in (1, 2, 3):
    _, reward, terminated, truncated, info = env.step(1)
    close(reward, distances[position - 1] - distances[position])
    close(info["distance"], distances[position])
    assert isinstance(reward, float) and info["task_reward"] == 100 + position
    assert (terminated, truncated) == (False, position == 3)
  env.reset()
  close(env.step(2)[1], distances[0] - distances[2])


def test_the_task_reward_can_be_added(value, distances):
  env = EmbeddingRewardWrapper(PictureEnv(), value, GOAL, task_reward_weight=0.5)
  env.reset()
  close(env.step(1)[1], distances[0] - distances[1] + 0.5 * 101)


def test_settings_reach_the_reward(value, distances):
  settings = RewardSettings(form="value", scale=3.0, normalize="first_frame")
  env = EmbeddingRewardWrapper(PictureEnv(), value, GOAL, settings=settings, first_frame=picture(0))
  env.reset()
  close(env.step(1)[1], -3 * distances[1] / distances[0])
  saturated = dataclasses.replace(settings, saturation=1.0)
  env = EmbeddingRewardWrapper(
    PictureEnv(), value, GOAL, settings=saturated, first_frame=picture(0)
  )
  env.reset()
  x = distances[2] / distances[0]
  close(env.step(2)[1], -3 * 2 * x / (x + 1))


def test_progress_is_paid_by_the_wrappers_too(value):
  head = init_head(8)
  head["kernel"] = np.random.default_rng(0).normal(size=(16, 20)).astype(np.float32)
  value = value.replace(variables={**value.variables, "progress": head})
  frames = np.stack([picture(position) for position in range(3)])
  steps = value.progress(frames[:-1], frames[1:])
  settings = RewardSettings(form="progress", scale=2.0)
  envs = SyncVectorEnv([PictureEnv, PictureEnv])
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL, settings=settings)
  envs.reset()
  close(envs.step(np.ones(2))[1], [2 * steps[0]] * 2)
  close(envs.step(np.zeros(2))[1], [0.0, 0.0])
  envs.reset(options={"reset_mask": np.array([True, False])})
  close(envs.step(np.ones(2))[1], 2 * steps[:2])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_as_the_environment_does(value, copied):
  settings = RewardSettings(normalize="first_frame")
  env = EmbeddingRewardWrapper(PictureEnv(), value, GOAL, settings=settings, first_frame=picture(0))
  env.reset()
  env.step(2)
  other = copied(env)
  for action in (1, 0, 3):
    assert env.step(action) == other.step(action)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_passes_gymnasiums_own_checker(value):
  env = EmbeddingRewardWrapper(PictureEnv(), value, GOAL)
  check_env(env, skip_render_check=True)


@pytest.mark.parametrize("in_info", [False, True])
def test_next_step_autoreset_gives_the_reset_no_reward(value, distances, in_info):
  wrap = FrameInInfo if in_info else (lambda env: env)
  envs = SyncVectorEnv([lambda h=h: wrap(PictureEnv(horizon=h)) for h in (2, 5)])
  assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL)
  _, infos = envs.reset(seed=0)
  close(infos["distance"], distances[[0, 0]])
  falls = -np.diff(distances)
  # The first environment: two steps, the reset (whatever the action), a step of the next episode.
  expected = [(falls[0], falls[0]), (falls[1], falls[1]), (0.0, falls[2]), (falls[0], falls[3])]
  positions = [(1, 1), (2, 2), (0, 3), (1, 4)]
  for rewards, place in zip(expected, positions, strict=True):
    _, actual, terminated, truncated, infos = envs.step(np.array([1, 1]))
    close(actual, rewards)
    assert actual.dtype == np.float64 and not terminated.any()
    assert truncated[0] == (place[0] == 2)
    close(infos["distance"], distances[list(place)])
    assert infos["_distance"].all() and infos["_task_reward"].all()
  # A reset by hand in between leaves nothing over.
  envs.step(np.array([1, 1]))
  envs.reset()
  close(envs.step(np.array([1, 1]))[1], falls[[0, 0]])


@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_same_step_autoreset_rewards_the_frame_before_it(value, distances, make):
  kwargs = {"context": "spawn"} if make is AsyncVectorEnv else {}
  envs = make([short_env, long_env], autoreset_mode=AutoresetMode.SAME_STEP, **kwargs)
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL)
  envs.reset(seed=0)
  falls = -np.diff(distances)
  expected = [(falls[0], falls[0]), (falls[1], falls[1]), (falls[0], falls[2])]
  places = [(1, 1), (2, 2), (1, 3)]
  for rewards, place in zip(expected, places, strict=True):
    _, actual, _, truncated, infos = envs.step(np.array([1, 1]))
    close(actual, rewards)
    close(infos["distance"], distances[list(place)])
    assert list(truncated) == [place[0] == 2, False]
  envs.close()


def test_a_masked_reset_starts_those_alone(value, distances):
  envs = SyncVectorEnv(
    [lambda: PictureEnv(horizon=2), lambda: PictureEnv(horizon=9)],
    autoreset_mode=AutoresetMode.DISABLED,
  )
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL)
  envs.reset(seed=0)
  for _ in range(2):
    ended = envs.step(np.array([1, 1]))[3]
  assert list(ended) == [True, False]
  envs.reset(options={"reset_mask": ended})
  falls = -np.diff(distances)
  close(envs.step(np.array([1, 1]))[1], [falls[0], falls[2]])


def test_many_environments_are_embedded_in_one_call(value, monkeypatch):
  envs = SyncVectorEnv([PictureEnv] * 3)
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL)
  shapes = []
  state = EmbeddingReward.state

  def counted(self, frames):
    shapes.append(frames.shape)
    return state(self, frames)

  monkeypatch.setattr(EmbeddingReward, "state", counted)
  envs.reset()
  envs.step(np.array([1, 1, 1]))
  assert shapes == [(3, 1, 16, 16, 3)] * 2


def test_what_does_not_render_is_refused_in_one_sentence(value):
  env = PictureEnv()
  env.render_mode = None
  with pytest.raises(UserError, match="render_mode='rgb_array', got None"):
    EmbeddingRewardWrapper(env, value, GOAL)
  with pytest.raises(UserError, match="render_mode='rgb_array', got None"):
    FrameInInfo(env)


def test_a_picture_of_another_kind_is_refused(value):
  env = PictureEnv()
  env.render = lambda: np.zeros((4, 4), np.float32)
  with pytest.raises(UserError, match=r"render\(\) to be uint8 \[H, W, 3\].*got float32 \[4, 4\]"):
    EmbeddingRewardWrapper(env, value, GOAL).reset()


def test_same_step_without_frames_is_refused(value):
  envs = SyncVectorEnv([PictureEnv], autoreset_mode=AutoresetMode.SAME_STEP)
  with pytest.raises(UserError, match=r"wrappers=\[vipjax.FrameInInfo\]"):
    EmbeddingRewardVectorWrapper(envs, value, GOAL).reset()


def test_unknown_autoreset_is_refused(value):
  envs = SyncVectorEnv([PictureEnv])
  envs.metadata = {**envs.metadata, "autoreset_mode": None}
  with pytest.raises(UserError, match="autoreset_mode in its metadata, got None"):
    EmbeddingRewardVectorWrapper(envs, value, GOAL)


def test_step_before_reset_and_bad_weight_are_refused(value):
  with pytest.raises(UserError, match="reset before the first step"):
    EmbeddingRewardWrapper(PictureEnv(), value, GOAL).step(1)
  with pytest.raises(UserError, match="finite task_reward_weight, got nan"):
    EmbeddingRewardWrapper(PictureEnv(), value, GOAL, task_reward_weight=float("nan"))
  with pytest.raises(UserError, match="expected first frames"):
    settings = RewardSettings(normalize="first_frame")
    EmbeddingRewardWrapper(PictureEnv(), value, GOAL, settings=settings)
