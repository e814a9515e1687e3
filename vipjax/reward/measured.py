"""Rewards from a simulator's own numbers, to measure how far an embedding's reward is from them.

A real robot has no such numbers: these rewards show what a task and a budget allow, and train no
policy of the method.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vipjax.envs import Seen
from vipjax.reward.settings import RewardSettings
from vipjax.runtime import ranges


@dataclasses.dataclass(frozen=True)
class IdealReward:
  """The potential that an embedding should be, -(w_h hand to object + w_o object to target).

  It is paid exactly as `EmbeddingReward` pays its own.

  Attributes:
    settings: how the potential is paid; `normalize`, `saturation` and `goal_reduction` mean nothing
      here.
    hand_weight: w_h, per metre, at least 0.
    object_weight: w_o, per metre, at least 0.
  """

  settings: RewardSettings
  hand_weight: float = 2.0
  object_weight: float = 10.0

  state_shape = ()
  telescopes = True

  def __post_init__(self):
    weights = {"hand_weight": self.hand_weight, "object_weight": self.object_weight}
    ranges.check("ceiling", weights)

  def observe(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 [N], the potential, and float32 [N, 2], the distances in metres."""
    weights = np.array([self.hand_weight, self.object_weight], np.float32)
    return -(seen.distances * weights).sum(axis=1), seen.distances

  def reward(self, potential: np.ndarray, next_potential: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps, from the potentials before and after."""
    return self.settings.pay(potential, next_potential)

  def gain(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the returns of N episodes from the potentials at their ends."""
    return self.settings.scale * (last - first)


@dataclasses.dataclass(frozen=True)
class DenseReward:
  """Meta-World's own shaped reward of the state that a step leads to, times a scale.

  Attributes:
    scale: factor of the reward, which is 0 to 10 a step, above 0.
  """

  scale: float = 1.0

  state_shape = ()
  telescopes = False

  def __post_init__(self):
    ranges.check("reward", {"scale": self.scale})

  def observe(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 [N], the task's reward, and float32 [N, 2], the distances in metres."""
    return seen.task_reward, seen.distances

  def reward(self, state: np.ndarray, next_state: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps; what was before does not count."""
    return (self.scale * next_state).astype(np.float32)

  def gain(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    raise NotImplementedError("the sum of these rewards does not follow from its ends")
