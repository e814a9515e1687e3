"""Noise that is correlated over time: held, of several octaves, and always the same per step."""

import jax
import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.sac import exploration
from vipjax.sac.agent import SacSettings, compile_acting, compile_policy, init_agent
from vipjax.sac.exploration import ExplorationSettings

KEY = jax.random.key(7)
ENVS, ACTIONS = 3, 2


def drawn(settings, steps, draw=exploration.normal):
  """[steps, ENVS, ACTIONS], the noise of consecutive actions."""
  one = jax.jit(lambda env_steps: draw(KEY, env_steps, (ENVS, ACTIONS), settings))
  return np.stack([one(i * ENVS) for i in range(steps)])


def test_white_noise_is_the_key_of_the_step_alone():
  found = drawn(ExplorationSettings(), 3)
  for i in range(3):
    key = jax.random.fold_in(KEY, i * ENVS)
    np.testing.assert_allclose(found[i], jax.random.normal(key, (ENVS, ACTIONS)), rtol=1e-6)


@pytest.mark.parametrize("draw", [exploration.normal, exploration.uniform])
def test_noise_is_held(draw):
  found = drawn(ExplorationSettings(hold=4), 12, draw)
  blocks = found.reshape(3, 4, ENVS, ACTIONS)
  np.testing.assert_array_equal(blocks, np.broadcast_to(blocks[:, :1], blocks.shape))
  assert (blocks[0, 0] != blocks[1, 0]).all() and (blocks[1, 0] != blocks[2, 0]).all()


def test_octaves_are_sums_of_noises_held_twice_as_long():
  """Of three octaves two neighbours share none, one or two, in a pattern of four."""
  found = drawn(ExplorationSettings(octaves=3), 4000)
  assert abs(found.mean()) < 0.05
  np.testing.assert_allclose(found.var(), 1.0, atol=0.06)
  # Shares of the variance that neighbours have in common: held 1, 2 and 4 actions.
  pairs = (found[:-1] * found[1:]).mean(axis=(1, 2))
  within_two, within_four, across = (pairs[start::4].mean() for start in (0, 1, 3))
  np.testing.assert_allclose([within_two, within_four, across], [2 / 3, 1 / 3, 0], atol=0.06)


def test_mixed_environments_have_one_octave_more_each():
  found = drawn(ExplorationSettings(octaves=2, mixed=True), 4000)
  np.testing.assert_allclose(found.var(axis=(0, 2)), 1.0, atol=0.06)
  neighbours = (found[:-1:2] * found[1::2]).mean(axis=(0, 2))
  np.testing.assert_allclose(neighbours, [0, 1 / 2, 0], atol=0.06)
  white = drawn(ExplorationSettings(), 10)
  np.testing.assert_allclose(found[:10, 0], white[:, 0], rtol=1e-6)
  pink = drawn(ExplorationSettings(octaves=2), 10)
  np.testing.assert_allclose(found[:10, 1], pink[:, 1], rtol=1e-6)


def test_warm_up_actions_of_octaves_are_uniform():
  found = drawn(ExplorationSettings(octaves=3), 3000, exploration.uniform)
  counts = np.histogram(found, bins=4, range=(-1, 1))[0] / found.size
  np.testing.assert_allclose(counts, 0.25, atol=0.03)
  assert np.abs(found).max() <= 1


def test_acting_is_the_policy_with_this_noise():
  sac = SacSettings(hidden=(8,))
  actor = init_agent(jax.random.key(0), 5, ACTIONS, sac).actor
  observation = np.ones((ENVS, 5), np.float32)
  act = compile_acting(ACTIONS, sac, ExplorationSettings())
  plain = compile_policy(ACTIONS, sac, deterministic=False)
  for step in (0, 6):
    expected = plain(actor, observation, jax.random.fold_in(KEY, step))
    np.testing.assert_allclose(act(actor, observation, KEY, step), expected, rtol=1e-6)
  held = compile_acting(ACTIONS, sac, ExplorationSettings(hold=2))
  np.testing.assert_array_equal(*(held(actor, observation, KEY, step) for step in (0, ENVS)))


def test_bad_values_are_one_sentence():
  with pytest.raises(UserError, match=r"config\.policy\.exploration\.octaves of at least 1"):
    ExplorationSettings(octaves=0)
