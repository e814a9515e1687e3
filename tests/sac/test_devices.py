"""SAC's update and the reward's embedding on many devices: the numbers of one."""

import dataclasses
import functools

import chex
import jax
import numpy as np
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value, resnet
from vipjax.reward import EmbeddingReward
from vipjax.runtime import parallel
from vipjax.runtime.errors import UserError
from vipjax.sac import SacSettings, init_agent, replay
from vipjax.sac.agent import make_update_many
from vipjax.sac.critic import CriticSettings
from vipjax.types import Transition

SETTINGS = SacSettings(hidden=(16, 16), batch_size=16, discount=0.9, learning_rate=1e-3)
EVERY_OPTION = dataclasses.replace(
  SETTINGS,
  n_step=2,
  reset_every=4,
  normalize_observations=True,
  normalize_rewards=True,
  critic=CriticSettings(norm="batch", unit_norm=True, bins=11, value_range=5.0),
)


def transitions(count):
  rng = np.random.default_rng(0)
  return Transition(
    observation=rng.normal(size=(count, 3)).astype(np.float32),
    action=rng.uniform(-1, 1, (count, 2)).astype(np.float32),
    reward=rng.normal(size=count).astype(np.float32),
    discount=np.ones(count, np.float32),
    next_observation=rng.normal(size=(count, 3)).astype(np.float32),
  )


@functools.cache
def updated(num_devices, settings=SETTINGS):
  """The agent, the replay and the metrics after some transitions and updates."""
  devices = jax.devices()[:num_devices]
  agent = init_agent(jax.random.key(0), 3, 2, settings)
  memory = replay.init(20, 3, 2)
  agent, memory = parallel.replicate((agent, memory), devices)
  add = parallel.compile_step(lambda memory, new: (replay.add(memory, new), {}), devices)
  update = parallel.compile_step(make_update_many(2, settings, 2), devices)
  for _ in range(3):
    memory, _ = add(memory, parallel.replicate(transitions(9), devices))  # past the wrap
    agent, metrics = update(agent, memory)
  parallel.compile_check(devices)((agent, memory), 6)
  return jax.device_get((agent._replace(key=None), memory, metrics))


@pytest.mark.parametrize(
  "num_devices, settings", [(2, SETTINGS), (4, SETTINGS), (8, SETTINGS), (4, EVERY_OPTION)]
)
def test_updates_on_many_devices_are_those_of_one(num_devices, settings):
  one, many = updated(1, settings), updated(num_devices, settings)
  assert int(many[0].step) == 6
  chex.assert_trees_all_close(many, one, rtol=1e-3, atol=1e-5)


def test_a_batch_that_does_not_divide_is_one_sentence():
  devices = jax.devices()[:3]
  agent = init_agent(jax.random.key(0), 3, 2, SETTINGS)
  agent, memory = parallel.replicate((agent, replay.init(20, 3, 2)), devices)
  update = parallel.compile_step(make_update_many(2, SETTINGS, 1), devices)
  with pytest.raises(UserError, match="a batch to divide among 3 devices, got 16; .* 15 and 18"):
    update(agent, memory)


def test_environments_are_embedded_by_all_devices(monkeypatch):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  value = init_value(jax.random.key(0), config, Preprocessing(8, 8))
  frames = np.random.default_rng(0).integers(0, 255, (9, 1, 8, 8, 3), dtype=np.uint8)
  # Nine environments among four devices, and three: fewer than devices.
  one, four = (
    EmbeddingReward(value, [frames[0, 0]], None, [1.0], devices=jax.devices()[:n]) for n in (1, 4)
  )
  for count in (9, 3):
    for a, b in zip(one.potential(frames[:count]), four.potential(frames[:count]), strict=True):
      assert a.shape == b.shape and len(b) == count
      np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)
