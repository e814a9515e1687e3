"""Error of embeddings against those of the same scenes without the robot."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.losses import checks


def robot_free_loss(
  embeddings: jax.Array, targets: jax.Array, units: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The mean squared distance to the targets, mean_i (||phi(x_i) - y_i|| / u_i)^2 (ours).

  It regresses one network's features on another's, as knowledge distillation by hints does (Romero
  et al., arXiv:1412.6550, equation 3).

  Args:
    embeddings: floats [B, D], of frames with the robot.
    targets: floats [B, D], of the same scenes without it; they get no gradient.
    units: floats [B], above 0, of the distances; such as the way of the object in its film.

  Returns:
    The loss, a float scalar, and `robot_free_error`, the mean of ||phi(x_i) - y_i|| / u_i.

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, D]", (None, None))
  targets = checks.float_array("targets", targets, "[B, D]", embeddings.shape)
  units = checks.float_array("units", units, "[B]", embeddings.shape[:1])
  errors = (embeddings - jax.lax.stop_gradient(targets)) / units[:, None]
  squares = jnp.sum(jnp.square(errors), axis=-1)
  return jnp.mean(squares), {"robot_free_error": jnp.mean(jnp.sqrt(squares))}
