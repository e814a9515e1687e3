"""The ring buffer: the wrap, the newest item, full capacity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.sac import replay as replay_lib
from vipjax.types import Transition


def batch(rewards):
  rewards = jnp.asarray(rewards, jnp.float32)
  n = rewards.shape[0]
  rows = jnp.broadcast_to(rewards[:, None], (n, 2))
  return Transition(rows, rows, rewards, jnp.ones(n), rows + 0.5)


def test_it_fills_wraps_and_keeps_the_newest():
  add = jax.jit(replay_lib.add)
  replay = replay_lib.init(5, 2, 2)
  replay = add(replay, batch([0, 1, 2]))
  assert (int(replay.size), int(replay.position)) == (3, 3)
  replay = add(replay, batch([3, 4, 5]))
  assert (int(replay.size), int(replay.position)) == (5, 1)
  np.testing.assert_array_equal(replay.transitions.reward, [5, 1, 2, 3, 4])
  # All leaves of a row belong together, also at the wrap.
  np.testing.assert_array_equal(replay.transitions.observation[:, 0], [5, 1, 2, 3, 4])
  np.testing.assert_array_equal(
    replay.transitions.next_observation[:, 1], [5.5, 1.5, 2.5, 3.5, 4.5]
  )


def test_sampling_reaches_every_item_and_nothing_else():
  replay = replay_lib.add(replay_lib.init(8, 2, 2), batch([1, 2, 3]))
  drawn = replay_lib.sample(jax.random.key(0), replay, 500)
  assert set(np.unique(drawn.reward)) == {1.0, 2.0, 3.0}
  np.testing.assert_array_equal(drawn.observation[:, 0], drawn.reward)
  counts = np.bincount(np.asarray(drawn.reward, int))[1:]
  assert counts.min() > 120  # a third of 500 each, more than 4 deviations below


def test_jit_and_eager_agree():
  replay = replay_lib.add(replay_lib.init(4, 2, 2), batch([1, 2, 3]))
  key = jax.random.key(3)
  eager = replay_lib.sample(key, replay, 16)
  jitted = jax.jit(replay_lib.sample, static_argnums=2)(key, replay, 16)
  np.testing.assert_array_equal(eager.reward, jitted.reward)


def test_too_small_a_capacity_is_one_sentence():
  with pytest.raises(UserError, match="at least 3, .* got 2"):
    replay_lib.add(replay_lib.init(2, 2, 2), batch([1, 2, 3]))
  with pytest.raises(UserError, match="at least 1, got 0"):
    replay_lib.init(0, 2, 2)


def chain(values, ended, num_envs):
  """A buffer of the steps of several environments whose states are numbers that go up by one.

  `ended` names the (step, environment) after which another episode begins, 100 higher.
  """
  replay = replay_lib.init(16, 1, 1)
  states = np.asarray(values, np.float32)
  for step in range(4):
    after = states + 1
    rows = jnp.asarray(states)[:, None]
    one = Transition(rows, rows, states * 1.0, np.ones(num_envs), jnp.asarray(after)[:, None])
    replay = replay_lib.add(replay, one)
    states = np.where([(step, env) in ended for env in range(num_envs)], after + 100, after)
  return replay


def test_n_steps_are_summed_up_to_the_end_of_an_episode_or_of_what_is_there():
  replay = chain([0.0, 1000.0], {(1, 1)}, num_envs=2)
  drawn = replay_lib.sample(jax.random.key(0), replay, 400, n_step=3, discount=0.5, num_envs=2)
  found = {
    float(s): (float(r), float(d), float(n))
    for s, r, d, n in zip(
      drawn.observation[:, 0], drawn.reward, drawn.discount, drawn.next_observation[:, 0],
      strict=True,
    )
  }  # fmt: skip
  np.testing.assert_array_equal(drawn.action, drawn.observation)
  assert found == {
    0.0: (0 + 0.5 * 1 + 0.25 * 2, 0.25, 3.0),
    1.0: (1 + 0.5 * 2 + 0.25 * 3, 0.25, 4.0),
    2.0: (2 + 0.5 * 3, 0.5, 4.0),  # the buffer ends
    3.0: (3.0, 1.0, 4.0),
    1000.0: (1000 + 0.5 * 1001, 0.5, 1002.0),  # the episode ends
    1001.0: (1001.0, 1.0, 1002.0),
    1102.0: (1102 + 0.5 * 1103, 0.5, 1104.0),
    1103.0: (1103.0, 1.0, 1104.0),
  }


def test_n_steps_stop_at_a_termination_and_go_on_over_the_wrap():
  replay = replay_lib.init(3, 2, 2)
  for value in range(5):  # rows hold 3, 4, 2
    replay = replay_lib.add(
      replay, batch([value])._replace(next_observation=jnp.full((1, 2), value + 1.0))
    )
  drawn = replay_lib.sample(jax.random.key(0), replay, 100, n_step=4, discount=1.0)
  found = dict(zip(np.asarray(drawn.observation[:, 0]), np.asarray(drawn.reward), strict=True))
  assert found == {2.0: 9.0, 3.0: 7.0, 4.0: 4.0}
  ended = replay._replace(
    transitions=replay.transitions._replace(discount=jnp.array([0.0, 1.0, 1.0]))
  )
  drawn = replay_lib.sample(jax.random.key(0), ended, 100, n_step=4, discount=1.0)
  found = dict(zip(np.asarray(drawn.observation[:, 0]), np.asarray(drawn.reward), strict=True))
  assert found == {2.0: 5.0, 3.0: 3.0, 4.0: 4.0}


def test_what_is_not_to_be_kept_changes_nothing():
  add = jax.jit(replay_lib.add)
  replay = add(replay_lib.init(3, 2, 2), batch([5, 6]), True)
  assert (int(replay.position), int(replay.size)) == (2, 2)
  assert np.asarray(replay.transitions.reward).tolist() == [5.0, 6.0, 0.0]
  same = add(replay, batch([7, 8]), False)
  for one, other in zip(jax.tree.leaves(same), jax.tree.leaves(replay), strict=True):
    np.testing.assert_array_equal(one, other)
