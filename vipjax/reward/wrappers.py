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
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from vipjax.encoder import ValueFunction
from vipjax.reward.embedding import EmbeddingReward, RewardSettings
from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames

FRAME = "frame"  # the key of `info` under which FrameInInfo puts the picture


class StepRewards:
  """Computes the rewards of N environments and remembers their states between steps.

  It serves code that steps environments itself, or a wrapper for another interface.
  """

  def __init__(
    self,
    value: ValueFunction,
    goal: np.ndarray,
    settings: RewardSettings | None = None,
    first_frame: np.ndarray | None = None,
    task_reward_weight: float = 0.0,
  ):
    """Embeds the goal.

    Args:
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environments' viewpoint.
      settings: the reward's settings; None is as published.
      first_frame: uint8 [H, W, 3], needed for `settings.normalize="first_frame"`.
      task_reward_weight: weight of the environments' own reward in the sum; 0 drops that reward.

    Raises:
      UserError: as `EmbeddingReward`, or a weight that is not finite.
    """
    if not np.isfinite(task_reward_weight):
      raise UserError(f"expected a finite task_reward_weight, got {task_reward_weight}; change it.")
    firsts = None if first_frame is None else [first_frame]
    self._reward = EmbeddingReward(value, [np.asarray(goal)], firsts, [1.0], settings)
    self._weight = task_reward_weight
    self._state: np.ndarray | None = None

  def start(self, frames: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Takes the first frames of episodes.

    Args:
      frames: uint8 [N, H, W, 3].
      mask: bool [N], the environments that start; None for all. Other frames are ignored.

    Returns:
      float32 [N], the frames' distances to the goal.
    """
    state, distance = self._reward.state(frames[:, None])
    if mask is not None and self._state is not None:
      kept = np.reshape(mask, (-1, *(1,) * (state.ndim - 1)))
      state = np.where(kept, state, self._state)
    self._state = state
    return distance[:, 0]

  def step(
    self, frames: np.ndarray, task_rewards: np.ndarray, reset: np.ndarray | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Takes the frames after a step, before any automatic reset.

    Args:
      frames: uint8 [N, H, W, 3].
      task_rewards: float [N], the environments' own rewards.
      reset: bool [N], environments that started an episode instead of a step and get reward 0;
        None for none.

    Returns:
      float64 [N] rewards and float32 [N] distances to the goal.

    Raises:
      UserError: no earlier call of `start`, or frames of another shape.
    """
    if self._state is None:
      raise UserError("expected a reset before the first step, got none; call reset().")
    state, distance = self._reward.state(frames[:, None])
    rewards = self._reward.reward(self._state, state).astype(np.float64)
    rewards += self._weight * np.asarray(task_rewards, np.float64)
    self._state = state
    return (rewards if reset is None else np.where(reset, 0.0, rewards)), distance[:, 0]


class FrameInInfo(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
  """Renders after every reset and step; puts the picture, uint8 [H, W, 3], into `info["frame"]`.

  Vector environments pass `info` on, also from the step before an automatic reset and from other
  processes.
  """

  def __init__(self, env: gymnasium.Env):
    """Wraps an environment with render_mode "rgb_array"; raises UserError for another mode."""
    gymnasium.utils.RecordConstructorArgs.__init__(self)
    gymnasium.Wrapper.__init__(self, env)
    _check_render_mode(env.render_mode)

  def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
    observation, info = self.env.reset(seed=seed, options=options)
    return observation, {**info, FRAME: _rendered(self.env.render())}

  def step(self, action: Any):
    observation, reward, terminated, truncated, info = self.env.step(action)
    info = {**info, FRAME: _rendered(self.env.render())}
    return observation, reward, terminated, truncated, info


class EmbeddingRewardWrapper(gymnasium.Wrapper):
  """One environment with the change of its picture's distance to the goal as reward.

  `info` gains "distance", float, the distance to the goal after the step, and "task_reward", the
  environment's own reward. For many environments use the vector wrapper, which embeds all pictures
  in one call.
  """

  def __init__(self, env: gymnasium.Env, value: ValueFunction, goal: np.ndarray, **keywords: Any):
    """Wraps an environment.

    Args:
      env: an environment with render_mode "rgb_array", rendered after every reset and step.
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environment's viewpoint.
      **keywords: `settings`, `first_frame` and `task_reward_weight` of `StepRewards`.

    Raises:
      UserError: another render_mode, or as `StepRewards`.
    """
    super().__init__(env)
    _check_render_mode(env.render_mode)
    self._rewards = StepRewards(value, goal, **keywords)

  def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
    observation, info = self.env.reset(seed=seed, options=options)
    distance = self._rewards.start(_rendered(self.env.render())[None])
    return observation, {**info, "distance": float(distance[0])}

  def step(self, action: Any):
    observation, task_reward, terminated, truncated, info = self.env.step(action)
    frame = _rendered(self.env.render())
    rewards, distance = self._rewards.step(frame[None], np.array([task_reward]))
    info = {**info, "distance": float(distance[0]), "task_reward": float(task_reward)}
    return observation, float(rewards[0]), terminated, truncated, info


class EmbeddingRewardVectorWrapper(gymnasium.vector.VectorWrapper):
  """N environments with the change of their pictures' distances to the goal as rewards.

  It embeds all pictures of a step in one call, and in a second one if an episode begins in the same
  step. `infos` gains "distance" and "task_reward", float [N], of the step before an automatic
  reset. A step in which AutoresetMode.NEXT_STEP resets an environment has reward 0.
  """

  def __init__(
    self,
    env: gymnasium.vector.VectorEnv,
    value: ValueFunction,
    goal: np.ndarray,
    **keywords: Any,
  ):
    """Wraps a vector environment.

    Args:
      env: environments with render_mode "rgb_array". AutoresetMode.SAME_STEP requires
        `FrameInInfo` around each; in the other modes it is optional.
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environments' viewpoint.
      **keywords: `settings`, `first_frame` and `task_reward_weight` of `StepRewards`.

    Raises:
      UserError: another render_mode, an unknown autoreset mode, or as `StepRewards`.
    """
    super().__init__(env)
    _check_render_mode(env.render_mode)
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
      raise UserError(
        f"expected a vector environment with an autoreset_mode in its metadata, got {mode!r}; set "
        "it to one of gymnasium.vector.AutoresetMode."
      )
    self._mode = mode
    self._rewards = StepRewards(value, goal, **keywords)
    self._resets_next = np.zeros(self.num_envs, bool)

  def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
    # Gymnasium removes the mask from the options.
    mask = None if options is None else options.get("reset_mask")
    observations, infos = self.env.reset(seed=seed, options=options)
    distances = self._rewards.start(self._frames(infos, mask), mask)
    started = np.ones(self.num_envs, bool) if mask is None else mask
    self._resets_next = self._resets_next & ~started
    return observations, {**infos, "distance": distances, "_distance": started}

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
    infos = {
      **infos,
      "distance": distances, "_distance": everyone,
      "task_reward": np.array(task_rewards), "_task_reward": everyone,
    }  # fmt: skip
    return observations, rewards, terminated, truncated, infos

  def _frames(self, infos: dict[str, Any], mask: np.ndarray | None = None) -> np.ndarray:
    """Returns the current frames uint8 [N, H, W, 3]; those outside the mask may be black."""
    if FRAME in infos:
      known = infos[f"_{FRAME}"]
      if (known if mask is None else known | ~mask).all():
        return infos[FRAME]
    elif self._mode != AutoresetMode.SAME_STEP:
      return np.stack([_rendered(frame) for frame in self.env.render()])
    raise UserError(
      "expected the frame of every environment in infos['frame'], the only place of last frames "
      "before a reset within a step, got none; make the environments with "
      "wrappers=[vipjax.FrameInInfo]."
    )


def _last_frames(infos: dict[str, Any], frames: np.ndarray, ended: np.ndarray) -> np.ndarray:
  """Returns the frames of the step; for ended episodes those before the reset."""
  if not ended.any():
    return frames
  return np.where(ended[:, None, None, None], infos["final_info"][FRAME], frames)


def _rendered(frame: Any) -> np.ndarray:
  """Returns a result of `render` as uint8 [H, W, 3]; raises UserError for anything else."""
  return check_frames(frame, "the result of render()", "[H, W, 3]")


def _check_render_mode(mode: str | None) -> None:
  if mode != "rgb_array":
    raise UserError(
      f"expected an environment with render_mode='rgb_array', got {mode!r}; pass it to "
      "gymnasium.make."
    )
