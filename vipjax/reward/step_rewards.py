"""The rewards of N environments from their pictures, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.reward.embedding import EmbeddingReward
from vipjax.reward.settings import RewardSettings
from vipjax.runtime.errors import UserError

# Of the channels of a reward with a goal without the robot.
_DISTANCES = ("distance", "robot_free_distance")


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
    robot_free_goal: np.ndarray | None = None,
    robot_free_first_frame: np.ndarray | None = None,
    plain_weight: float = 1.0,
    robot_free_weight: float = 2.0,
    robot_free: Sequence[ValueFunction] = (),
  ):
    """Embeds the goals.

    Args:
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environments' viewpoint.
      settings: the reward's settings; None is as published.
      first_frame: uint8 [H, W, 3], needed for `settings.normalize="first_frame"`.
      task_reward_weight: weight of the environments' own reward in the sum; 0 drops that reward.
      robot_free_goal: the goal without the robot, as `goal`. Frames are then pairs
        [N, 2, H, W, 3], with and without the robot, unless there is `robot_free`. None for a
        reward of plain frames alone, in which the other four arguments count for nothing.
      robot_free_first_frame: `first_frame` without the robot.
      plain_weight, robot_free_weight: weights of the two distances, >= 0; the defaults are those of
        configs/demo.py.
      robot_free: encoders that embed a frame with the robot as `value` embeds it without
        (`encoder_robot_free/<n>` in a run folder): frames are then [N, H, W, 3], with the robot
        alone. Of several the least potential counts.

    Raises:
      UserError: as `EmbeddingReward`, `robot_free` without its goal, or a weight that is not
        finite.
    """
    if not np.isfinite(task_reward_weight):
      raise UserError(f"expected a finite task_reward_weight, got {task_reward_weight}; change it.")
    if robot_free and robot_free_goal is None:
      raise UserError(
        "expected a robot_free_goal with robot_free, which tells the distance to it, got none; "
        "give the goal's frame without the robot."
      )
    goals, firsts, weights = [np.asarray(goal)], [first_frame], [1.0]
    if robot_free_goal is not None:
      goals.append(np.asarray(robot_free_goal))
      firsts.append(robot_free_first_frame)
      weights = [plain_weight, robot_free_weight]
    predicted = {"robot_visible": [True, False], "robot_free": robot_free, "pictures": [0, 0]}
    self._reward = EmbeddingReward(
      value, goals, firsts, weights, settings, **(predicted if robot_free else {})
    )
    self._weight = task_reward_weight
    self._state: np.ndarray | None = None

  def start(self, frames: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Takes the first frames of episodes.

    Args:
      frames: uint8 [N, H, W, 3], or [N, 2, H, W, 3] with a `robot_free_goal` and no `robot_free`.
      mask: bool [N], the environments that start; None for all. Other frames are ignored.

    Returns:
      float32 [N], the frames' distances to the goals: "distance", and with a `robot_free_goal`
      "robot_free_distance".

    Raises:
      UserError: frames of another shape.
    """
    state, distances = self._measure(frames)
    if mask is not None and self._state is not None:
      kept = np.reshape(mask, (-1, *(1,) * (state.ndim - 1)))
      state = np.where(kept, state, self._state)
    self._state = state
    return distances

  def step(
    self, frames: np.ndarray, task_rewards: np.ndarray, reset: np.ndarray | None = None
  ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Takes the frames after a step, before any automatic reset.

    Args:
      frames: as in `start`.
      task_rewards: float [N], the environments' own rewards.
      reset: bool [N], environments that started an episode instead of a step and get reward 0;
        None for none.

    Returns:
      float64 [N], the rewards; the distances, as `start` does.

    Raises:
      UserError: no earlier call of `start`, or frames of another shape.
    """
    if self._state is None:
      raise UserError("expected a reset before the first step, got none; call reset().")
    state, distances = self._measure(frames)
    rewards = self._reward.reward(self._state, state).astype(np.float64)
    rewards += self._weight * np.asarray(task_rewards, np.float64)
    self._state = state
    return (rewards if reset is None else np.where(reset, 0.0, rewards)), distances

  def _measure(self, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if frames.ndim - 3 != self._reward.num_channels:
      axes = ("[N, H, W, 3]", "[N, 2, H, W, 3]")[self._reward.num_channels - 1]
      raise UserError(
        f"expected pictures {axes}, of pairs with and without the robot where there is a "
        f"robot_free_goal and no robot_free, got {list(frames.shape)}; give robot to "
        "vipjax.FrameInInfo and the goal to the reward, or neither; with robot_free the goal alone."
      )
    state, distances = self._reward.state(frames if frames.ndim == 5 else frames[:, None])
    return state, dict(zip(_DISTANCES, distances.T, strict=False))
