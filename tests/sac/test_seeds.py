"""Several agents in one program: each does what it does alone, on one device and on many."""

import functools

import chex
import jax
import numpy as np
import pytest

from tests.sac.test_devices import EVERY_OPTION, SETTINGS, transitions
from vipjax.runtime import parallel
from vipjax.sac import init_agent, make_policy, replay
from vipjax.sac.agent import make_update_many
from vipjax.sac.seeds import Agents


@functools.cache
def compiled(count, num_devices, settings):
  """Adding to the replay and two updates, of so many agents."""
  agents, devices = Agents(count), jax.devices()[:num_devices]
  add = agents.each(lambda memory, new: (replay.add(memory, new), {}))
  update = agents.each_update(make_update_many(2, settings, 2))
  return parallel.compile_step(add, devices), parallel.compile_step(update, devices)


def learned(keys, rows, num_devices, settings):
  """The agents of these keys and their replays after six updates on transitions of their own."""
  agents, devices = Agents(len(keys)), jax.devices()[:num_devices]
  agent = agents.stack([init_agent(key, 3, 2, settings) for key in keys])
  memory = agents.stack([replay.init(20, 3, 2)] * len(keys))
  agent, memory = parallel.replicate((agent, memory), devices)
  add, update = compiled(len(keys), num_devices, settings)
  for _ in range(3):
    memory, _ = add(memory, parallel.replicate(agents.by_agent(rows), devices))
    agent, metrics = update(agent, memory)
  parallel.compile_check(devices)((agent, memory), 6)
  return agents.unstack(jax.device_get((agent._replace(key=None), memory, metrics)))


@pytest.mark.parametrize("num_devices, settings", [(1, EVERY_OPTION), (2, SETTINGS)])
def test_each_learns_what_it_learns_alone(num_devices, settings):
  keys, rows = [jax.random.key(seed) for seed in (5, 6)], transitions(24)
  together = learned(keys, rows, num_devices, settings)
  for index, key in enumerate(keys):
    own = jax.tree.map(lambda array, at=index: array[12 * at : 12 * at + 12], rows)
    (alone,) = learned([key], own, 1, settings)
    assert int(together[index][0].step) == int(alone[0].step) == 6
    chex.assert_trees_all_close(together[index], alone, rtol=1e-3, atol=1e-5)
  actors = [jax.tree.leaves(agent.actor)[1] for agent, _, _ in together]
  assert not np.allclose(actors[0], actors[1], atol=1e-2)


@pytest.mark.parametrize("deterministic", [False, True])
def test_each_acts_as_it_acts_alone(deterministic):
  keys = [jax.random.key(seed) for seed in (1, 2)]
  actors = [init_agent(key, 3, 2, SETTINGS).actor for key in keys]
  observation = transitions(8).observation
  agents = Agents(2)
  policy = agents.compile_policy(2, SETTINGS, deterministic)
  actions = policy(agents.stack(actors), agents.by_agent(observation), agents.stack(keys))
  one = make_policy(2, SETTINGS, deterministic)
  alone = [one(actors[i], observation[4 * i : 4 * i + 4], keys[i]) for i in range(2)]
  np.testing.assert_allclose(actions, np.stack(alone), rtol=1e-5, atol=1e-6)
  assert agents.compile_policy(2, SETTINGS, deterministic) is policy
