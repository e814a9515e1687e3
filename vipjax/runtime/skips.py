"""Updates that are not finite: they count, and change nothing."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

State = TypeVar("State", bound=tuple)


def keep_finite(finite: jax.Array, new: State, old: State) -> State:
  """The state after an update: `new`, or where `finite` (bool scalar) is false `old`; jittable.

  Both are NamedTuples with an int32 `step`, which counts on, and an int32 [2] `skipped`: how many
  updates were not finite, in all, and in a row up to now.
  """
  kept = jax.tree.map(lambda n, o: n if n is o else jnp.where(finite, n, o), new, old)
  in_all, in_a_row = old.skipped
  skipped = jnp.where(finite, jnp.stack([in_all, 0]), jnp.stack([in_all + 1, in_a_row + 1]))
  return kept._replace(step=old.step + 1, skipped=skipped)
