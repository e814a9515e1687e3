"""What a policy sees that looks for itself: the embedding of each state that it is in."""

import types

import gymnasium
import numpy as np

from vipjax.envs import Seen, Step
from vipjax.sac.seen import EmbeddedEnv


class Colour:
  """Stands in for an encoder: the mean of each colour."""

  config = types.SimpleNamespace(embedding_dim=3)

  def embed(self, frames, chunk=None):
    return frames.mean(axis=(1, 2)).astype(np.float32)


class Stepping:
  """Two environments with two channels; the second one ends at each step."""

  num_envs, horizon = 2, 5
  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
  episodes = finish_step = None

  def __init__(self):
    self.drawn = []

  def reset(self, seed):
    return hands(seed, seed), seen(1, 2)

  restore = reset

  def step_async(self, actions, draw=True):
    self.drawn.append(draw)

  def step_wait(self):
    ended = np.array([False, True])
    return Step(hands(3, 4), *seen(3, 4), ended, ended, hands(3, 5), *seen(3, 5))


def hands(*values):
  return np.repeat(np.array(values, np.float32)[:, None], 4, axis=1)


def seen(*values):
  frames = np.zeros((2, 2, 4, 4, 3), np.uint8)
  frames[:, 0] = np.array(values, np.uint8)[:, None, None, None]
  frames[:, 1] = 99  # without the robot: not looked at
  return Seen(frames, np.zeros((2, 2), np.float32), np.zeros(2, np.float32))


def test_an_observation_is_the_embedding_then_the_hand():
  made = EmbeddedEnv(Stepping(), Colour())
  assert made.observation_space.shape == (7,) and made.num_envs == 2 and made.horizon == 5
  observation, shown = made.reset(7)
  np.testing.assert_array_equal(observation, [[1] * 3 + [7] * 4, [2] * 3 + [7] * 4])
  assert observation.dtype == np.float32 and shown.frames.shape == (2, 2, 4, 4, 3)
  step = made.step(np.zeros((2, 2)))
  np.testing.assert_array_equal(step.observation, [[3] * 7, [4] * 7])
  # Where an episode ended the next action depends on the first frame of the new one.
  np.testing.assert_array_equal(step.reset_observation, [[3] * 7, [5] * 7])


def test_it_looks_where_an_evaluation_would_not_draw():
  env = Stepping()
  EmbeddedEnv(env, Colour()).step(np.zeros((2, 2)), draw=False)
  assert env.drawn == [True]
