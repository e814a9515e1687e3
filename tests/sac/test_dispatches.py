"""How many programs and transfers a step of the learning loop takes, merged and not."""

from __future__ import annotations

import collections

import jax
import numpy as np
import pytest

from vipjax.benchmark.sac import ENVS, EmptyVectorEnv
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.encoder.progress import PROGRESS
from vipjax.envs import Seen, Step
from vipjax.reward import EmbeddingReward, RewardSettings
from vipjax.reward.measured import DenseReward
from vipjax.sac import LoopSettings, SacSettings, init_agent, init_loop, train_loop
from vipjax.sac.seeds import Agents

STEPS = 3
SAC = SacSettings(hidden=(8,), batch_size=8)


class PictureVectorEnv(EmptyVectorEnv):
  """Another picture and observation at each step, in two channels."""

  def __init__(self, num_envs=ENVS):
    super().__init__()
    self.num_envs, self._rng = num_envs, np.random.default_rng(0)

  def _after(self):
    observation = self._rng.normal(size=(self.num_envs, 51)).astype(np.float32)
    frames = self._rng.integers(0, 256, (self.num_envs, 2, 16, 16, 3), np.uint8)
    measured = np.zeros((self.num_envs, 2), np.float32), np.ones(self.num_envs, np.float32)
    return observation, Seen(frames, *measured)

  def reset(self, seed):
    return self._after()

  def step_wait(self):
    ended = np.full(self.num_envs, self._steps % 8 == 0)
    observation, seen = self._after()
    after = observation, *seen
    return Step(*after, ended, ~ended, *after)


@pytest.fixture(scope="module")
def value(one_block):
  value = init_value(
    jax.random.key(0), ResNetConfig("resnet18", width=8, embedding_dim=8), Preprocessing(16, 16)
  )
  head = {"kernel": np.random.default_rng(0).normal(size=(16, 20)), "bias": np.zeros(20)}
  head = {name: array.astype(np.float32) for name, array in head.items()}
  return value.replace(variables={**value.variables, PROGRESS: head})


def reward_of(value, **settings):
  goals = np.random.default_rng(1).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
  settings = RewardSettings(**{"scale": 3.0, **settings})
  return EmbeddingReward(value, list(goals[0]), list(goals[1]), [1.0, 2.0], settings)


def loop(reward, merged, seeds=1):
  env, agents = PictureVectorEnv(seeds * 3), Agents(seeds)
  keys = [jax.random.key(seed) for seed in range(seeds)]
  agent = agents.stack([init_agent(key, 51, 8, SAC) for key in keys])
  shape = getattr(reward, "state_shape", ())
  state = init_loop(agents.stack(keys), agent, 12, env, shape)
  settings = LoopSettings(updates_per_step=2, warmup_steps=3)
  return train_loop(env, reward, state, SAC, settings, seed=0, merged=merged)


def programs_of_steps(loop_steps, folder, steps=STEPS):
  """The names of the compiled programs that run, and how often in a step.

  Only with more steps do they meet the end of an episode.
  """
  for _ in range(3):
    next(loop_steps)
  with jax.profiler.trace(str(folder)):
    for _ in range(steps):
      next(loop_steps)
  (file,) = folder.rglob("*.xplane.pb")
  # A call is in the trace within itself once more, where it is not quick.
  calls, ends = collections.Counter(), collections.defaultdict(float)
  for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
    for line in plane.lines:
      for event in sorted(line.events, key=lambda each: (each.start_ns, -each.duration_ns)):
        if event.name.startswith("PjitFunction(") and event.start_ns >= ends[event.name]:
          calls[event.name.removeprefix("PjitFunction(").rstrip(")")] += 1
          ends[event.name] = event.start_ns + event.duration_ns
  return {name: count / steps for name, count in calls.items()}


@pytest.mark.parametrize(
  ("merged", "programs"),
  [
    (None, {"act", "compute", "insert", "update_many"}),  # as on any CPU
    (True, {"act", "embed_and_insert", "update_many"}),
  ],
)
def test_a_step_takes_so_many_programs(value, tmp_path, merged, programs):
  found = programs_of_steps(loop(reward_of(value), merged), tmp_path)
  assert found == dict.fromkeys(programs, 1.0)


def test_a_new_episode_needs_no_further_program(value, tmp_path):
  found = programs_of_steps(loop(reward_of(value), True), tmp_path, 2 * STEPS)
  once_more = (2 * STEPS + 1) / (2 * STEPS)
  assert found == {"act": 1.0, "embed_and_insert": once_more, "update_many": 1.0}


def test_frames_go_to_the_device_once_and_as_they_are(value, monkeypatch):
  reward, given = reward_of(value), []
  compute = reward._compute
  monkeypatch.setattr(
    reward, "_compute", lambda common, frames: given.append(frames) or compute(common, frames)
  )
  loop_steps = loop(reward, None)
  steps = [next(loop_steps) for _ in range(9)]
  ends = sum(step.step.truncated.any() for step in steps)
  assert len(given) == 1 + len(steps) + ends  # the first states, each step, each new beginning
  assert all(frames.dtype == np.uint8 for frames in given)
  assert any(np.shares_memory(frames, steps[2].step.frames) for frames in given)


@pytest.mark.parametrize("settings", [{}, {"form": "discounted"}, {"form": "progress"}])
@pytest.mark.parametrize("seeds", [1, 2])
def test_one_program_pays_and_stores_what_two_do(value, settings, seeds):
  reward = reward_of(value, **settings)
  apart, at_once = (loop(reward, merged, seeds) for merged in (False, True))
  for _ in range(9):  # over the end of an episode and past the replay's end
    one, other = next(apart), next(at_once)
    np.testing.assert_allclose(other.state.potential, one.state.potential, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.state.returns, one.state.returns, rtol=1e-4, atol=1e-5)
    for theirs, ours in zip(
      other.state.replay.transitions, one.state.replay.transitions, strict=True
    ):
      np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)
    assert [set(episode) for episode in other.episodes] == [set(each) for each in one.episodes]
  assert np.abs(one.state.replay.transitions.reward).min() > 0


def test_other_rewards_are_not_merged():
  found = next(loop(DenseReward(), True))
  np.testing.assert_array_equal(found.state.replay.transitions.reward[:3], np.ones(3))
