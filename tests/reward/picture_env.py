"""A tiny environment that is its own picture: a bar as wide as the position is far."""

import gymnasium
import numpy as np

from vipjax import FrameInInfo

_SIZE = 16


def picture(position):
  """uint8 [16, 16, 3]: a different one for each position from 0 to 15."""
  frame = np.full((_SIZE, _SIZE, 3), 40, np.uint8)
  frame[:, : position + 1] = (250, 120, 20)
  return frame


GOAL = picture(11)


class PictureEnv(gymnasium.Env):
  """Starts at 0; the action, 0 to 3, is how far to go. Its own reward is 100 + position."""

  metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

  def __init__(self, horizon=8, continuous=False):
    self.observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    self.action_space = (
      gymnasium.spaces.Box(-1, 1, (1,), np.float32) if continuous else gymnasium.spaces.Discrete(4)
    )
    self.render_mode = "rgb_array"
    self._horizon = horizon
    self._position, self._time = 0, 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self._position, self._time = 0, 0
    return self._observation(), {}

  def step(self, action):
    self._position = min(self._position + int(abs(np.asarray(action).item()) + 0.5), 15)
    self._time += 1
    truncated = self._time >= self._horizon
    return self._observation(), 100.0 + self._position, False, truncated, {}

  def render(self):
    return picture(self._position)

  def _observation(self):
    return np.array([self._position], np.float32)


def short_env():
  return FrameInInfo(PictureEnv(horizon=2))


def long_env():
  return FrameInInfo(PictureEnv(horizon=9))
