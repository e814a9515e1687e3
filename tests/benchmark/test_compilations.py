"""Programs are traced and compiled at the first step and never again.

A trace may be compiled twice, for arrays that lie elsewhere: the listener sees both, and what is
compiled outside of `jit` too.
"""

import chex
import jax
import numpy as np
import pytest

from vipjax.benchmark.sac import ACTIONS, ENVS, OBSERVATION, EmptyVectorEnv, NoReward
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step
from vipjax.runtime import parallel
from vipjax.sac import LoopSettings, SacSettings, init_agent, init_loop, train_loop
from vipjax.types import VideoSet


@pytest.fixture(scope="module")
def compilations():
  """A list that grows by one at every compilation of a program."""
  seen = []

  def note(event, seconds, **unused):
    if event == "/jax/core/compile/backend_compile_duration":
      seen.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(note)
  return seen


def test_compilations_are_counted(compilations):
  before = len(compilations)
  program = jax.jit(lambda x: x * 3 + 1)
  program(np.ones(3, np.float32))
  assert len(compilations) == before + 1
  program(np.zeros(3, np.float32))
  assert len(compilations) == before + 1
  program(np.zeros(4, np.float32))
  assert len(compilations) == before + 2


@pytest.mark.parametrize("count", [1, 2])
def test_fine_tuning_compiles_once(compilations, count):
  value = init_value(
    jax.random.key(0), ResNetConfig("resnet18", width=8, embedding_dim=8), Preprocessing(16, 16)
  )
  tcc = TccSettings(num_cycles=2, videos_per_cycle=2, frames=2)
  settings = Settings(batch_size=1, then_resize=0, tcc=tcc)
  devices = jax.devices()[:count]
  videos = VideoSet(np.zeros((2, 5, 20, 20, 3), np.uint8), np.array([5, 4], np.int32))
  chex.clear_trace_counter()  # it tells functions by their source alone
  once = chex.assert_max_traces(make_train_step(value, settings, 2), n=1)
  step = parallel.compile_step(once, devices)
  state = parallel.replicate(init_state(jax.random.key(1), value, settings), devices)
  data = parallel.replicate(videos, devices)
  state, _ = step(state, data)
  compiled = len(compilations)
  for _ in range(3):
    state, metrics = step(state, data)
  assert np.isfinite(float(metrics["loss"])) and int(state.step) == 4
  assert len(compilations) == compiled


def test_the_policys_loop_compiles_nothing_after_its_first_updates(compilations):
  sac = SacSettings(hidden=(8,), batch_size=4)
  agent = init_agent(jax.random.key(0), OBSERVATION, ACTIONS, sac)
  env = EmptyVectorEnv()
  state = init_loop(jax.random.key(1), agent, 100, env)
  loop = LoopSettings(updates_per_step=2, warmup_steps=2 * ENVS)
  loop_steps = train_loop(env, NoReward(), state, sac, loop, seed=0)
  for _ in range(4):  # two of random actions, two of the policy
    loop_step = next(loop_steps)
  compiled = len(compilations)
  for _ in range(200):  # past the end of an episode, and round the replay
    loop_step = next(loop_steps)
  assert int(loop_step.state.agent.step) > 200 and loop_step.metrics
  assert len(compilations) == compiled
