"""A ring buffer of transitions on the device; adding and sampling are pure and jittable."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from vipjax.runtime.errors import UserError
from vipjax.types import Transition


class Replay(NamedTuple):
  """Transitions kept so far (a pytree).

  Attributes:
    transitions: leaves [capacity, ...].
    position: int32 scalar, where the next transition goes.
    size: int32 scalar, how many are kept, at most the capacity.
  """

  transitions: Transition
  position: jax.Array
  size: jax.Array


def init(capacity: int, observation_size: int, num_actions: int) -> Replay:
  """An empty buffer for float32 observations [O] and actions [A]."""
  if capacity < 1:
    raise UserError(f"expected a replay capacity of at least 1, got {capacity}; raise it.")
  shapes = Transition(
    observation=(observation_size,),
    action=(num_actions,),
    reward=(),
    discount=(),
    next_observation=(observation_size,),
  )
  transitions = Transition(*(jnp.zeros((capacity, *shape), jnp.float32) for shape in shapes))
  return Replay(transitions, jnp.int32(0), jnp.int32(0))


def add(replay: Replay, batch: Transition) -> Replay:
  """Puts N transitions (leaves [N, ...]) in, over the oldest where the buffer is full.

  Raises:
    UserError: N exceeds the capacity.
  """
  capacity = replay.transitions.reward.shape[0]
  count = batch.reward.shape[0]
  if count > capacity:
    raise UserError(
      f"expected a replay capacity of at least {count}, the transitions of one step, got "
      f"{capacity}; raise it."
    )
  rows = (replay.position + jnp.arange(count)) % capacity

  def put(kept, new):
    chex.assert_shape(new, (count, *kept.shape[1:]))  # others would be broadcast
    return kept.at[rows].set(new.astype(kept.dtype))

  transitions = jax.tree.map(put, replay.transitions, batch)
  return Replay(
    transitions,
    (replay.position + count) % capacity,
    jnp.minimum(replay.size + count, capacity),
  )


def sample(key: jax.Array, replay: Replay, count: int) -> Transition:
  """`count` transitions drawn uniformly with replacement; the buffer must not be empty."""
  rows = jax.random.randint(key, (count,), 0, replay.size)
  return jax.tree.map(lambda kept: kept[rows], replay.transitions)
