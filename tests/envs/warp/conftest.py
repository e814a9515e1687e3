"""A scene exported by the pinned packages, and a simulator for it without Warp."""

import importlib.metadata
import os

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from vipjax.envs.warp import Physics, Poses, export_scene, read_scene


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
  """window-open with eight placements; where other packages are, one that was exported before."""
  if importlib.metadata.version("metaworld") == "3.1.1":
    folder = tmp_path_factory.mktemp("scenes") / "window-open"
    export_scene(folder, "window-open", placements=8, horizon=20)
    return read_scene(folder)
  if "VIPJAX_WARP_SCENE" not in os.environ:
    pytest.skip("metaworld 3.1.1 is not here to export a scene, and VIPJAX_WARP_SCENE names none")
  return read_scene(os.environ["VIPJAX_WARP_SCENE"])


class OneByOne:
  """What Simulation does, by MuJoCo in C, one world after another.

  Its only picture is one pixel: the window's place in millimetres.
  """

  num_channels = 1

  def __init__(self, scene, num_worlds):
    self.model, _ = scene.compile()
    self.num_worlds, self._skip = num_worlds, scene.facts.frame_skip
    self._slide = self.model.joint("window_slide").qposadr[0]

  def step(self, physics, moved, action):
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), physics)
    new = Physics(*jax.pure_callback(self._stepped, tuple(shapes), *physics, moved, action))
    return new, ~jnp.isfinite(new.qpos).all(axis=-1)

  def poses(self, qpos, moved):
    bodies = self.model.nbody
    shapes = [jax.ShapeDtypeStruct((self.num_worlds, bodies, size), jnp.float32) for size in (3, 4)]
    return Poses(*jax.pure_callback(self._posed, shapes, qpos, moved))

  def look(self, qpos, moved):
    seen = jnp.round(1000 * qpos[:, self._slide]).astype(jnp.uint8)
    frames = jnp.broadcast_to(seen[:, None, None, None, None], (self.num_worlds, 1, 1, 1, 3))
    return self.poses(qpos, moved), frames

  def _stepped(self, qpos, qvel, warmstart, moved, action):
    new = [np.array(each) for each in (qpos, qvel, warmstart)]
    for i in range(self.num_worlds):
      if not np.isfinite(qvel[i]).all():  # C would start over instead
        new[0][i] = np.nan
        continue
      data = self._data(qpos[i], moved[i])
      data.qvel[:], data.qacc_warmstart[:], data.ctrl[:] = qvel[i], warmstart[i], action[i]
      mujoco.mj_step(self.model, data, self._skip)
      new[0][i], new[1][i], new[2][i] = data.qpos, data.qvel, data.qacc_warmstart
    return tuple(new)

  def _posed(self, qpos, moved):
    found = []
    for i in range(self.num_worlds):
      data = self._data(qpos[i], moved[i])
      mujoco.mj_kinematics(self.model, data)
      found.append((data.xpos, data.xquat))
    return tuple(np.stack(each).astype(np.float32) for each in zip(*found, strict=True))

  def _data(self, qpos, moved):
    data = mujoco.MjData(self.model)
    data.qpos[:], data.mocap_pos[:] = qpos, moved
    return data


@pytest.fixture
def one_by_one(scene):
  """Makes that simulator for a number of worlds."""
  return lambda num_worlds: OneByOne(scene, num_worlds)


@pytest.fixture
def pinned():
  """Skips a test that needs the packages of the base install."""
  found = importlib.metadata.version("metaworld")
  if found != "3.1.1":
    pytest.skip(f"it compares with RobotEnv, which needs metaworld 3.1.1 and not {found}")
