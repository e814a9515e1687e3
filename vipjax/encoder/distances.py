"""The distance of embeddings to goals, for the value, the reward and the curves alike."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder.heads import L2, Head
from vipjax.runtime.errors import require_among

REDUCTIONS = ("mean", "nearest")
# Programs of heads are compiled for multiples of so many rows.
_ROWS = 64


def reduce_goals(embeddings: np.ndarray, goal_reduction: str = "mean") -> np.ndarray:
  """Returns of goals float32 [G, D] their mean [1, D], or for "nearest" all of them.

  `goal_distances` then measures to the mean, or to the nearest goal.

  Raises:
    UserError: another reduction.
  """
  require_among("a goal_reduction", goal_reduction, REDUCTIONS)
  return embeddings.mean(axis=0, keepdims=True) if goal_reduction == "mean" else embeddings


@functools.cache
def _compiled(head: Head):
  return jax.jit(head.distance)


def goal_distances(
  embeddings: np.ndarray | jax.Array,
  goals: np.ndarray | jax.Array,
  head: Head = L2,
  variables: Any = None,
) -> np.ndarray | jax.Array:
  """Returns float32 [T]: of each of [T, D] embeddings the distance to the nearest of [G, D].

  `ValueFunction.distances` calls it with the head of the value and its variables.
  """
  if isinstance(embeddings, jax.Array):
    if head != L2:
      return jnp.min(head.distance(variables, embeddings[:, None], goals[None]), axis=-1)
    return jnp.min(jnp.linalg.norm(embeddings[:, None] - goals[None], axis=-1), axis=-1)
  # One goal at a time: [T, G, D] of a long video and the last frames of many does not fit.
  if head == L2:
    away = [np.linalg.norm(embeddings - goal, axis=-1) for goal in goals]
  else:
    padded = np.pad(embeddings, [(0, -len(embeddings) % _ROWS), (0, 0)])
    measure = _compiled(head)
    away = [np.asarray(measure(variables, padded, goal[None])) for goal in goals]
  return np.stack(away).min(axis=0)[: len(embeddings)]
