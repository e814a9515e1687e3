"""Distillation of one or more encoders into another, by the distances of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vipjax.losses import checks
from vipjax.losses.vip import norm
from vipjax.runtime.errors import UserError


def distillation_loss(
  embeddings: jax.Array, teachers: Sequence[jax.Array]
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Error of the distances between frames against those of the teachers.

  The teachers' distance is sqrt(mean_i d_i^2), that of their embeddings side by side. The loss is
  the mean squared error of the distances, as a share of the teachers' mean square, over the pairs
  of one clip plus the same over all pairs of the batch: distance-wise relational distillation (Park
  et al., arXiv:1904.05068, equation 6, with squares for Huber's) of an ensemble (Hinton et al.,
  arXiv:1503.02531).

  Args:
    embeddings: floats [B, F, D], of F >= 2 frames of each of B clips.
    teachers: floats [B, F, D_i] of the same frames, at least one; they get no gradient.

  Returns:
    The loss, a float scalar, and scalars by name: `distillation_loss`, and `distillation_clip` and
    `distillation_batch`, its two terms.

  Raises:
    UserError: no teacher, or a wrong rank, shape or dtype.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, F, D]", (None, None, None))
  if not teachers:
    raise UserError("expected the embeddings of at least one teacher, got none; pass some.")
  shape = (*embeddings.shape[:2], None)
  teachers = [
    checks.float_array("embeddings of a teacher", each, "[B, F, D]", shape) for each in teachers
  ]
  clip = _relative_error(embeddings, teachers)
  # All frames of the batch as those of one clip.
  batch = _relative_error(
    *jax.tree.map(lambda x: x.reshape(1, -1, x.shape[-1]), (embeddings, teachers))
  )
  loss = clip + batch
  return loss, {
    "distillation_loss": loss, "distillation_clip": clip, "distillation_batch": batch,
  }  # fmt: skip


def _relative_error(embeddings: jax.Array, teachers: Sequence[jax.Array]) -> jax.Array:
  squares = sum(jnp.square(_distances(teacher)) for teacher in teachers) / len(teachers)
  wanted = jax.lax.stop_gradient(jnp.sqrt(squares))
  error = jnp.mean(jnp.square(_distances(embeddings) - wanted))
  # Teachers that see no difference ask for none.
  return error / jnp.maximum(jnp.mean(jnp.square(wanted)), jnp.finfo(wanted.dtype).tiny)


def _distances(embeddings: jax.Array) -> jax.Array:
  """[B, F, D] -> [B, F, F], between the frames of each clip."""
  return norm(embeddings[:, :, None] - embeddings[:, None, :])
