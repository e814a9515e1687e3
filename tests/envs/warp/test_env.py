"""The batched environment on MuJoCo in C, held against RobotEnv."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.envs.expert import Expert
from vipjax.envs.warp import WarpEnv
from vipjax.envs.warp.scene import placed_by_reset
from vipjax.runtime.errors import UserError


@pytest.fixture
def two(scene, one_by_one):
  return WarpEnv(scene, one_by_one(2), horizon=4)


def started(env, key=0):
  return env.reset(jax.random.key(key))


def test_an_experts_episode_is_robot_envs(pinned, scene, one_by_one):
  robot = RobotEnv(render_mode=None)
  observation, _ = robot.reset(seed=3)
  moved = [robot.model.body("window").id]
  env = WarpEnv(scene, one_by_one(1), horizon=200)
  placed = {name: each[None] for name, each in placed_by_reset(robot, moved).items()}
  state, own, _ = env.start(**placed, key=jax.random.key(0))
  np.testing.assert_allclose(own[0], observation, atol=1e-6)
  expert = Expert(robot)
  expert.reset()
  step, succeeded = jax.jit(env.step), False
  while not succeeded:
    action = expert.action()
    observation, _, _, _, info = robot.step(action)
    state, told = step(state, action[None])
    # Single against double precision, over an episode with contacts.
    np.testing.assert_allclose(told.observation[0], observation, atol=3e-3)
    assert told.distances[0, 1] == pytest.approx(info["object_to_target"], abs=3e-3)
    assert told.distances[0, 0] == pytest.approx(robot.hand_to_object(), abs=3e-3)
    succeeded = info["success"]
  assert bool(told.success[0]) or info["object_to_target"] > 0.047


def test_resets_draw_a_placement_and_noise(scene, one_by_one):
  env = WarpEnv(scene, one_by_one(32))
  state, observation, _ = started(env)
  home = scene.qpos[0, :7]  # of window-open in all placements
  noise = np.asarray(state.physics.qpos[:, :7]) - home
  assert 0.015 < np.abs(noise).max() <= 0.02 + 1e-6
  assert abs(noise.mean()) < 0.005
  np.testing.assert_array_equal(observation[:, :24], observation[:, 24:48])
  np.testing.assert_array_equal(observation[:, 48:], state.goal)
  rows = [np.flatnonzero((scene.goal == goal).all(axis=1)) for goal in np.asarray(state.goal)]
  assert len({int(row[0]) for row in rows}) > 3
  for row, moved in zip(rows, np.asarray(state.moved), strict=True):
    np.testing.assert_array_equal(scene.moved[row[0]], moved)
  other, *_ = started(env, key=1)
  assert not np.array_equal(other.goal, state.goal)


def test_an_episode_ends_at_its_time_and_the_others_go_on(two):
  state, *_ = started(two)
  state = state._replace(steps=jnp.array([0, 2]))
  step = jax.jit(two.step)
  state, first = step(state, jnp.zeros((2, 8)))
  assert not first.truncated.any()
  np.testing.assert_array_equal(first.reset_observation, first.observation)
  state, second = step(state, jnp.zeros((2, 8)))
  assert second.truncated.tolist() == [False, True]
  np.testing.assert_array_equal(second.reset_observation[0], second.observation[0])
  # The one that starts over has had no step before.
  fresh = np.asarray(second.reset_observation[1])
  np.testing.assert_array_equal(fresh[:24], fresh[24:48])
  assert not np.array_equal(fresh, second.observation[1])
  assert state.steps.tolist() == [2, 0]
  np.testing.assert_array_equal(state.physics.qvel[1], np.zeros(state.physics.qvel.shape[1]))
  # The next observation remembers the reset, not the episode before.
  _, third = step(state, jnp.zeros((2, 8)))
  np.testing.assert_array_equal(third.observation[1, 24:48], fresh[:24])


def test_frames_are_of_before_and_after_the_reset(two):
  state, *_ = started(two)
  slid = state.physics.qpos.at[:, -1].set(0.1)  # 100 mm, by the pixel
  state = state._replace(physics=state.physics._replace(qpos=slid), steps=jnp.array([0, 3]))
  _, step = two.step(state, jnp.zeros((2, 8)))
  assert step.frames[:, 0, 0, 0, 0].tolist() == [100, 100]
  assert step.reset_frames[:, 0, 0, 0, 0].tolist() == [100, 0]
  _, blind = two.step(state, jnp.zeros((2, 8)), draw=False)
  assert blind.frames.shape == step.frames.shape and not blind.frames.any()
  np.testing.assert_array_equal(blind.observation, step.observation)


def test_a_world_that_diverges_ends_its_episode_alone(two):
  state, *_ = started(two)
  state, before = two.step(state, jnp.ones((2, 8)))
  bad = state.physics.qvel.at[1].set(jnp.nan)
  after, step = two.step(state._replace(physics=state.physics._replace(qvel=bad)), jnp.ones((2, 8)))
  assert step.truncated.tolist() == step.diverged.tolist() == [False, True]
  # The last step changes nothing: its state is the one before.
  np.testing.assert_array_equal(step.observation[1, :24], before.observation[1, :24])
  assert jnp.isfinite(after.physics.qpos).all() and jnp.isfinite(after.physics.qvel).all()
  _, sane = two.step(state, jnp.ones((2, 8)))
  np.testing.assert_array_equal(step.observation[0], sane.observation[0])
  assert after.steps.tolist() == [2, 0]


def test_actions_are_clipped(two):
  state, *_ = started(two)
  _, large = two.step(state, jnp.full((2, 8), 7.0))
  _, ones = two.step(state, jnp.ones((2, 8)))
  np.testing.assert_array_equal(large.observation, ones.observation)


def test_a_horizon_below_one_is_refused(scene, one_by_one):
  with pytest.raises(UserError, match="horizon of at least 1 step, got 0"):
    WarpEnv(scene, one_by_one(1), horizon=0)
