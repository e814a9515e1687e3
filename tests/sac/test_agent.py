"""SAC: densities, targets, the update, and a problem it must solve."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import demo
from vipjax.sac import SacSettings, init_agent, make_policy, make_update, replay
from vipjax.sac.agent import make_update_many, squash
from vipjax.stages.agent import sac_settings
from vipjax.stages.task import filled
from vipjax.types import Transition

SETTINGS = SacSettings(hidden=(32, 32), batch_size=64, discount=0.9, learning_rate=3e-3)


def test_log_probability_is_the_density_of_the_squashed_action():
  mean, log_std = jnp.array([0.3]), jnp.array([-0.4])
  noise = jax.random.normal(jax.random.key(0), (200_000, 1))
  actions, log_probs = jax.vmap(lambda each: squash(each, mean, log_std))(noise)
  counts, edges = np.histogram(np.asarray(actions)[:, 0], bins=20, range=(-0.95, 0.95))
  measured = counts / len(noise) / np.diff(edges)
  which = np.digitize(np.asarray(actions)[:, 0], edges) - 1
  inside = (which >= 0) & (which < 20)
  stated = np.bincount(which[inside], np.exp(np.asarray(log_probs))[inside], 20) / counts
  # Bins at the edge hold 0.9% of the samples: 4 deviations are 10% there, 3% in the middle.
  np.testing.assert_allclose(stated[1:], measured[1:], rtol=0.06)
  np.testing.assert_allclose(stated.sum(), measured.sum(), rtol=0.01)


def test_log_probability_stays_finite_at_the_edges():
  action, log_prob = squash(jnp.array([0.3]), jnp.array([40.0]), jnp.array([-5.0]))
  assert float(action[0]) == 1.0
  assert np.isfinite(float(log_prob))


def test_deterministic_policy_ignores_its_key_and_stays_in_range():
  agent = init_agent(jax.random.key(0), 3, 2, SETTINGS)
  policy = make_policy(2, SETTINGS, deterministic=True)
  observation = jax.random.normal(jax.random.key(1), (7, 3)) * 100
  first, second = (policy(agent.actor, observation, jax.random.key(k)) for k in (0, 1))
  np.testing.assert_array_equal(first, second)
  assert first.shape == (7, 2)
  assert float(jnp.abs(first).max()) <= 1.0


def rollout(key, count, discount):
  """A bandit: the reward is highest for the action 0.5."""
  observation = jax.random.normal(key, (count, 3))
  action = jax.random.uniform(jax.random.fold_in(key, 1), (count, 1), minval=-1, maxval=1)
  reward = -jnp.square(action[:, 0] - 0.5)
  return Transition(observation, action, reward, jnp.full(count, discount), observation)


def test_update_moves_everything_and_targets_slowly():
  agent = init_agent(jax.random.key(0), 3, 1, SETTINGS)
  batch = rollout(jax.random.key(1), 64, 1.0)
  after, metrics = jax.jit(make_update(1, SETTINGS))(agent, batch)
  assert int(after.step) == 1
  assert all(np.isfinite(float(metric)) for metric in metrics.values())
  kernel = lambda critic: np.asarray(critic["params"]["Dense_0"]["kernel"])  # noqa: E731
  moved = kernel(after.critic) - kernel(agent.critic)
  np.testing.assert_allclose(
    kernel(after.target_critic) - kernel(agent.target_critic),
    SETTINGS.target_rate * moved,
    atol=1e-7,
  )
  assert float(after.log_temperature) != float(agent.log_temperature)


def test_discount_zero_means_no_bootstrap():
  """With discounts of 0 the critics' target is the reward alone, whatever the targets say."""
  agent = init_agent(jax.random.key(0), 3, 1, SETTINGS)
  wild = agent._replace(target_critic=jax.tree.map(lambda x: x + 100.0, agent.target_critic))
  update = jax.jit(make_update(1, SETTINGS))
  ended = rollout(jax.random.key(1), 64, 0.0)
  losses = [float(update(a, ended)[1]["critic_loss"]) for a in (agent, wild)]
  assert losses[0] == losses[1]
  goes_on = rollout(jax.random.key(1), 64, 1.0)
  assert float(update(wild, goes_on)[1]["critic_loss"]) > 100 * losses[0]


def test_an_update_that_is_not_finite_changes_nothing_and_counts():
  agent = init_agent(jax.random.key(0), 3, 1, SETTINGS)
  update = jax.jit(make_update(1, SETTINGS))
  good = rollout(jax.random.key(1), 64, 0.0)
  bad = good._replace(reward=good.reward.at[5].set(jnp.nan))
  after = agent
  for count in (1, 2):
    after, metrics = update(after, bad)
    assert np.isnan(float(metrics["critic_loss"]))
    assert after.skipped.tolist() == [count, count] and int(after.step) == count
  unchanged = after._replace(step=agent.step, skipped=agent.skipped)
  chex.assert_trees_all_equal(unchanged, agent)
  after, _ = update(after, good)
  assert after.skipped.tolist() == [2, 0]
  assert float(after.log_temperature) != float(agent.log_temperature)


def test_temperature_floor_holds():
  settings = dataclasses.replace(SETTINGS, min_temperature=0.09, target_entropy=-50.0)
  agent = init_agent(jax.random.key(0), 3, 1, settings)
  update = jax.jit(make_update(1, settings))
  for _ in range(60):
    agent, _ = update(agent, rollout(jax.random.key(1), 64, 0.0))
  np.testing.assert_allclose(jnp.exp(agent.log_temperature), 0.09, rtol=1e-5)


@pytest.mark.parametrize("num_actions, entropy", [(8, -4.0), (4, -2.0)])
def test_the_target_entropy_is_minus_half_the_number_of_actions(num_actions, entropy):
  settings = sac_settings(filled(demo.get_config()).policy)
  settings = dataclasses.replace(settings, hidden=(4,), batch_size=4)
  assert settings.target_entropy is None
  agent = init_agent(jax.random.key(0), 3, num_actions, settings)
  action = jax.random.uniform(jax.random.key(1), (4, num_actions), minval=-1, maxval=1)
  batch = rollout(jax.random.key(2), 4, 1.0)._replace(action=action)

  def updated(**changes):
    made = dataclasses.replace(settings, **changes)
    state = jax.jit(make_update(num_actions, made))(agent, batch)[0]
    return jax.tree.leaves(state._replace(key=None))

  for ours, fixed in zip(updated(), updated(target_entropy=entropy), strict=True):
    np.testing.assert_array_equal(ours, fixed)
  # The test would see another one.
  far = updated(target_entropy=100.0)
  assert any((ours != other).any() for ours, other in zip(updated(), far, strict=True))


@pytest.mark.parametrize("count", [1, 4])
def test_many_updates_equal_single_ones(count):
  agent = init_agent(jax.random.key(0), 3, 1, SETTINGS)
  memory = replay.add(replay.init(64, 3, 1), rollout(jax.random.key(1), 64, 0.0))
  many, _ = jax.jit(make_update_many(1, SETTINGS, count))(agent, memory)
  one = jax.jit(make_update_many(1, SETTINGS, 1))
  single = agent
  for _ in range(count):
    single, _ = one(single, memory)
  chex.assert_trees_all_close(many.actor, single.actor, atol=1e-5)


def test_it_solves_a_bandit():
  settings = dataclasses.replace(SETTINGS, min_temperature=0.0, target_entropy=-2.0)
  agent = init_agent(jax.random.key(0), 3, 1, settings)
  memory = replay.add(replay.init(2000, 3, 1), rollout(jax.random.key(1), 2000, 0.0))
  update = jax.jit(make_update_many(1, settings, 50))
  for _ in range(16):
    agent, _ = update(agent, memory)
  policy = make_policy(1, settings, deterministic=True)
  actions = policy(agent.actor, jax.random.normal(jax.random.key(9), (100, 3)), jax.random.key(0))
  assert abs(float(actions.mean()) - 0.5) < 0.1
