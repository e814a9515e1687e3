"""Kinds of critics, against arrays computed by hand, and what they share with the plain one."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.sac import SacSettings, init_agent, make_policy, make_update
from vipjax.sac.agent import normalized
from vipjax.sac.critic import Critics, CriticSettings
from vipjax.types import Transition

BATCH, SIZE, ACTIONS = 6, 3, 2
KINDS = {
  "layer": CriticSettings(),
  "wider": CriticSettings(hidden=(16,)),
  "batch": CriticSettings(norm="batch"),
  "unit": CriticSettings(norm="batch", unit_norm=True),
  "categorical": CriticSettings(bins=11, value_range=5.0),
  "all": CriticSettings(norm="batch", unit_norm=True, bins=11, value_range=5.0),
}


def pairs(seed):
  rng = np.random.default_rng(seed)
  observation = rng.normal(size=(BATCH, SIZE)).astype(np.float32)
  return observation, rng.uniform(-1, 1, (BATCH, ACTIONS)).astype(np.float32)


def transitions(seed=0):
  (observation, action), (following, _) = pairs(seed), pairs(seed + 1)
  reward = np.linspace(-1, 1, BATCH, dtype=np.float32)
  return Transition(observation, action, reward, np.ones(BATCH, np.float32), following)


def made(settings, hidden=(8, 4)):
  critics = Critics(settings, hidden)
  return critics, critics.init(jax.random.key(0), jnp.zeros(SIZE), jnp.zeros(ACTIONS))


def dense(params, name, x):
  return x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name].get("bias", 0.0))


def standardized(x, params, name, epsilon=1e-5):
  scaled = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon)
  return scaled * np.asarray(params[name]["scale"]) + np.asarray(params[name].get("bias", 0.0))


@pytest.mark.parametrize("which", [0, 1])
def test_batch_normalization_takes_both_pairs_as_one_batch(which):
  critics, variables = made(CriticSettings(norm="batch"), hidden=(4,))
  joint = np.concatenate([np.concatenate(pairs(seed), axis=1) for seed in (0, 1)])
  params = jax.tree.map(lambda leaf: leaf[which], variables["params"])
  x = standardized(joint, params, "BatchNorm_0")
  x = dense(params["Mlp_0"], "Dense_0", x)
  x = np.maximum(standardized(x, params["Mlp_0"], "BatchNorm_0"), 0)
  expected = dense(params, "Dense_0", x)[:, 0]

  seen = []

  def target_of(next_q):
    seen.append(next_q)
    return jnp.zeros(BATCH)

  loss, (q, changed) = critics.loss(variables, None, pairs(0), pairs(1), target_of)
  np.testing.assert_allclose(q[which], expected[:BATCH], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(seen[0][which], expected[BATCH:], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(loss, np.square(np.asarray(q)).sum(axis=0).mean(), rtol=1e-5)
  # A hundredth of the way from 0 to the batch's mean.
  mean = changed["batch_stats"]["BatchNorm_0"]["mean"][which]
  np.testing.assert_allclose(mean, 0.01 * joint.mean(axis=0), rtol=1e-4, atol=1e-7)


def test_evaluation_takes_the_running_statistics():
  critics, variables = made(CriticSettings(norm="batch"))
  alone = critics(variables, *(each[:1] for each in pairs(0)))
  np.testing.assert_allclose(alone, critics(variables, *pairs(0))[:, :1], rtol=1e-5)


def test_a_categorical_critic_has_the_mean_and_the_cross_entropy_of_its_bins():
  critics, variables = made(CriticSettings(bins=5, value_range=2.0))
  logits, _ = critics.train(variables, *pairs(0))
  shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
  centres = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
  expected = shares @ centres
  np.testing.assert_allclose(critics(variables, *pairs(0)), expected, rtol=1e-4, atol=1e-6)

  targets = np.array([-2.0, -1.5, 0.0, 0.25, 1.0, 7.0], np.float32)  # the last is cut off at 2
  wanted = np.array([
    [1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0.75, 0.25, 0], [0, 0, 0, 1, 0],
    [0, 0, 0, 0, 1],
  ])  # fmt: skip
  loss, (q, changed) = critics.loss(variables, variables, pairs(0), pairs(1), lambda _: targets)
  np.testing.assert_allclose(loss, -(wanted * np.log(shares)).sum((0, 2)).mean(), rtol=1e-4)
  np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-6)
  assert changed == {}


def test_unit_norm_holds_after_updates():
  sac = SacSettings(hidden=(8, 4), critic=CriticSettings(norm="batch", unit_norm=True))
  agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
  update = jax.jit(make_update(ACTIONS, sac))
  after = agent
  for seed in range(3):
    after, _ = update(after, transitions(seed))
  for state in (agent, after):
    hidden = state.critic["params"]["Mlp_0"]
    for name in ("Dense_0", "Dense_1"):
      norms = np.linalg.norm(hidden[name]["kernel"], axis=1)
      np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
  moved = after.critic["params"]["Mlp_0"]["Dense_0"]["kernel"]
  assert not np.allclose(moved, agent.critic["params"]["Mlp_0"]["Dense_0"]["kernel"])


def test_the_target_critics_value_what_follows_unless_they_are_the_critics_themselves():
  for rate in (0.5, 1.0):
    sac = SacSettings(hidden=(8,), target_rate=rate)
    agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
    wild = agent._replace(target_critic=jax.tree.map(lambda x: x + 10.0, agent.target_critic))
    update = jax.jit(make_update(ACTIONS, sac))
    losses = [float(update(each, transitions())[1]["critic_loss"]) for each in (agent, wild)]
    assert (losses[0] == losses[1]) == (rate == 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_what_a_state_is_worth(kind):
  """Where nothing follows, an action is worth its reward."""
  sac = SacSettings(hidden=(32, 32), learning_rate=3e-3, critic=KINDS[kind])
  agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
  ended = transitions()._replace(discount=np.zeros(BATCH, np.float32))
  update = jax.jit(make_update(ACTIONS, sac))
  for _ in range(400):
    agent, metrics = update(agent, ended)
  critics = Critics(sac.critic, sac.hidden)
  q = critics(agent.critic, ended.observation, ended.action)
  # The running statistics of batch normalization are of present and next pairs together.
  np.testing.assert_allclose(q, np.broadcast_to(ended.reward, q.shape), atol=0.25)
  assert all(np.isfinite(float(each)) for each in metrics.values())


def test_observations_are_normalized_by_what_was_seen():
  sac = SacSettings(hidden=(8,), normalize_observations=True)
  agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
  batch = transitions()
  batch = batch._replace(observation=batch.observation * [1.0, 0.0, 3.0] + [5.0, 2.0, 0.0])
  after, _ = jax.jit(make_update(ACTIONS, sac))(agent, batch)
  statistics = after.actor["statistics"]
  np.testing.assert_allclose(statistics["mean"], batch.observation.mean(axis=0), rtol=1e-5)
  np.testing.assert_allclose(statistics["variance"], batch.observation.var(axis=0), atol=1e-4)
  seen = np.asarray(normalized(after.actor, batch.observation))
  np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-3)
  np.testing.assert_allclose(seen.std(axis=0), [1.0, 0.0, 1.0], atol=1e-2)
  # What never varied and then moves by a centimetre is one deviation away; more is cut off.
  moved = np.array([5.0, 2.01, 0.0], np.float32)
  np.testing.assert_allclose(float(normalized(after.actor, moved)[1]), 1.0, rtol=1e-2)
  assert float(normalized(after.actor, moved + [0, 50, 0])[1]) == 10.0
  # The policy sees the same: a shift of observations and mean changes nothing.
  policy = make_policy(ACTIONS, sac, deterministic=True)
  shifted = {**after.actor, "statistics": {**statistics, "mean": statistics["mean"] + 1.0}}
  acted = [
    policy(*each, jax.random.key(0))
    for each in ((after.actor, batch.observation), (shifted, batch.observation + 1.0))
  ]
  np.testing.assert_allclose(*acted, atol=1e-5)


def test_rewards_are_normalized_by_their_running_root_mean_square():
  """Rewards a thousand times as large teach the same."""
  sac = SacSettings(hidden=(8,), normalize_rewards=True)
  agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
  update = jax.jit(make_update(ACTIONS, sac))
  batch = transitions()
  after, metrics = update(agent, batch)
  large, same = update(agent, batch._replace(reward=batch.reward * 1000))
  np.testing.assert_allclose(
    after.critic["statistics"]["mean_square"], np.square(batch.reward).mean(), rtol=1e-5
  )
  np.testing.assert_allclose(same["critic_loss"], metrics["critic_loss"], rtol=1e-3)
  chex.assert_trees_all_close(large.actor, after.actor, atol=1e-5)


def test_a_reset_starts_anew_and_keeps_the_count():
  sac = SacSettings(hidden=(8,), reset_every=3, normalize_observations=True)
  agent = init_agent(jax.random.key(0), SIZE, ACTIONS, sac)
  update, states = jax.jit(make_update(ACTIONS, sac)), [agent]
  for seed in range(5):
    states.append(update(states[-1], transitions(seed))[0])
  assert int(states[-1].step) == 5
  distance = lambda a, b: float(  # noqa: E731
    jnp.abs(a.actor["params"]["Dense_0"]["kernel"] - b.actor["params"]["Dense_0"]["kernel"]).max()
  )
  steps = [distance(*each) for each in zip(states, states[1:], strict=False)]
  assert steps[3] > 100 * max(steps[0], steps[1], steps[2], steps[4])  # at the fourth update
  # Adam started anew as well, the statistics went on.
  assert int(states[4].actor_opt[0].count) == 1 and int(states[3].actor_opt[0].count) == 3
  moved = states[4].actor["statistics"]["mean"] - states[3].actor["statistics"]["mean"]
  assert 0 < float(jnp.abs(moved).max()) < 1


def test_bad_values_are_one_sentence():
  with pytest.raises(UserError, match=r"config\.policy\.critic\.bins of 0, or at least 2"):
    CriticSettings(bins=1)
  with pytest.raises(UserError, match=r"config\.policy\.critic\.norm 'layer', 'batch' or 'none'"):
    CriticSettings(norm="group")
  with pytest.raises(UserError, match=r"norm 'batch' or 'layer' with unit_norm, .* got 'none'"):
    CriticSettings(norm="none", unit_norm=True)
  with pytest.raises(UserError, match=r"config\.policy\.n_step of at least 1"):
    dataclasses.replace(SacSettings(), n_step=0)
