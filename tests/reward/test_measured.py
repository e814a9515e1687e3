"""The rewards from what a simulator knows, on numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import Seen
from vipjax.reward import RewardSettings
from vipjax.reward.measured import DenseReward, IdealReward
from vipjax.runtime.errors import UserError


def seen(*distances, task_reward=(0.0, 0.0)):
  frames = np.zeros((2, 0, 1, 1, 3), np.uint8)
  return Seen(frames, np.array(distances, np.float32), np.array(task_reward, np.float32))


@pytest.mark.parametrize(
  ("form", "paid"),
  [
    # Potentials: -(2 x .5 + 10 x .2) = -3, then -(2 x .25 + 10 x .1) = -1.5; and -1, then -2.
    ("difference", [15.0, -10.0]),
    ("discounted", [10 * (0.5 * -1.5 + 3.0), 10 * (0.5 * -2.0 + 1.0)]),
    ("value", [-15.0, -20.0]),
  ],
)
def test_the_ideal_potential(form, paid):
  reward = IdealReward(RewardSettings(form=form, discount=0.5, scale=10.0))
  first, distances = reward.observe(seen((0.5, 0.2), (0.0, 0.1)))
  last, _ = reward.observe(seen((0.25, 0.1), (0.5, 0.1)))
  np.testing.assert_allclose(first, [-3.0, -1.0], rtol=1e-6)
  np.testing.assert_array_equal(distances, np.float32([(0.5, 0.2), (0.0, 0.1)]))
  given = reward.reward(first, last)
  assert given.dtype == first.dtype == np.float32 and first.shape[1:] == reward.state_shape
  np.testing.assert_allclose(given, paid, rtol=1e-6)
  np.testing.assert_allclose(reward.gain(first, last), [15.0, -10.0], rtol=1e-6)


def test_weights_of_hand_and_object():
  reward = IdealReward(RewardSettings(), hand_weight=1.0, object_weight=0.0)
  np.testing.assert_allclose(reward.observe(seen((0.5, 9.0), (0.25, 9.0)))[0], [-0.5, -0.25])
  with pytest.raises(UserError, match="config.ceiling.hand_weight of at least 0 .*got -1"):
    IdealReward(RewardSettings(), hand_weight=-1.0)


def test_the_tasks_own_reward_is_that_of_the_state_after_the_step():
  reward = DenseReward(scale=0.5)
  first, _ = reward.observe(seen((0.5, 0.2), (0.0, 0.1), task_reward=(1.0, 2.0)))
  last, distances = reward.observe(seen((0.1, 0.2), (0.3, 0.4), task_reward=(10.0, 0.0)))
  np.testing.assert_array_equal(reward.reward(first, last), np.float32([5.0, 0.0]))
  np.testing.assert_array_equal(distances, np.float32([(0.1, 0.2), (0.3, 0.4)]))
  assert not reward.telescopes
  with pytest.raises(UserError, match="config.reward.scale above 0 .*got 0"):
    DenseReward(scale=0.0)
