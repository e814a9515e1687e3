"""MuJoCo Warp as two functions of JAX arrays: N worlds stepped, and N worlds looked at.

Both are calls into Warp inside a jitted program (XLA's foreign functions), so on a GPU nothing
passes through the host. Between two calls Warp keeps nothing: all that a world is stands in the
arrays, and Warp's own are memory to work in.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco

from vipjax.envs.vector import Channel
from vipjax.envs.warp.looks import like_opengl
from vipjax.envs.warp.scene import ROBOT, SCENE, Scene, is_rotated
from vipjax.runtime.errors import UserError

# What MuJoCo calls huge: a state beyond it has diverged.
_MAX_VALUE = 1e10
_LEAST_MUJOCO = (3, 17)
# Behind the scene, where it has no sky: the mean of what OpenGL shows there.
_BACKGROUND = (0.5, 0.495, 0.48, 1.0)


class Physics(NamedTuple):
  """The state of N worlds (a pytree of float32 arrays).

  Attributes:
    qpos: [N, nq], positions of joints.
    qvel: [N, nv], their velocities.
    warmstart: [N, nv], accelerations from which the next step's solver starts.
  """

  qpos: jax.Array
  qvel: jax.Array
  warmstart: jax.Array


class Poses(NamedTuple):
  """Where the bodies of N worlds are.

  Attributes:
    xpos: float32 [N, bodies, 3], metres, world frame.
    xquat: float32 [N, bodies, 4], w x y z.
  """

  xpos: jax.Array
  xquat: jax.Array


class Simulation:
  """N worlds of a scene on JAX's first device.

  Attributes:
    model: the compiled scene.
    num_worlds: N.
    num_channels: C, pictures of each world.
    size: height and width of the pictures in pixels.
  """

  def __init__(
    self, scene: Scene, num_worlds: int, channels: Sequence[Channel] = (), size: int = 112
  ):
    """Compiles the scene; Warp compiles its kernels at the first use, minutes, and keeps them.

    Args:
      scene: an exported scene.
      num_worlds: N, at least 1.
      channels: the pictures of each world.
      size: height and width of the pictures in pixels.

    Raises:
      UserError: packages that this needs are missing or too old, fewer than 1 world, or a camera
        that the scene does not have.
    """
    wp, mjw = _require_warp()
    if num_worlds < 1:
      raise UserError(f"expected at least 1 world, got {num_worlds}; raise it.")
    self.num_worlds, self.num_channels, self.size = num_worlds, len(channels), size
    self.model, cameras = scene.compile(channels)
    like_opengl(self.model, cameras, size)
    self._scene, self._rotated = scene, [is_rotated(camera) for camera in cameras]
    kinds = mjw.OverflowType
    # Physics goes on without the contacts and constraints that found no room.
    self._lost = int(
      kinds.NEFC | kinds.NJMAX_NNZ | kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD
    )
    self._on_gpu = jax.devices()[0].platform == "gpu"
    with wp.ScopedDevice(wp.device_from_jax(jax.devices()[0])):
      start = mujoco.MjData(self.model)
      start.qpos[:] = scene.qpos[0]
      mujoco.mj_forward(self.model, start)
      warp_model = mjw.put_model(self.model)
      facts = scene.facts

      def data(contacts: int, constraints: int):
        return mjw.put_data(
          self.model, start, nworld=num_worlds, nconmax=contacts, njmax=constraints
        )

      self._step = self._stepping(wp, mjw, warp_model, data(facts.contacts, facts.constraints))
      # Looking has memory of its own, for XLA may do both at once where neither needs the other.
      looked_at = data(max(start.ncon, 1), max(start.nefc, 1))
      self._channels: list[list[int]] = []
      contexts = []
      for visible, groups in ((True, [SCENE, ROBOT]), (False, [SCENE])):
        own = [i for i, channel in enumerate(channels) if channel.robot_visible == visible]
        if own:
          self._channels.append(own)
          contexts.append(self._context(mjw, groups, [cameras[i] for i in own]))
      self._look = self._looking(wp, mjw, warp_model, looked_at, contexts)
      self._pose = self._looking(wp, mjw, warp_model, looked_at, []) if contexts else self._look

  def step(
    self, physics: Physics, moved: jax.Array, action: jax.Array
  ) -> tuple[Physics, jax.Array]:
    """One control step; jittable.

    Args:
      physics: the state.
      moved: float32 [N, M, 3], positions of the bodies that resets move.
      action: float32 [N, A] in [-1, 1].

    Returns:
      The next state, and bool [N], whether it has diverged, or had more contacts or constraints
      than there is room for: then its numbers mean nothing.
    """
    *numbers, overflow = self._step(action, *physics, self._placed(moved))
    good = [(jnp.isfinite(each) & (jnp.abs(each) < _MAX_VALUE)).all(axis=-1) for each in numbers]
    return Physics(*numbers), (overflow & self._lost != 0) | ~(good[0] & good[1] & good[2])

  def poses(self, qpos: jax.Array, moved: jax.Array) -> Poses:
    """Where the bodies are; jittable."""
    return Poses(*self._pose(qpos, self._placed(moved))[:2])

  def look(self, qpos: jax.Array, moved: jax.Array) -> tuple[Poses, jax.Array]:
    """Where the bodies are and what the channels show, uint8 [N, C, H, W, 3]; jittable."""
    xpos, xquat, *pixels = self._look(qpos, self._placed(moved))
    shape = self.num_worlds, -1, self.size, self.size, 3
    pictures = [None] * self.num_channels
    for own, packed in zip(self._channels, pixels, strict=True):
      # 0xAARRGGBB.
      rgb = jnp.stack([packed >> bits for bits in (16, 8, 0)], axis=-1).astype(jnp.uint8)
      rgb = rgb.reshape(shape)
      for place, channel in enumerate(own):
        picture = rgb[:, place]
        pictures[channel] = picture[:, ::-1, ::-1] if self._rotated[channel] else picture
    if not pictures:
      return Poses(xpos, xquat), jnp.zeros((self.num_worlds, 0, self.size, self.size, 3), jnp.uint8)
    return Poses(xpos, xquat), jnp.stack(pictures, axis=1)

  def _placed(self, moved: jax.Array) -> jax.Array:
    # XLA passes no empty arrays.
    return moved if moved.shape[1] else jnp.zeros((self.num_worlds, 1, 3), jnp.float32)

  def _callable(self, wp, function, inputs: dict[str, Any], outputs: dict[str, tuple]):
    """Makes a function of JAX arrays of one that gets Warp's arrays, the outputs after the inputs.

    Args:
      wp: the module warp.
      function: fills the outputs.
      inputs: types of Warp by name.
      outputs: type and dimensions by name.
    """
    types = {**inputs, **{name: each for name, (each, _) in outputs.items()}}
    # Warp reads what the function takes from its signature.
    function.__annotations__ = types
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, annotation=each) for name, each in types.items()]
    function.__signature__ = inspect.Signature(parameters)
    # Only graphs that Warp itself captures may hold the solver's loops.
    modes = wp.JaxCallableGraphMode
    return wp.jax_callable(
      function,
      num_outputs=len(outputs),
      output_dims={name: dims for name, (_, dims) in outputs.items()},
      graph_mode=modes.WARP if self._on_gpu else modes.NONE,
      vmap_method=None,
    )

  def _stepping(self, wp, mjw, model, data):
    n, skip, placed = self.num_worlds, self._scene.facts.frame_skip, self.model.nmocap > 0

    def step(*arrays):
      action, qpos, qvel, warmstart, moved, qpos_out, qvel_out, warmstart_out, overflow = arrays
      wp.copy(data.ctrl, action)
      wp.copy(data.qpos, qpos)
      wp.copy(data.qvel, qvel)
      wp.copy(data.qacc_warmstart, warmstart)
      if placed:
        wp.copy(data.mocap_pos, moved)
      data.overflow.zero_()
      for _ in range(skip):
        mjw.step(model, data)
      wp.copy(qpos_out, data.qpos)
      wp.copy(qvel_out, data.qvel)
      wp.copy(warmstart_out, data.qacc_warmstart)
      wp.copy(overflow, data.overflow)

    numbers, points = wp.array2d(dtype=wp.float32), wp.array2d(dtype=wp.vec3)
    names = "action", "qpos", "qvel", "warmstart"
    sizes = {"qpos_out": self.model.nq, "qvel_out": self.model.nv, "warmstart_out": self.model.nv}
    inputs = {**dict.fromkeys(names, numbers), "moved": points}
    outputs = {name: (numbers, (n, size)) for name, size in sizes.items()}
    outputs["overflow"] = wp.array(dtype=wp.int32), (n,)
    return self._callable(wp, step, inputs, outputs)

  def _context(self, mjw, groups: list[int], cameras: list[str]):
    return mjw.create_render_context(
      self.model, self.num_worlds, cam_res=(self.size, self.size), cam_active=cameras,
      render_rgb=True, render_depth=False, render_seg=False, use_shadows=False,
      enabled_geom_groups=groups, background_color=_BACKGROUND,
    )  # fmt: skip

  def _looking(self, wp, mjw, model, data, contexts):
    n, bodies, placed = self.num_worlds, self.model.nbody, self.model.nmocap > 0

    def look(*arrays):
      qpos, moved, xpos, xquat, *pictures = arrays
      wp.copy(data.qpos, qpos)
      if placed:
        wp.copy(data.mocap_pos, moved)
      mjw.kinematics(model, data)
      mjw.com_pos(model, data)
      mjw.camlight(model, data)
      wp.copy(xpos, data.xpos)
      wp.copy(xquat, data.xquat)
      for context, picture in zip(contexts, pictures, strict=True):
        context.rgb_data = picture
        mjw.refit_bvh(model, data, context)
        mjw.render(model, data, context)

    points, quats, pixels = (wp.array2d(dtype=each) for each in (wp.vec3, wp.quat, wp.uint32))
    inputs = {"qpos": wp.array2d(dtype=wp.float32), "moved": points}
    outputs = {"xpos": (points, (n, bodies)), "xquat": (quats, (n, bodies))}
    for number, context in enumerate(contexts):
      outputs[f"picture_{number}"] = pixels, context.rgb_data.shape
    return self._callable(wp, look, inputs, outputs)


def _require_warp():
  """Returns the modules warp and mujoco_warp; raises UserError if they are not here."""
  if tuple(map(int, re.findall(r"\d+", mujoco.__version__)[:2])) < _LEAST_MUJOCO:
    raise UserError(
      f"expected MuJoCo 3.17 for MuJoCo Warp, got {mujoco.__version__}; run this in an environment "
      "of its own that has the extra, pip install '.[warp]'."
    )
  try:
    import warp as wp
    from mujoco.mjx.third_party import mujoco_warp as mjw
  except ImportError as error:
    raise UserError(
      f"expected the extra warp, got '{error}'; install it in an environment of its own, pip "
      "install '.[warp]'."
    ) from error
  wp.config.log_level = wp.LOG_WARNING
  wp.init()
  return wp, mjw
