"""A triplet loss on the same clips as VIP's: the simple baseline to beat."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.losses import checks
from vipjax.losses.vip import norm


def triplet_loss(
  embeddings: jax.Array, margin: float = 1.0
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Asks a later frame to be nearer to the goal than an earlier one, by a margin.

  mean(relu(margin + ||phi(o_t+1) - phi(g)|| - ||phi(o_0) - phi(g)||)): the goal is the anchor of a
  triplet (Schroff et al., arXiv:1503.03832), the later frame its positive, the first its negative,
  as in time-contrastive learning from one video (Sermanet et al., arXiv:1704.06888).

  Args:
    embeddings: floats [B, 4, D], of the frames o_0, g, o_t, o_t+1 of each clip, as for `vip_loss`.
    margin: in units of distance, >= 0.

  Returns:
    The loss, a float scalar, and scalars by name: `triplet_loss`, `triplet_violations` (share of
    clips that cost something).

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, 4, D]", (None, 4, None))
  first, goal, _, later = (embeddings[:, i] for i in range(4))
  costs = jax.nn.relu(margin + norm(later - goal) - norm(first - goal))
  loss = jnp.mean(costs)
  violations = jnp.mean((costs > 0).astype(loss.dtype))
  return loss, {"triplet_loss": loss, "triplet_violations": violations}
