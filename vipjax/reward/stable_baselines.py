"""The embedding reward for the vector environments of stable-baselines3 and sbx.

    from stable_baselines3 import SAC  # or: from sbx import SAC
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
    from vipjax.reward.stable_baselines import EmbeddingRewardVecEnvWrapper

    def make():
      return vipjax.FrameInInfo(gymnasium.make("Pusher-v5", render_mode="rgb_array"))

    envs = EmbeddingRewardVecEnvWrapper(DummyVecEnv([make] * 8), vipjax.load("mini"), goal)
    SAC("MlpPolicy", VecMonitor(envs)).learn(100_000)

Only this module imports stable-baselines3, and thereby torch; `vipjax.EmbeddingRewardWrapper` for
a single environment needs neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from vipjax.encoder import ValueFunction
from vipjax.reward.step_rewards import StepRewards
from vipjax.reward.wrappers import FRAME
from vipjax.runtime.errors import UserError


class EmbeddingRewardVecEnvWrapper(VecEnvWrapper):
  """N environments with the change of their pictures' distances to the goal as rewards.

  It embeds all pictures of a step in one call, and in a second one if an episode begins. Each
  environment's `info` gains the distances and "task_reward" and loses "frame".
  """

  def __init__(self, venv: VecEnv, value: ValueFunction, goal: np.ndarray, **keywords: Any):
    """Wraps a vector environment (DummyVecEnv, SubprocVecEnv).

    Args:
      venv: environments that have `vipjax.FrameInInfo` around each, because they reset within the
        last step of an episode.
      value: the value function.
      goal: uint8 [H, W, 3], or several [G, H, W, 3], from the environments' viewpoint.
      **keywords: those of `StepRewards`; with `robot_free_goal` and without `robot_free` the
        `FrameInInfo` around each environment has a `robot`.

    Raises:
      UserError: as `StepRewards`.
    """
    super().__init__(venv)
    self._rewards = StepRewards(value, goal, **keywords)

  def reset(self):
    """Starts N episodes and returns their observations."""
    observations = self.venv.reset()
    self._rewards.start(_stacked(self.venv.reset_infos))
    return observations

  def step_wait(self):
    """Waits for the step; returns observations, rewards float64 [N], ends and infos."""
    observations, task_rewards, ended, infos = self.venv.step_wait()
    rewards, distances = self._rewards.step(_stacked(infos), task_rewards)
    if ended.any():
      # reset_infos has the frame after the reset; for other environments it is an old one.
      self._rewards.start(_stacked(self.venv.reset_infos), ended)
    measured = {**distances, "task_reward": task_rewards}
    for number, info in enumerate(infos):
      del info[FRAME]  # algorithms store infos
      info |= {name: float(values[number]) for name, values in measured.items()}
    return observations, rewards, ended, infos


def _stacked(infos: list[dict[str, Any]]) -> np.ndarray:
  """Returns uint8 [N, H, W, 3], or pairs, from the infos of N environments."""
  if not all(FRAME in info for info in infos):
    raise UserError(
      "expected the frame of every environment in info['frame'], got none; put "
      "vipjax.FrameInInfo around each environment."
    )
  return np.stack([info[FRAME] for info in infos])
