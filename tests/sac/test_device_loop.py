"""The loop in one program, on points that are pushed along a line."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.envs.warp import WarpStep
from vipjax.sac import LoopSettings, SacSettings
from vipjax.sac.agent import init_agent
from vipjax.sac.device_loop import compile_evaluation, init_device_loop, train_device_loop

SAC = SacSettings(hidden=(8,), batch_size=4, discount=0.9)
HORIZON = 3


class Line:
  """N points; an action moves each by itself. Success is beyond .5; frames show tenths from -5."""

  observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
  action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
  horizon = HORIZON

  def __init__(self, num_envs):
    self.num_envs = num_envs

  def reset(self, key):
    key, own = jax.random.split(key)
    place = jax.random.uniform(own, (self.num_envs,), minval=-0.2, maxval=0.2)
    steps = jnp.zeros(self.num_envs, jnp.int32)
    return (key, place, steps), self.seen(place, steps), self.drawn(place)

  def step(self, state, action, draw=True):
    key, place, steps = state
    place, steps = place + action[:, 0], steps + 1
    truncated = steps >= self.horizon
    key, own = jax.random.split(key)
    fresh = jax.random.uniform(own, (self.num_envs,), minval=-0.2, maxval=0.2)
    after, counted = jnp.where(truncated, fresh, place), jnp.where(truncated, 0, steps)
    frames = self.drawn(place) if draw else jnp.zeros_like(self.drawn(place))
    told = WarpStep(
      self.seen(place, steps), frames, jnp.stack([place, place], -1), truncated,
      jnp.zeros_like(truncated), place > 0.5, self.seen(after, counted), self.drawn(after),
    )  # fmt: skip
    return (key, after, counted), told

  def seen(self, place, steps):
    return jnp.stack([place, steps.astype(jnp.float32)], axis=-1)

  def drawn(self, place):
    grey = jnp.round(10 * (place + 5)).astype(jnp.uint8)
    return jnp.broadcast_to(grey[:, None, None, None, None], (self.num_envs, 1, 1, 1, 3))


class Places:
  """The potential is what the picture shows, in tenths; it pays the change."""

  state_shape = ()
  common = jnp.float32(1.0)

  def __init__(self, telescopes=True):
    self.telescopes = telescopes

  def in_program(self):
    def state(common, frames):
      grey = common * frames[:, 0, 0, 0, 0].astype(jnp.float32)
      return grey, jnp.stack([100 - grey], axis=-1)

    return state, lambda common, before, after: after - before

  def gain(self, first, last):
    return last - first


def started(num_envs=2, capacity=64):
  env, reward = Line(num_envs), Places()
  agent = init_agent(jax.random.key(0), 2, 1, SAC)
  keys = jax.random.key(1), jax.random.key(2)
  return env, reward, init_device_loop(keys[0], agent, capacity, env, reward, keys[1])


def steps_of(count, warmup=4, steps=1, state=None):
  """The LoopSteps of `count` calls, with copies of states, whose buffers are donated."""
  env, reward, first = started()
  state = first if state is None else state
  loop = LoopSettings(updates_per_step=2, warmup_steps=warmup)
  running = train_device_loop(env, reward, state, SAC, loop, steps)
  found = []
  for _ in range(count):
    step = next(running)
    found.append(step._replace(state=jax.tree.map(jnp.array, step.state)))
  return found


def assert_same(one, other):
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_what_the_replay_holds():
  steps = steps_of(4, warmup=100)
  kept = jax.tree.map(np.asarray, steps[-1].state.replay.transitions)
  assert int(steps[-1].state.replay.size) == 8 == int(steps[-1].state.env_steps)
  rows = slice(0, 8, 2)  # of the first environment
  observation, following = kept.observation[rows], kept.next_observation[rows]
  np.testing.assert_allclose(following[:, 0], observation[:, 0] + kept.action[rows, 0], atol=1e-6)
  np.testing.assert_array_equal(observation[:, 1], [0, 1, 2, 0])
  np.testing.assert_array_equal(following[:, 1], [1, 2, 3, 1])
  # The last frame of an episode pays its step, and the first of the next one is not compared to it.
  shown = np.round(10 * (observation[:, 0] + 5)), np.round(10 * (following[:, 0] + 5))
  np.testing.assert_array_equal(kept.reward[rows], shown[1] - shown[0])
  np.testing.assert_array_equal(kept.discount[:8], np.ones(8))
  assert np.abs(kept.action[:8]).max() <= 1 and kept.action[:8].std() > 0.2


def test_it_tells_of_episodes_that_end():
  steps = steps_of(HORIZON + 1, warmup=100)
  assert [len(step.episodes) for step in steps] == [0, 0, 2, 0]
  kept = jax.tree.map(np.asarray, steps[-1].state.replay.transitions)
  for env, episode in enumerate(steps[2].episodes):
    rows = slice(env, 2 * HORIZON, 2)
    assert episode["return"] == pytest.approx(kept.reward[rows].sum())
    assert episode["success"] == (kept.next_observation[rows, 0] > 0.5).any()
    last = np.round(10 * (kept.next_observation[2 * HORIZON - 2 + env, 0] + 5))
    assert episode["distance"] == pytest.approx(100 - last)
  np.testing.assert_array_equal(steps[2].state.returns, [0, 0])
  assert not steps[2].state.succeeded.any()


def test_updates_begin_after_the_warm_up():
  steps = steps_of(4, warmup=4)
  assert [int(step.state.agent.step) for step in steps] == [0, 0, 2, 4]
  assert [bool(step.metrics) for step in steps] == [False, False, True, True]
  assert np.isfinite(steps[-1].metrics["critic_loss"])


def test_many_steps_in_a_call_are_as_many_calls():
  one_by_one, at_once = steps_of(6), steps_of(2, steps=3)
  assert_same(one_by_one[-1].state, at_once[-1].state)
  told = [episode for step in one_by_one for episode in step.episodes]
  assert told == [episode for step in at_once for episode in step.episodes]
  assert_same(one_by_one[-1].metrics, at_once[-1].metrics)


def test_it_goes_on_from_a_state():
  whole = steps_of(6)
  rest = steps_of(3, state=jax.tree.map(jnp.array, whole[2].state))
  assert_same(whole[-1].state, rest[-1].state)


@pytest.mark.parametrize("telescopes", [True, False])
def test_evaluation(telescopes):
  env = Line(4)
  evaluate = compile_evaluation(env, Places(telescopes), SAC)
  agent = init_agent(jax.random.key(0), 2, 1, SAC)
  # Whatever it sees, it goes right as fast as it can.
  params = jax.tree.map(jnp.zeros_like, agent.actor["params"])
  actor = {"params": {**params, "Dense_0": {**params["Dense_0"], "bias": jnp.array([10.0])}}}
  found = evaluate(actor, jax.random.key(3), episodes=6)
  assert found["success"] == found["final_success"] == 1.0
  assert found["steps_to_success"] == 1.0
  assert found["return"] == pytest.approx(30.0)
  assert 100 - 82 <= found["distance"] <= 100 - 78
