"""Conservative Q-learning: transitions and returns by hand, batches, and what is learned."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence
from vipjax.runtime.errors import UserError
from vipjax.sac import SacSettings, init_agent, make_policy
from vipjax.sac.agent import squash
from vipjax.sac.conservative import (
  ConservativeSettings,
  OfflineData,
  OfflineSettings,
  log_density,
  make_conservative_update,
  make_offline,
  make_offline_updates,
  with_statistics,
)
from vipjax.types import Trajectory, Transition

OFFLINE = OfflineSettings(reward_scale=11.0, reward_shift=-1.0, action_limit=0.99, discount=0.5)
SAC = SacSettings(hidden=(16,), learning_rate=1e-2, init_temperature=0.1, target_entropy=-2.0)
CONSERVATIVE = ConservativeSettings(4, 5.0, True, True, 1e-2, 0)


def episode(rewards, success, number=0):
  steps = len(rewards)
  discounts = np.ones(steps, np.float32)
  discounts[-1] = 0.0 if success else 1.0
  observations = np.arange(2 * (steps + 1), dtype=np.float32).reshape(-1, 2) + 100 * number
  return Trajectory(
    observations, np.full((steps, 1), 1.0, np.float32), np.array(rewards, np.float32), discounts,
    success,
  )  # fmt: skip


def test_transitions_and_returns_by_hand():
  data = make_offline([episode([0, 0, 1, 1, 1], True), episode([0, 0], False, 1)], OFFLINE)
  t = data.transitions
  np.testing.assert_array_equal(t.reward, [-1, -1, 10, 10, 10, -1, -1])
  # The three steps that are paid are terminal; the cut is not.
  np.testing.assert_array_equal(t.discount, [1, 1, 0, 0, 0, 1, 1])
  # -1 for ever at a discount of .5.
  np.testing.assert_array_equal(data.returns, [1, 4, 10, 10, 10, -2, -2])
  np.testing.assert_array_equal(t.observation[:, 0], [0, 2, 4, 6, 8, 100, 102])
  np.testing.assert_array_equal(t.next_observation[:, 0], [2, 4, 6, 8, 10, 102, 104])
  np.testing.assert_array_equal(t.action, np.full((7, 1), np.float32(0.99)))
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(data))


def test_rewards_that_are_all_zero_are_one_sentence():
  with pytest.raises(UserError) as error:
    make_offline([episode([0, 0], False)], OFFLINE)
  assert_one_sentence(error, "rewards other than 0", "1 episodes without")


def test_the_density_of_an_action_is_that_of_its_noise():
  noise, mean, log_std = (jax.random.normal(jax.random.key(i), (5, 3)) * 0.5 for i in range(3))
  actions, wanted = squash(noise, mean, log_std)
  np.testing.assert_allclose(log_density(actions, mean, log_std), wanted, rtol=1e-4)


class Counting(NamedTuple):
  """As much of an agent as the drawing of batches needs, or an actor's statistics."""

  step: jax.Array
  key: jax.Array
  actor: Any = None


def test_batches_take_their_share_of_each_data_set():
  def constant(number, rows):
    leaf = np.full(rows, number, np.float32)
    return OfflineData(Transition(*[leaf] * 5), leaf)

  def note(state, batch):
    return state._replace(step=state.step + 1), {"returns": batch.returns.sum()}

  state = Counting(jnp.int32(0), jax.random.key(0))
  run = jax.jit(make_offline_updates(note, (9, 1), 3))
  state, metrics = run(state, (constant(0.0, 4), constant(1.0, 2)))
  assert int(state.step) == 3 and float(metrics["returns"]) == 1.0


def test_observations_are_seen_by_the_data_s_statistics_but_for_the_last():
  data = make_offline([episode([0, 1], True)], OFFLINE)
  state = with_statistics(Counting(0, 0, {"params": 1}), data, plain=1)
  assert state.actor["params"] == 1
  known = state.actor["statistics"]
  np.testing.assert_allclose(known["mean"], [1.0, 0.0])
  np.testing.assert_allclose(known["variance"], [1.0, 1.0])


def bandit(rows=256):
  """One step each: actions of two numbers, of which the first pays where it is above 0."""
  rng = np.random.default_rng(0)
  actions = rng.uniform(-0.9, 0.9, (rows, 2)).astype(np.float32)
  reward = np.where(actions[:, 0] > 0, 10.0, -1.0).astype(np.float32)
  zeros = np.zeros((rows, 3), np.float32)
  return OfflineData(Transition(zeros, actions, reward, np.zeros(rows, np.float32), zeros), reward)


# Updates in which the actor clones; an agent whose count is past them follows the critics.
CLONING = 10**6


@pytest.fixture(scope="module")
def learn():
  """(data, updates / 100, first update) -> state and metrics after them, by one program."""
  settings = dataclasses.replace(CONSERVATIVE, clone_updates=CLONING)
  run = jax.jit(make_offline_updates(make_conservative_update(2, SAC, settings), (64,), 100))

  def learn(data, hundreds, first):
    state = init_agent(jax.random.key(0), 3, 2, SAC)._replace(step=jnp.int32(first))
    for _ in range(hundreds):
      state, metrics = run(state, (data,))
    return state, {name: float(x) for name, x in metrics.items()}

  return learn


def test_the_policy_follows_what_the_data_pay_and_a_clone_does_not(learn):
  policy = make_policy(2, SAC, deterministic=True)
  state, metrics = learn(bandit(), 4, CLONING)
  clone, _ = learn(bandit(), 4, 0)
  action, cloned = (
    policy(each.actor, jnp.zeros(3), jax.random.key(0))[0] for each in (state, clone)
  )
  assert action > 0.3 and abs(cloned) < 0.25
  assert int(state.step) == CLONING + 400 and int(state.skipped[0]) == 0
  assert metrics["q_data"] > metrics["q_random"] and metrics["q_return_correlation"] > 0.5


def test_returns_bound_the_policy_s_samples(learn):
  low, high = (
    learn(bandit()._replace(returns=np.full(256, number, np.float32)), 1, CLONING)[1]
    for number in (-1e3, 1e3)
  )
  assert low["bounded"] == 0 and high["bounded"] == 1
  assert abs(low["conservative"]) < 50 and high["conservative"] > 900
  assert high["q_above_return"] == pytest.approx(high["q_data"] - 1e3, rel=1e-4)


@pytest.mark.parametrize("change", [{"n_step": 3}, {"normalize_rewards": True}])
def test_settings_that_mean_nothing_here_are_one_sentence(change):
  with pytest.raises(UserError) as error:
    make_conservative_update(2, dataclasses.replace(SAC, **change), CONSERVATIVE)
  assert_one_sentence(error, "configs/vptr.py", *change)
