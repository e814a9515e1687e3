"""MuJoCo Warp itself, at tiny size on its CPU device; its kernels take minutes the first time."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from vipjax.envs import Channel
from vipjax.envs.warp import Physics, Simulation, WarpEnv
from vipjax.runtime.errors import UserError
from vipjax.scene import View

SIZE = 32
CHANNELS = (Channel(View(), True), Channel(View(), False))
HAS_WARP = importlib.util.find_spec("warp") is not None
needs_warp = pytest.mark.skipif(not HAS_WARP, reason="it needs the extra warp, in its own Python")


@pytest.fixture(scope="module")
def simulation(scene):
  return Simulation(scene, 2, CHANNELS, SIZE)


@pytest.fixture(scope="module")
def programs(simulation):
  return jax.jit(simulation.step), jax.jit(simulation.look)


def started(scene, rows=(0, 5)):
  rows = list(rows)
  physics = Physics(*map(jnp.asarray, (scene.qpos[rows], scene.qvel[rows], 0 * scene.qvel[rows])))
  return physics, jnp.asarray(scene.moved[rows])


@pytest.mark.skipif(HAS_WARP, reason="the extra is here")
def test_without_the_extra_it_says_what_to_install(scene):
  with pytest.raises(UserError, match=r"expected MuJoCo 3.17 .* pip install '.\[warp\]'"):
    Simulation(scene, 1)


@needs_warp
def test_physics_is_that_of_c(scene, simulation, programs):
  physics, moved = started(scene)
  actions = np.random.default_rng(0).uniform(-1, 1, (8, 2, 8)).astype(np.float32)
  actions = np.repeat(actions[:2], 4, axis=0)
  model = simulation.model
  datas = [mujoco.MjData(model) for _ in range(2)]
  for data, qpos, place in zip(datas, physics.qpos, moved, strict=True):
    data.qpos[:], data.mocap_pos[:] = qpos, place
  start = np.asarray(physics.qpos)
  for action in actions:
    physics, diverged = programs[0](physics, moved, action)
    assert not diverged.any()
    for data, own in zip(datas, action, strict=True):
      data.ctrl[:] = own
      mujoco.mj_step(model, data, scene.facts.frame_skip)
  wanted = np.stack([data.qpos for data in datas])
  assert np.abs(wanted - start).max() > 0.05
  np.testing.assert_allclose(physics.qpos, wanted, atol=1e-4)


@needs_warp
def test_bodies_are_where_c_has_them(scene, simulation, programs):
  physics, moved = started(scene)
  poses, _ = programs[1](physics.qpos, moved)
  for i in range(2):
    data = mujoco.MjData(simulation.model)
    data.qpos[:], data.mocap_pos[:] = physics.qpos[i], moved[i]
    mujoco.mj_kinematics(simulation.model, data)
    np.testing.assert_allclose(poses.xpos[i], data.xpos, atol=1e-5)
    np.testing.assert_allclose(poses.xquat[i], data.xquat, atol=1e-5)


@needs_warp
def test_pictures_are_of_each_worlds_own_placement(scene, programs):
  physics, moved = started(scene)
  _, frames = programs[1](physics.qpos, moved)
  assert frames.shape == (2, 2, SIZE, SIZE, 3) and frames.dtype == jnp.uint8
  frames = np.asarray(frames)
  assert len(np.unique(frames)) > 20
  # Without the robot they differ by the window alone, which stands elsewhere with its frame.
  assert (frames[0, 1] != frames[1, 1]).any(axis=-1).mean() > 0.05
  _, swapped = programs[1](physics.qpos[::-1], moved[::-1])
  np.testing.assert_array_equal(np.asarray(swapped)[::-1], frames)


@needs_warp
def test_pictures_with_and_without_the_robot(scene, programs):
  physics, moved = started(scene)
  _, frames = programs[1](physics.qpos, moved)
  _, later = programs[1](physics.qpos.at[:, 0].add(0.3), moved)
  frames, later = np.asarray(frames), np.asarray(later)
  assert (frames[:, 0] != later[:, 0]).any()
  np.testing.assert_array_equal(frames[:, 1], later[:, 1])
  # It is there in the one and not in the other.
  assert 0.02 < (frames[:, 0] != frames[:, 1]).any(axis=-1).mean() < 0.9


@needs_warp
def test_a_world_that_diverges_leaves_the_other_alone(scene, programs):
  physics, moved = started(scene)
  action = jnp.full((2, 8), 0.2)
  sane, _ = programs[0](physics, moved, action)
  broken = physics._replace(qvel=physics.qvel.at[1].set(jnp.nan))
  after, diverged = programs[0](broken, moved, action)
  assert diverged.tolist() == [False, True]
  np.testing.assert_array_equal(after.qpos[0], sane.qpos[0])
  again, diverged = programs[0](physics, moved, action)
  assert not diverged.any()
  np.testing.assert_array_equal(again.qpos, sane.qpos)


@needs_warp
def test_a_world_without_room_for_its_constraints_counts_as_diverged(scene):
  facts = dataclasses.replace(scene.facts, constraints=3)
  cramped = Simulation(dataclasses.replace(scene, facts=facts), 2)
  physics, moved = started(scene)
  # Seven joints beyond their limits are seven constraints.
  beyond = physics._replace(qpos=physics.qpos.at[1, :7].add(20.0))
  _, diverged = jax.jit(cramped.step)(beyond, moved, jnp.zeros((2, 8)))
  assert diverged.tolist() == [False, True]


@needs_warp
def test_episodes_run_in_one_program(scene, simulation):
  env = WarpEnv(scene, simulation, horizon=2)

  def one(state, _):
    state, step = env.step(state, jnp.ones((2, 8)))
    return state, (step.truncated, step.observation, step.reset_observation, step.frames)

  @jax.jit
  def run(key):
    state, observation, frames = env.reset(key)
    return observation, frames, jax.lax.scan(one, state, length=3)

  observation, frames, (state, told) = run(jax.random.key(0))
  truncated, observations, reset_observations, drawn = told
  assert truncated.tolist() == [[False] * 2, [True] * 2, [False] * 2]
  assert state.steps.tolist() == [1, 1]
  np.testing.assert_array_equal(observation[:, :24], observations[0, :, 24:48])
  np.testing.assert_array_equal(reset_observations[1, :, :24], observations[2, :, 24:48])
  assert drawn.shape == (3, *frames.shape)
  assert (np.asarray(drawn[0]) != np.asarray(frames)).any()


@needs_warp
def test_no_worlds_are_refused(scene):
  with pytest.raises(UserError, match="at least 1 world, got 0"):
    Simulation(scene, 0)
