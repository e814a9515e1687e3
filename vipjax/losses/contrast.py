"""A contrast of goals against frames that only look like them: a policy's own failures."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.losses import checks
from vipjax.losses.vip import norm


def contrast_loss(
  embeddings: jax.Array, margin: float = 0.5, weights: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Asks a goal to be nearer to the expert's late frames than to a failure, by a margin.

  mean(relu(margin ||phi(o_0) - phi(g)|| + ||phi(o_late) - phi(g)|| - ||phi(n) - phi(g)||)): GCR's
  term beside VIP's loss, goals of successes against frames of failures (arXiv:2410.19989), as a
  hinge (arXiv:1503.03832). Without the expert's late frame, ||phi(n) - phi(g)|| / ||phi(o_0) -
  phi(g)|| would have to reach the margin: it is the price of the failure, 0 where it looks like the
  goal and 1 where it is worth no more than the start. The margin gets no gradient.

  A hinge, because its gradient of the distance to the failure is 1 until the margin is reached,
  however near the failure is, and 0 from then on. VIP's negatives have 1 - discount = .02 for a
  pair that stands still. A softmax (InfoNCE) would spend its whole push on the nearest failure of
  the batch, which is the likeliest one to be no failure, and would never stop.

  Args:
    embeddings: floats [B, 4, D], of the frames o_0, g, o_late of an expert's video and n, a failure
      in the same channel, for each of B goals; they should share a crop.
    margin: as a share of the distance of o_0 to g, >= 0.
    weights: numbers [B] >= 0 by which goals count in the mean, 0 where there is no failure yet;
      where all are 0, so is the loss. None: all the same.

  Returns:
    The loss, a float scalar, and scalars by name: `contrast_loss`, `contrast_violations` (share of
    goals that cost something), `contrast_price` (mean price of the failures).

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, 4, D]", (None, 4, None))
  batch, tiny = embeddings.shape[0], jnp.finfo(embeddings.dtype).tiny
  weights = checks.number_array("weights", jnp.ones(batch) if weights is None else weights, "[B]",
                                (batch,))  # fmt: skip
  first, goal, late, failure = (embeddings[:, i] for i in range(4))
  first_distance = jax.lax.stop_gradient(norm(first - goal))
  distance = norm(failure - goal)
  costs = jax.nn.relu(margin * first_distance + norm(late - goal) - distance)

  def mean(values):
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), tiny)

  loss = mean(costs)
  return loss, {
    "contrast_loss": loss,
    "contrast_violations": mean((costs > 0).astype(loss.dtype)),
    "contrast_price": mean(distance / jnp.maximum(first_distance, tiny)),
  }
