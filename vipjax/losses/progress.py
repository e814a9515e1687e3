"""The loss of the progress head: signed progress between two frames (arXiv:2509.26627)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.losses import checks


def expected_value(logits: jax.Array) -> jax.Array:
  """Returns floats [...] in [-1, 1], the mean of the bins' centres under softmax [..., bins].

  The centres go from -1 to 1, evenly.
  """
  centres = np.linspace(-1.0, 1.0, logits.shape[-1], dtype=np.float32)
  return jnp.clip(jax.nn.softmax(logits) @ centres, -1.0, 1.0)


def two_hot(targets: jax.Array, bins: int) -> jax.Array:
  """Returns floats [P, bins]: weights of the two bins around each target, whose mean it is.

  Args:
    targets: floats [P], cut off at -1 and 1.
    bins: number of bins, >= 2, with centres from -1 to 1.
  """
  places = (jnp.clip(targets, -1.0, 1.0) + 1.0) * ((bins - 1) / 2)
  return jax.nn.relu(1.0 - jnp.abs(places[:, None] - jnp.arange(bins, dtype=places.dtype)[None]))


def progress_loss(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Mean cross entropy of the bins with the two-hot of the targets.

  Args:
    logits: floats [P, bins], of P pairs of frames; bins >= 2 over [-1, 1].
    targets: numbers [P] in [-1, 1], (v - u) / (T - 1) for frames u and v of a video of T frames.

  Returns:
    The loss, a float scalar, and scalars by name: `progress_loss`, `progress_error` (mean
    difference of the expected value from the target) and `progress_order` (share of pairs whose
    expected value has the target's sign).

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  logits = checks.float_array("logits", logits, "[P, bins]", (None, None))
  targets = checks.number_array("targets", targets, "[P]", (logits.shape[0],))
  wanted = two_hot(targets, logits.shape[1])
  loss = -jnp.mean(jnp.sum(wanted * jax.nn.log_softmax(logits), axis=1))
  expected = expected_value(logits)
  return loss, {
    "progress_loss": loss,
    "progress_error": jnp.mean(jnp.abs(expected - targets)),
    "progress_order": jnp.mean((expected * targets > 0).astype(loss.dtype)),
  }
