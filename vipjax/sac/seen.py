"""Environments whose policy sees what the camera shows, instead of where the object is."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import Episodes, FrameVectorEnv, Seen, Step

INPUTS = ("state", "frame")


def with_embedding(value: ValueFunction, frames: np.ndarray, observation: np.ndarray) -> np.ndarray:
  """What such a policy sees, float32 [N, D + O].

  Args:
    value: the encoder, of D numbers.
    frames: uint8 [N, H, W, 3], plain ones.
    observation: float32 [N, O], of a `RobotEnv` that observes the hand.
  """
  embeddings = value.embed(frames, chunk=1 if len(frames) == 1 else None)
  return np.concatenate([embeddings, observation], axis=1)


class EmbeddedEnv:
  """A FrameVectorEnv whose observations begin with the embedding of each environment's frame.

  Frames are drawn and embedded at every step, once more than for the reward: so the loop and the
  reward stay what they are. All else is as there.
  """

  def __init__(self, env: FrameVectorEnv, value: ValueFunction):
    """Wraps environments, which it closes.

    Args:
      env: the environments, of `observes="hand"`; their first channel shows the robot.
      value: the encoder, which stays as it is.
    """
    self._env, self._value = env, value
    self.num_envs, self.horizon, self.action_space = env.num_envs, env.horizon, env.action_space
    shape = (value.config.embedding_dim + env.observation_space.shape[0],)
    self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
    self.episodes, self.finish_step = env.episodes, env.finish_step

  def reset(self, seed: int | Sequence[int]) -> tuple[np.ndarray, Seen]:
    return self._present(*self._env.reset(seed))

  def restore(self, episodes: Episodes) -> tuple[np.ndarray, Seen]:
    return self._present(*self._env.restore(episodes))

  def step_async(self, actions: np.ndarray) -> Episodes:
    return self._env.step_async(actions)

  def step_wait(self) -> Step:
    step = self._env.step_wait()
    observation = with_embedding(self._value, step.frames[:, 0], step.observation)
    after, ended = observation, step.truncated
    if ended.any():
      after = observation.copy()
      frames = step.reset_frames[ended, 0]
      after[ended] = with_embedding(self._value, frames, step.reset_observation[ended])
    return step._replace(observation=observation, reset_observation=after)

  def step(self, actions: np.ndarray, draw: bool = True) -> Step:
    """Draws in any case, because the policy looks."""
    del draw
    self.step_async(actions)
    return self.step_wait()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._env.close()

  def _present(self, observation: np.ndarray, seen: Seen) -> tuple[np.ndarray, Seen]:
    return with_embedding(self._value, seen.frames[:, 0], observation), seen
