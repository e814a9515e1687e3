"""Skips updates that are not finite, and counts them."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

State = TypeVar("State", bound=tuple)


def keep_finite(finite: jax.Array, new: State, old: State) -> State:
  """Returns `new`, or `old` where `finite` (bool scalar) is false, after an update; jittable.

  Both are NamedTuples with an int32 `step`, which increases in both cases, and an int32 [2]
  `skipped`: numbers of updates that were not finite, in all and in a row until now.
  """
  kept = jax.tree.map(lambda n, o: n if n is o else jnp.where(finite, n, o), new, old)
  in_all, in_a_row = old.skipped
  skipped = jnp.where(finite, jnp.stack([in_all, 0]), jnp.stack([in_all + 1, in_a_row + 1]))
  return kept._replace(step=old.step + 1, skipped=skipped)
