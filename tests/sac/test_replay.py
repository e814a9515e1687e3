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
