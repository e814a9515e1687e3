"""The embedding reward for any Gymnasium environment that renders.

    env = gymnasium.make("Pusher-v5", render_mode="rgb_array")
    env = vipjax.EmbeddingRewardWrapper(env, vipjax.load("mini"), goal)

The vector wrapper embeds many environments in one batch:

    envs = gymnasium.make_vec("Pusher-v5", 8, render_mode="rgb_array")
    envs = vipjax.EmbeddingRewardVectorWrapper(envs, vipjax.load("mini"), goal)

An environment that resets itself within the last step of an episode (AutoresetMode.SAME_STEP)
cannot render the episode's last frame afterwards; `FrameInInfo` around each environment keeps it:

    envs = gymnasium.make_vec(
        "Pusher-v5", 8, render_mode="rgb_array", wrappers=[vipjax.FrameInInfo],
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP})

The plain distance sees the arm and hardly the object. With `robot`, the root of the robot in the
environment's MuJoCo model, the reward is the weighted sum of the falls of two distances: that of
the picture, and that of the same picture drawn without the robot.

    env = vipjax.EmbeddingRewardWrapper(
        env, vipjax.load("mini"), goal, robot="r_shoulder_pan_link", robot_free_goal=without)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from absl import logging
from gymnasium.vector import AutoresetMode

from vipjax.encoder import ValueFunction
from vipjax.envs.robot_free import RobotFreeView, check_render_mode, drawn, rendered
from vipjax.reward.step_rewards import StepRewards
from vipjax.runtime.errors import UserError

FRAME = "frame"  # the key of `info` under which FrameInInfo puts the picture


class FrameInInfo(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
  """Renders after every reset and step; puts the picture, uint8 [H, W, 3], into `info["frame"]`.

  With `robot` these are two pictures, uint8 [2, H, W, 3], with and without the robot. Vector
  environments pass `info` on, also from the step before an automatic reset and from other
  processes.
  """

  def __init__(self, env: gymnasium.Env, robot: str | Sequence[str] | None = None):
    """Wraps an environment.

    Args:
      env: an environment with render_mode "rgb_array".
      robot: as in `EmbeddingRewardWrapper`.

    Raises:
      UserError: another render_mode, or a robot that is not there.
    """
    gymnasium.utils.RecordConstructorArgs.__init__(self, robot=robot)
    gymnasium.Wrapper.__init__(self, env)
    self._view = _view(env, robot)

  def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
    observation, info = self.env.reset(seed=seed, options=options)
    return observation, {**info, FRAME: _drawn(self.env, self._view)}

  def step(self, action: Any):
    observation, reward, terminated, truncated, info = self.env.step(action)
    info = {**info, FRAME: _drawn(self.env, self._view)}
    return observation, reward, terminated, truncated, info


class EmbeddingRewardWrapper(gymnasium.Wrapper):
  """One environment with the change of its picture's distance to the goal as reward.

  `info` gains "distance", float, the distance to the goal after the step, and "task_reward", the
  environment's own reward; with a `robot_free_goal` also "robot_free_distance". For many
  environments use the vector wrapper, which embeds all pictures in one call.
  """

  def __init__(
    self,
    env: gymnasium.Env,
    value: ValueFunction,
    goal: np.ndarray,
    robot: str | Sequence[str] | None = None,
    **keywords: Any,
  ):
    """Wraps an environment.

    Args:
      env: an environment with render_mode "rgb_array", rendered after every reset and step.
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environment's viewpoint.
      robot: for a MuJoCo environment the name of the body that is the root of its robot, or several
        names, of bodies, which stand for their subtrees, and of geoms. The environment is then
        drawn with and without them, both times without sites (`vipjax.envs.RobotFreeView`, which
        also draws goals). None for the plain picture alone.
      **keywords: `settings`, `first_frame`, `task_reward_weight`, `robot_free_goal`,
        `robot_free_first_frame`, `plain_weight`, `robot_free_weight` and, in place of a robot,
        `robot_free` of `StepRewards`. With a robot and without a `robot_free_goal` the pictures
        without the robot are measured to `goal` too, with a warning: their distance then falls much
        less on the way.

    Raises:
      UserError: another render_mode, a robot that is not there, or as `StepRewards`.
    """
    super().__init__(env)
    self._view = _view(env, robot)
    self._rewards = StepRewards(value, goal, **_with_goal(keywords, goal, robot))

  def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
    observation, info = self.env.reset(seed=seed, options=options)
    distances = self._rewards.start(_drawn(self.env, self._view)[None])
    return observation, {**info, **_first(distances)}

  def step(self, action: Any):
    observation, task_reward, terminated, truncated, info = self.env.step(action)
    frame = _drawn(self.env, self._view)
    rewards, distances = self._rewards.step(frame[None], np.array([task_reward]))
    info = {**info, **_first(distances), "task_reward": float(task_reward)}
    return observation, float(rewards[0]), terminated, truncated, info


class EmbeddingRewardVectorWrapper(gymnasium.vector.VectorWrapper):
  """N environments with the change of their pictures' distances to the goal as rewards.

  It embeds all pictures of a step in one call, and in a second one if an episode begins in the same
  step. `infos` gains "distance", with a `robot_free_goal` also "robot_free_distance", and
  "task_reward", float [N], of the step before an automatic reset. A step in which
  AutoresetMode.NEXT_STEP resets an environment has reward 0.
  """

  def __init__(
    self,
    env: gymnasium.vector.VectorEnv,
    value: ValueFunction,
    goal: np.ndarray,
    robot: str | Sequence[str] | None = None,
    **keywords: Any,
  ):
    """Wraps a vector environment.

    Args:
      env: environments with render_mode "rgb_array". AutoresetMode.SAME_STEP requires
        `FrameInInfo` around each; in the other modes it is optional.
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environments' viewpoint.
      robot: as in `EmbeddingRewardWrapper`. Environments of other processes are drawn there: give
        the same to the `FrameInInfo` around each.
      **keywords: as in `EmbeddingRewardWrapper`.

    Raises:
      UserError: another render_mode, a robot that is not there, an unknown autoreset mode, or as
        `StepRewards`.
    """
    super().__init__(env)
    check_render_mode(env.render_mode)
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
      raise UserError(
        f"expected a vector environment with an autoreset_mode in its metadata, got {mode!r}; set "
        "it to one of gymnasium.vector.AutoresetMode."
      )
    self._mode = mode
    self._rewards = StepRewards(value, goal, **_with_goal(keywords, goal, robot))
    # Environments of other processes cannot be reached from here.
    inner = getattr(env.unwrapped, "envs", ())
    self._views = [] if robot is None else [RobotFreeView(each, robot) for each in inner]
    self._plain = robot is None
    self._resets_next = np.zeros(self.num_envs, bool)

  def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
    # Gymnasium removes the mask from the options.
    mask = None if options is None else options.get("reset_mask")
    observations, infos = self.env.reset(seed=seed, options=options)
    distances = self._rewards.start(self._frames(infos, mask), mask)
    started = np.ones(self.num_envs, bool) if mask is None else mask
    self._resets_next = self._resets_next & ~started
    return observations, {**infos, **_marked(distances, started)}

  def step(self, actions: Any):
    observations, task_rewards, terminated, truncated, infos = self.env.step(actions)
    ended = np.logical_or(terminated, truncated)
    frames = self._frames(infos)
    if self._mode == AutoresetMode.SAME_STEP:
      last = _last_frames(infos, frames, ended)
      rewards, distances = self._rewards.step(last, task_rewards)
      if ended.any():
        self._rewards.start(frames, ended)
    else:
      rewards, distances = self._rewards.step(frames, task_rewards, self._resets_next)
      self._resets_next = ended if self._mode == AutoresetMode.NEXT_STEP else self._resets_next
    everyone = np.ones(self.num_envs, bool)
    measured = {**distances, "task_reward": np.array(task_rewards)}
    return observations, rewards, terminated, truncated, {**infos, **_marked(measured, everyone)}

  def _frames(self, infos: dict[str, Any], mask: np.ndarray | None = None) -> np.ndarray:
    """Returns the current frames, as `StepRewards.start` takes them; outside the mask any."""
    if FRAME in infos:
      known = infos[f"_{FRAME}"]
      if (known if mask is None else known | ~mask).all():
        return infos[FRAME]
    elif self._mode != AutoresetMode.SAME_STEP:
      if self._views:
        return np.stack([view.frames() for view in self._views])
      if self._plain:
        return np.stack([rendered(frame) for frame in self.env.render()])
    raise UserError(
      "expected the frame of every environment in infos['frame'], the only place of last frames "
      "before a reset within a step and of other processes' frames without the robot, got none; "
      "make the environments with wrappers=[vipjax.FrameInInfo], or with a robot "
      "[functools.partial(vipjax.FrameInInfo, robot=...)]."
    )


def _last_frames(infos: dict[str, Any], frames: np.ndarray, ended: np.ndarray) -> np.ndarray:
  """Returns the frames of the step; for ended episodes those before the reset."""
  if not ended.any():
    return frames
  mask = np.reshape(ended, (-1, *(1,) * (frames.ndim - 1)))
  return np.where(mask, infos["final_info"][FRAME], frames)


def _view(env: gymnasium.Env, robot: str | Sequence[str] | None) -> RobotFreeView | None:
  check_render_mode(env.render_mode)
  return None if robot is None else RobotFreeView(env, robot)


def _drawn(env: gymnasium.Env, view: RobotFreeView | None) -> np.ndarray:
  """Draws the present state, uint8 [H, W, 3] or with a view [2, H, W, 3]."""
  return drawn(env) if view is None else view.frames()


def _with_goal(
  keywords: dict[str, Any], goal: np.ndarray, robot: str | Sequence[str] | None
) -> dict[str, Any]:
  """Returns the keywords with a goal of the pictures without the robot, where there is one."""
  if robot is not None and keywords.get("robot_free"):
    raise UserError(
      "expected a robot, which is left out of a second picture, or robot_free, which looks past it "
      f"in the first, got both (robot {robot!r}); leave out one."
    )
  if robot is None or keywords.get("robot_free_goal") is not None:
    return keywords
  # Along an expert's film mini's distance to such a goal falls by .14 (faucet-close), .30
  # (window-open) and .48 (drawer-open) times as much as to a goal without the robot.
  logging.warning(
    "The frames without the robot are measured to the goal with it, to which they come little "
    "nearer: give robot_free_goal, which vipjax.envs.RobotFreeView draws."
  )
  return {**keywords, "robot_free_goal": goal}


def _first(distances: dict[str, np.ndarray]) -> dict[str, float]:
  return {name: float(values[0]) for name, values in distances.items()}


def _marked(values: dict[str, np.ndarray], known: np.ndarray) -> dict[str, np.ndarray]:
  """Returns them as in a vector environment's infos, with the mask of those known."""
  return {**values, **{f"_{name}": known for name in values}}
