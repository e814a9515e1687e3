"""The progress head: how far one frame is ahead of another, from two embeddings.

It is a softmax over bins of [-1, 1] of a linear map of both embeddings (TimeRewarder,
arXiv:2509.26627): {"kernel": [2 D, bins], "bias": [bins]}, the collection "progress" of an
encoder's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.losses.progress import expected_value

PROGRESS = "progress"  # the collection
BINS = 20  # the paper's


def init_head(embedding_dim: int) -> dict[str, np.ndarray]:
  """Returns a head that sees no progress: all zeros, so that every bin is as likely."""
  shapes = head_shapes(embedding_dim, BINS)
  return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def head_shapes(embedding_dim: int, bins: int) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of a head's arrays."""
  return {"kernel": (2 * embedding_dim, bins), "bias": (bins,)}


def head_logits(head: Mapping[str, Any], first: jax.Array, second: jax.Array) -> jax.Array:
  """Returns floats [..., bins] for embeddings [..., D] of a first and a second frame."""
  products = jnp.concatenate([first, second], axis=-1) @ head["kernel"]
  return products + jnp.reshape(head["bias"], (1,) * (products.ndim - 1) + (-1,))


def signed_progress(head: Mapping[str, Any], first: jax.Array, second: jax.Array) -> jax.Array:
  """How far second frames are ahead of first ones, as a share of the task; < 0 where behind.

  It is half of F(a, b) - F(b, a), with F the `expected_value` of the head. What the head learns is
  antisymmetric, F itself only nearly: a rest of F(o, o) would be paid at every step that stands
  still. So taken, standing still is worth exactly 0, and a step back takes what the step forth has
  paid. Longer loops may still pay: it need not be the difference of a potential.

  Args:
    head: see above.
    first: floats [..., D].
    second: floats [..., D].

  Returns:
    Floats [...] in [-1, 1].
  """
  forth, back = (
    expected_value(head_logits(head, *pair)) for pair in ((first, second), (second, first))
  )
  return (forth - back) / 2
