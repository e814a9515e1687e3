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


def add(replay: Replay, batch: Transition, keep: jax.Array | None = None) -> Replay:
  """Puts N transitions (leaves [N, ...]) in, over the oldest where the buffer is full.

  Args:
    replay: the buffer.
    batch: the transitions.
    keep: bool scalar, False leaves the buffer as it is; None is True.

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

  added = count
  if keep is not None:
    rows = jnp.where(keep, rows, capacity)  # beyond the end, where nothing is written
    added = jnp.where(keep, count, 0)
  transitions = jax.tree.map(put, replay.transitions, batch)
  return Replay(
    transitions, (replay.position + added) % capacity, jnp.minimum(replay.size + added, capacity)
  )


def sample(
  key: jax.Array,
  replay: Replay,
  count: int,
  n_step: int = 1,
  discount: float = 1.0,
  num_envs: int = 1,
) -> Transition:
  """Draws transitions uniformly with replacement; the buffer must not be empty.

  Args:
    key: random key.
    replay: where to draw from.
    count: how many to draw.
    n_step: how many steps a transition spans at most, at least 1. It ends with its episode, and
      where the buffer ends: it goes on as long as the row `num_envs` further starts where it got.
    discount: of a step; the reward of k steps is the sum of discounted ones, and the transition's
      own discount has a factor of discount^(k - 1).
    num_envs: transitions of a step.
  """
  rows = jax.random.randint(key, (count,), 0, replay.size)
  kept = replay.transitions
  first = jax.tree.map(lambda leaf: leaf[rows], kept)
  capacity, reached, goes_on = kept.reward.shape[0], first, jnp.ones(count, bool)
  for _ in range(1, n_step):
    rows = (rows + num_envs) % capacity
    following = jax.tree.map(lambda leaf: leaf[rows], kept)  # noqa: B023
    same = (following.observation == reached.next_observation).all(axis=1)
    goes_on = goes_on & same & (reached.discount > 0)
    factor = discount * reached.discount
    further = following._replace(
      reward=reached.reward + factor * following.reward, discount=factor * following.discount
    )
    reached = jax.tree.map(
      lambda new, old: jnp.where(goes_on.reshape(-1, *[1] * (new.ndim - 1)), new, old),  # noqa: B023
      further,
      reached,
    )
  return reached._replace(observation=first.observation, action=first.action)
