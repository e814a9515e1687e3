"""A simulator for exported scenes without Warp."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vipjax.envs.warp import Physics, Poses


class OneByOne:
  """What Simulation does, by MuJoCo in C, one world after another.

  Its pictures are of one grey: the window's place in millimetres.
  """

  def __init__(self, scene, num_worlds, channels=(None,), size=1):
    self.model, _ = scene.compile()
    self.num_channels, self._size = len(channels), size
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
    shape = self.num_worlds, self.num_channels, self._size, self._size, 3
    return self.poses(qpos, moved), jnp.broadcast_to(seen[:, None, None, None, None], shape)

  # Callbacks get JAX's arrays. One that lets JAX compute, as indexing does, may wait for ever for
  # the thread that it runs on.
  def _stepped(self, *given):
    qpos, qvel, warmstart, moved, action = map(np.asarray, given)
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

  def _posed(self, *given):
    qpos, moved = map(np.asarray, given)
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
