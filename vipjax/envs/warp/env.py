"""N environments of one task and arm as functions of arrays: RobotEnv by the thousand."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vipjax.envs.robot_env import LIMIT
from vipjax.envs.warp.rules import Measured, measure
from vipjax.envs.warp.scene import Scene
from vipjax.envs.warp.simulation import Physics, Poses
from vipjax.runtime.errors import UserError


class Simulator(Protocol):
  """What `WarpEnv` asks of `simulation.Simulation`."""

  model: mujoco.MjModel
  num_worlds: int
  num_channels: int

  def step(
    self, physics: Physics, moved: jax.Array, action: jax.Array
  ) -> tuple[Physics, jax.Array]: ...

  def poses(self, qpos: jax.Array, moved: jax.Array) -> Poses: ...

  def look(self, qpos: jax.Array, moved: jax.Array) -> tuple[Poses, jax.Array]: ...


class WarpState(NamedTuple):
  """Where N environments are in their episodes (a pytree): all of it, for a checkpoint.

  Attributes:
    key: random key of the resets to come.
    physics: of the worlds.
    moved: float32 [N, M, 3], positions of the bodies that resets move.
    goal: float32 [N, 3], the tasks' goal positions.
    previous: float32 [N, 24], the present state's numbers in the next observation.
    steps: int32 [N], control steps since the reset.
  """

  key: jax.Array
  physics: Physics
  moved: jax.Array
  goal: jax.Array
  previous: jax.Array
  steps: jax.Array


class WarpStep(NamedTuple):
  """The result of one step of all N environments, named as in `vipjax.envs.Step`.

  Attributes:
    observation: float32 [N, 51], before any automatic reset.
    frames: uint8 [N, C, H, W, 3], likewise.
    distances: float32 [N, 2], metres from hand to object and from object to target, likewise.
    truncated: bool [N], whether the episode ended and the environment was reset afterwards.
    diverged: bool [N], whether it ended because the simulation diverged.
    success: bool [N], at this step.
    reset_observation, reset_frames: after the automatic reset; equal to those before without one.
  """

  observation: jax.Array
  frames: jax.Array
  distances: jax.Array
  truncated: jax.Array
  diverged: jax.Array
  success: jax.Array
  reset_observation: jax.Array
  reset_frames: jax.Array


class WarpEnv:
  """N environments under joint torques, which reset by themselves; all methods are jittable.

  Actions, observations, success, the bounded workspace, the time limit and the noise at reset are
  RobotEnv's, as its docstring has them, with one difference: an episode starts from one of the
  scene's placements, which are finitely many and each RobotEnv's own of a seed.

  A world whose simulation diverges gets the state before that step back, and its episode alone
  ends, as in RobotEnv.

  Attributes:
    num_envs: N.
    observation_space, action_space: of one of them, 51 and 8 numbers.
    horizon: control steps in an episode.
  """

  observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (51,), np.float32)
  action_space = gymnasium.spaces.Box(-1.0, 1.0, (8,), np.float32)

  def __init__(self, scene: Scene, simulation: Simulator, horizon: int | None = None):
    """Takes a scene and what steps and draws it.

    Args:
      scene: the exported scene.
      simulation: `Simulation(scene, num_worlds, channels, size)`.
      horizon: None is the scene's.

    Raises:
      UserError: a horizon below 1.
    """
    self.horizon = scene.facts.horizon if horizon is None else horizon
    if self.horizon < 1:
      raise UserError(f"expected a horizon of at least 1 step, got {self.horizon}; raise it.")
    self.num_envs, self._simulation, self._facts = simulation.num_worlds, simulation, scene.facts
    model = simulation.model
    self._joints = jnp.array([model.joint(name).qposadr[0] for name in scene.facts.joints])
    self._placements = tuple(
      jnp.asarray(each) for each in (scene.qpos, scene.qvel, scene.moved, scene.goal)
    )

  def reset(self, key: jax.Array) -> tuple[WarpState, jax.Array, jax.Array]:
    """Starts N episodes.

    Args:
      key: random key of this and all later resets.

    Returns:
      The state; float32 [N, 51] observations; uint8 [N, C, H, W, 3] frames.
    """
    key, own = jax.random.split(key)
    return self.start(*self._placed(own), key)

  def start(
    self, qpos: jax.Array, qvel: jax.Array, moved: jax.Array, goal: jax.Array, key: jax.Array
  ) -> tuple[WarpState, jax.Array, jax.Array]:
    """Starts N episodes from given states, as `reset` does.

    Args:
      qpos: float32 [N, nq].
      qvel: float32 [N, nv].
      moved: float32 [N, M, 3], positions of the bodies that resets move.
      goal: float32 [N, 3].
      key: random key of later resets.
    """
    physics = Physics(qpos, qvel, jnp.zeros_like(qvel))
    poses, frames = self._simulation.look(qpos, moved)
    present, _ = self.numbers(qpos, poses, goal)
    steps = jnp.zeros(self.num_envs, jnp.int32)
    state = WarpState(key, physics, moved, goal, present, steps)
    return state, _observation(present, present, goal), frames

  def step(
    self, state: WarpState, action: jax.Array, draw: bool = True
  ) -> tuple[WarpState, WarpStep]:
    """Steps all environments, and resets those whose episodes end.

    Args:
      state: where they are.
      action: float32 [N, 8]; clipped to [-1, 1].
      draw: False draws nothing: frames are zeros.
    """
    action = jnp.clip(action, -1.0, 1.0)
    physics, diverged = self._simulation.step(state.physics, state.moved, action)
    physics = _where(diverged, state.physics, physics)
    poses, frames = self._seen(physics.qpos, state.moved, draw)
    present, measured = self.numbers(physics.qpos, poses, state.goal)
    observation = _observation(present, state.previous, state.goal)
    steps = state.steps + 1
    truncated = diverged | (steps >= self.horizon)
    key, own = jax.random.split(state.key)
    gone_on = WarpState(key, physics, state.moved, state.goal, present, steps)

    def reset(gone_on, observation, frames):
      qpos, qvel, moved, goal = _where(
        truncated,
        self._placed(own),
        (gone_on.physics.qpos, gone_on.physics.qvel, gone_on.moved, gone_on.goal),
      )
      poses, reset_frames = self._seen(qpos, moved, draw)
      first, _ = self.numbers(qpos, poses, goal)
      warmstart = jnp.where(truncated[:, None], 0.0, gone_on.physics.warmstart)
      new = WarpState(
        key, Physics(qpos, qvel, warmstart), moved, goal, first, jnp.where(truncated, 0, steps)
      )
      return _where(
        truncated, (new._replace(key=None), _observation(first, first, goal), reset_frames),
        (gone_on._replace(key=None), observation, frames),
      )  # fmt: skip

    # Most steps end no episode, and then nothing is placed and drawn anew.
    new, reset_observation, reset_frames = jax.lax.cond(
      truncated.any(),
      reset,
      lambda gone_on, observation, frames: (gone_on._replace(key=None), observation, frames),
      gone_on, observation, frames,
    )  # fmt: skip
    distances = jnp.stack([measured.hand_to_object, measured.object_to_target], axis=-1)
    return new._replace(key=key), WarpStep(
      observation, frames, distances, truncated, diverged, measured.success, reset_observation,
      reset_frames,
    )  # fmt: skip

  def _placed(self, key: jax.Array) -> tuple[jax.Array, ...]:
    """Draws placements: qpos with noise on the arm's joints, qvel, moved and goal of N episodes."""
    row_key, noise_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (self.num_envs,), 0, len(self._placements[0]))
    qpos, *others = (each[rows] for each in self._placements)
    width = self._facts.joint_noise
    noise = jax.random.uniform(noise_key, (self.num_envs, 7), minval=-width, maxval=width)
    return qpos.at[:, self._joints[:7]].add(noise), *others

  def _seen(self, qpos: jax.Array, moved: jax.Array, draw: bool) -> tuple[Poses, jax.Array | None]:
    if draw:
      return self._simulation.look(qpos, moved)
    shape = jax.eval_shape(self._simulation.look, qpos, moved)[1]
    return self._simulation.poses(qpos, moved), jnp.zeros(shape.shape, shape.dtype)

  def numbers(self, qpos: jax.Array, poses: Poses, goal: jax.Array) -> tuple[jax.Array, Measured]:
    """Returns float32 [N, 24], an observation's part of one state, and what the rules measure."""
    measured = measure(self._facts.rules, *poses, goal)
    parts = qpos[:, self._joints], measured.opening[:, None], measured.features
    return jnp.concatenate(parts, axis=-1), measured


def _observation(present: jax.Array, previous: jax.Array, goal: jax.Array) -> jax.Array:
  return jnp.clip(jnp.concatenate([present, previous, goal], axis=-1), -LIMIT, LIMIT)


def _where(chosen: jax.Array, new, old):
  """Leaf by leaf of two pytrees the rows [N, ...] of `new` where `chosen`, else those of `old`."""
  return jax.tree.map(
    lambda n, o: jnp.where(chosen.reshape(-1, *[1] * (n.ndim - 1)), n, o), new, old
  )
