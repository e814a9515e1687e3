"""What the learning loop asks of a reward, whatever it is computed from."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vipjax.envs import Seen


class Reward(Protocol):
  """The reward of a step from what it remembers of the states before and after.

  Attributes:
    state_shape: shape of what it remembers of one environment's state; () for a potential.
    telescopes: whether an undiscounted episode's sum follows from its first and last state, by
      `gain`; otherwise an evaluation looks at every step and sums.
  """

  state_shape: tuple[int, ...]
  telescopes: bool

  def observe(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 [N, *state_shape], what it remembers, and float32 [N, C], distances to log.

    Args:
      seen: its frames are those of the reward's channels, possibly with further ones behind them.
    """

  def reward(self, state: np.ndarray, next_state: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps, from the states before and after."""

  def gain(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the returns of N episodes from their ends; only if it telescopes."""
