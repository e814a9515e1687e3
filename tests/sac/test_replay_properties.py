"""The ring buffer against a list, whatever is put into it."""

import functools

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vipjax.sac import replay as replay_lib
from vipjax.types import Transition

CAPACITY = 7


@functools.cache
def add(count):
  """Compiled for so many transitions at a time."""
  return jax.jit(replay_lib.add)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 7]), max_size=8), st.integers(0, 99))
def test_it_holds_the_newest_in_order(counts, seed):
  replay, everything = replay_lib.init(CAPACITY, 1, 1), []
  for count in counts:
    new = np.arange(len(everything), len(everything) + count, dtype=np.float32)
    everything += new.tolist()
    rows = new[:, None]
    replay = add(count)(replay, Transition(rows, rows, new, np.ones_like(new), rows + 0.5))
  kept = np.array(everything[-CAPACITY:], np.float32)
  assert int(replay.size) == len(kept)
  assert int(replay.position) == len(everything) % CAPACITY
  # From the oldest on, wherever it lies.
  first = int(replay.position) if len(everything) >= CAPACITY else 0
  order = (first + np.arange(len(kept))) % CAPACITY
  rows = jax.device_get(replay.transitions)
  np.testing.assert_array_equal(rows.reward[order], kept)
  np.testing.assert_array_equal(rows.observation[order, 0], kept)
  np.testing.assert_array_equal(rows.next_observation[order, 0], kept + 0.5)
  if len(kept):
    drawn = np.asarray(replay_lib.sample(jax.random.key(seed), replay, 16).reward)
    assert set(drawn) <= set(kept)
