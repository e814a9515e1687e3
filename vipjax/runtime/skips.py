"""Updates that are not finite: they are counted, and change nothing."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

State = TypeVar("State", bound=tuple)


def keep_finite(finite: jax.Array, new: State, old: State) -> State:
  """The state after an update; jittable.

  Args:
    finite: bool scalar, whether all of the update's losses and gradients are.
    new: what the update made of the state; a NamedTuple with int32 `step` and int32 [2] `skipped`,
      the updates that were not finite: in all, and in a row up to now.
    old: the state before.

  Returns:
    `new` or, where not finite, `old`; with one step more, and `skipped` as it is now.
  """
  kept = jax.tree.map(lambda new, old: new if new is old else jnp.where(finite, new, old), new, old)
  in_all, in_a_row = old.skipped
  skipped = jnp.where(finite, jnp.stack([in_all, 0]), jnp.stack([in_all + 1, in_a_row + 1]))
  return kept._replace(step=old.step + 1, skipped=skipped)
