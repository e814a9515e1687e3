"""Environments that cost nothing, to compile or to time what acts in them."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np

from vipjax.envs.vector import Episodes, Seen, Step


class StillEnvs:
  """Replaces a FrameVectorEnv by environments of the same sizes in which nothing happens.

  Args:
    count: N.
    observation_space, action_space: of one environment.
    pictures: [C, H, W, 3], shape of the frames of one.
    horizon: actions that `Episodes` has room for.
  """

  horizon = 1

  def __init__(
    self,
    count: int,
    observation_space: gymnasium.spaces.Box,
    action_space: gymnasium.spaces.Box,
    pictures: Sequence[int],
    horizon: int = 1,
  ):
    self.num_envs, self._horizon = count, horizon
    self.observation_space, self.action_space = observation_space, action_space
    self._observation = np.zeros((count, *self.observation_space.shape), np.float32)
    distances, task_reward = np.zeros((count, 2), np.float32), np.zeros(count, np.float32)
    self._seen = Seen(np.zeros((count, *pictures), np.uint8), distances, task_reward)

  def reset(self, seed: Sequence[int]) -> tuple[np.ndarray, Seen]:
    del seed
    return self._observation, self._seen

  def episodes(self) -> Episodes:
    """Returns episodes without any action."""
    n = self.num_envs
    actions = np.zeros((n, self._horizon, *self.action_space.shape), np.float32)
    return Episodes(np.zeros((n, 6), np.uint64), actions, np.zeros(n, np.int32))

  def step_async(self, actions: np.ndarray) -> Episodes:
    del actions
    return self.episodes()

  def step_wait(self) -> Step:
    never, after = np.zeros(self.num_envs, bool), (self._observation, *self._seen)
    return Step(*after, never, never, *after)

  def step(self, actions: np.ndarray, draw: bool = True) -> Step:
    del actions, draw
    return self.step_wait()

  def finish_step(self) -> None:
    pass
