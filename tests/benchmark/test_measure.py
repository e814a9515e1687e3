"""Turns, medians and ratios, by hand."""

import jax.numpy as jnp
import pytest

from vipjax.benchmark import measure
from vipjax.runtime.errors import UserError


def test_spread_is_median_quartiles_and_range():
  assert measure.spread([5, 1, 2, 4, 3]) == measure.Spread(3.0, 2.0, 4.0, 1.0, 5.0)


def test_ratios_are_taken_turn_by_turn():
  # Both slow down in the second turn: the ratio is 2 in each, that of the medians would not be.
  assert measure.ratios([2, 8, 6], [1, 4, 3]) == measure.Spread(2.0, 2.0, 2.0, 2.0, 2.0)
  assert measure.ratios([1, 9], [1, 3]).median == 2.0


def test_contenders_take_turns_and_the_order_turns_round():
  calls = []

  def contender(name, seconds):
    def run():
      calls.append(name)
      return seconds + len(calls)

    return run

  seconds = measure.interleave(
    {"a": contender("a", 0.0), "b": contender("b", 100.0)}, repeats=3, warmup=1
  )
  assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
  # Position i of both belongs to turn i; the warm-up is in neither.
  assert seconds == {"a": [3.0, 6.0, 7.0], "b": [104.0, 105.0, 108.0]}


def test_no_repeats_is_one_sentence():
  with pytest.raises(UserError, match="at least 1 repeat, got 0"):
    measure.interleave({}, 0)


def test_stateful_hands_its_state_on():
  states = []

  def step(state, increment):
    states.append(int(state))
    return state + increment, None

  contender = measure.stateful(step, jnp.int32(1), 10)
  assert contender() > 0 and contender() > 0
  assert states == [1, 11]
