"""The reward of the pictures with and without the robot, of one environment and of many."""

import functools

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.envs.pusher import PusherEnv, write_scenes
from vipjax import EmbeddingRewardVectorWrapper, EmbeddingRewardWrapper, FrameInInfo
from vipjax.envs import RobotFreeView
from vipjax.reward import RewardSettings, wrappers
from vipjax.runtime.errors import UserError

PUSH = np.array([1.0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
  return write_scenes(tmp_path_factory.mktemp("scenes"))[0]


@pytest.fixture(scope="module")
def teacher(scene):
  """An environment, its frames uint8 [4, 2, H, W, 3] along a push."""
  env = PusherEnv(scene)
  env.reset(seed=0)
  view = RobotFreeView(env, "arm")
  frames = [view.frames()]
  for _ in range(3):
    env.step(PUSH)
    frames.append(view.frames())
  yield env, np.stack(frames)
  env.close()


@pytest.fixture(scope="module")
def distances(value, teacher):
  """float32 [4, 2]."""
  films = teacher[1].swapaxes(0, 1)
  return np.stack([value.distance(film, film[-1]) for film in films], axis=1)


def close(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_the_reward_is_the_weighted_fall_of_both_distances(value, teacher, distances):
  env, frames = teacher
  settings = RewardSettings(normalize="first_frame")
  wrapped = EmbeddingRewardWrapper(
    env, value, frames[-1, 0], robot="arm", robot_free_goal=frames[-1, 1], settings=settings,
    first_frame=frames[0, 0], robot_free_first_frame=frames[0, 1], plain_weight=0.5,
  )  # fmt: skip
  _, info = wrapped.reset(seed=0)
  close([info["distance"], info["robot_free_distance"]], distances[0])
  falls = -np.diff(distances / distances[0], axis=0) @ [0.5, 2.0]
  for fall, after in zip(falls, distances[1:], strict=True):
    _, reward, _, _, info = wrapped.step(PUSH)
    close(reward, fall)
    close([info["distance"], info["robot_free_distance"]], after)


def test_without_a_goal_without_the_robot_the_plain_one_serves(teacher, caplog, monkeypatch):
  env, frames = teacher
  given = []
  monkeypatch.setattr(wrappers, "StepRewards", lambda *unused, **keywords: given.append(keywords))
  with caplog.at_level("WARNING", logger="absl"):
    EmbeddingRewardWrapper(env, None, frames[-1, 0], robot="arm", task_reward_weight=1.0)
  assert "give robot_free_goal" in caplog.text
  assert given[0]["task_reward_weight"] == 1.0
  np.testing.assert_array_equal(given[0]["robot_free_goal"], frames[-1, 0])


def test_many_environments_get_what_one_gets(value, scene, teacher, distances):
  goal, without = teacher[1][-1]
  draw = functools.partial(FrameInInfo, robot="arm")
  envs = [lambda h=h: draw(PusherEnv(scene, horizon=h)) for h in (2, 9)]
  envs = SyncVectorEnv(envs, autoreset_mode=AutoresetMode.SAME_STEP)
  envs = EmbeddingRewardVectorWrapper(envs, value, goal, robot="arm", robot_free_goal=without)
  _, infos = envs.reset(seed=0)
  close(infos["robot_free_distance"], distances[[0, 0], 1])
  falls = -np.diff(distances, axis=0) @ [1.0, 2.0]
  for expected in ((falls[0], falls[0]), (falls[1], falls[1]), (falls[0], falls[2])):
    _, rewards, _, _, infos = envs.step(np.stack([PUSH, PUSH]))
    close(rewards, expected)
  assert infos["_robot_free_distance"].all()
  close(infos["robot_free_distance"], distances[[1, 3], 1])
  envs.close()


def test_environments_of_this_process_are_drawn_without_frame_in_info(value, teacher, monkeypatch):
  env, frames = teacher
  taken = []
  envs = EmbeddingRewardVectorWrapper(
    SyncVectorEnv([lambda: env]), value, frames[-1, 0], robot="arm", robot_free_goal=frames[-1, 1]
  )
  monkeypatch.setattr(envs._rewards, "start", lambda seen, mask: taken.append(seen) or {})
  envs.reset(seed=0)
  np.testing.assert_array_equal(taken, [frames[:1]])


def test_frames_that_do_not_fit_the_goals_are_refused(value, scene, teacher):
  env, frames = teacher
  goals = {"goal": frames[-1, 0], "robot_free_goal": frames[-1, 1]}
  with pytest.raises(UserError, match=r"\[N, 2, H, W, 3\].*got \[1, 16, 16, 3\]; give robot"):
    EmbeddingRewardWrapper(env, value, **goals).reset()
  envs = SyncVectorEnv([lambda: FrameInInfo(env, robot="arm")])
  with pytest.raises(UserError, match=r"\[N, H, W, 3\].*got \[1, 2, 16, 16, 3\]; give robot"):
    EmbeddingRewardVectorWrapper(envs, value, goals["goal"]).reset()


def test_other_processes_need_frame_in_info(value, teacher):
  class Elsewhere(gymnasium.vector.VectorEnv):
    num_envs, render_mode = 1, "rgb_array"
    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def reset(self, *, seed=None, options=None):
      return np.zeros((1, 1)), {}

  goal, without = teacher[1][-1]
  envs = EmbeddingRewardVectorWrapper(
    Elsewhere(), value, goal, robot="arm", robot_free_goal=without
  )
  with pytest.raises(UserError, match=r"partial\(vipjax.FrameInInfo, robot=...\)"):
    envs.reset()


def test_an_encoder_that_looks_past_the_robot_needs_no_second_picture(value, teacher):
  env, frames = teacher
  # One that turns its embedding round, so that its part in the reward shows.
  params = value.variables["params"]
  turned = {**params, "fc": jax.tree.map(np.negative, params["fc"])}
  past = value.replace(variables={**value.variables, "params": turned})
  wrapped = EmbeddingRewardWrapper(
    env, value, frames[-1, 0], robot_free_goal=frames[-1, 1], robot_free=[past], plain_weight=0.5,
  )  # fmt: skip
  env.reset(seed=0)
  pictures = [env.render(), *((env.step(PUSH), env.render())[1] for _ in range(3))]
  away = np.linalg.norm(past.embed(np.stack(pictures)) - value.embed(frames[-1:, 1]), axis=-1)
  plain = value.distance(np.stack(pictures), frames[-1, 0])
  _, info = wrapped.reset(seed=0)
  close([info["distance"], info["robot_free_distance"]], [plain[0], away[0]])
  for step, fall in enumerate(-np.diff(0.5 * plain + 2.0 * away)):
    _, reward, _, _, info = wrapped.step(PUSH)
    close(reward, fall)
    close(info["robot_free_distance"], away[step + 1])


def test_looking_past_the_robot_asks_for_the_goal_without_it(value, teacher):
  env, frames = teacher
  with pytest.raises(UserError, match="a robot_free_goal with robot_free, .* got none; give"):
    EmbeddingRewardWrapper(env, value, frames[-1, 0], robot_free=[value])


def test_a_robot_is_drawn_or_looked_past(value, teacher):
  env, frames = teacher
  with pytest.raises(UserError, match=r"got both \(robot 'arm'\); leave out one"):
    EmbeddingRewardWrapper(
      env, value, frames[-1, 0], robot="arm", robot_free_goal=frames[-1, 1], robot_free=[value]
    )
