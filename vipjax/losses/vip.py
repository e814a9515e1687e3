"""The VIP loss: value-implicit pre-training (Ma et al., arXiv:2210.00030)."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.losses import checks

# Of embeddings [..., D] to goals [..., D] of as many axes, floats [...] >= 0.
Distance = Callable[[jax.Array, jax.Array], jax.Array]


def norm(x: jax.Array) -> jax.Array:
  """L2 norm over the last axis [..., D] -> [...], with gradient 0 (not NaN) at 0."""
  squares = jnp.sum(jnp.square(x), axis=-1)
  is_zero = squares == 0.0
  # The inner `where` keeps the infinite slope of the root at 0 out of the backward pass.
  return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def l2_distance(embeddings: jax.Array, goals: jax.Array) -> jax.Array:
  """The published distance, ||phi(o) - phi(g)||."""
  return norm(embeddings - goals)


def vip_loss(
  embeddings: jax.Array,
  rewards: jax.Array,
  permutations: jax.Array,
  discount: float = 0.98,
  epsilon: float = 1e-8,
  l1_weight: float = 0.0,
  l2_weight: float = 0.0,
  weights: jax.Array | None = None,
  distance: Distance = l2_distance,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Attracts first frames to goals and holds neighbouring frames apart (the dual of VIP).

  With V(o, g) = -d(o, g), published as -||phi(o) - phi(g)||_2, and x(o_t, o_t+1, g) =
  -(r + discount V(o_t+1, g) - V(o_t, g)), it is the sum of

  - attraction: (1 - discount) mean(-V(o_0, g)),
  - td: log(epsilon + mean(exp(x))) over the batch,
  - negatives, when M > 0: one log(epsilon + mean(exp(x))) over all M * B pairs of a goal with the
    transition (o_t, o_t+1) of a permuted clip; goals and rewards stay in their rows,
  - l1_weight and l2_weight times the mean norms of all 4 B embeddings.

  This is the form of the authors' trainer (arXiv:2210.00030, algorithm 1, plus its negatives).
  Its mean exponentials couple the whole batch: with several devices, gather the embeddings
  first. Everything is computed in log space, so that distances of any size stay finite.

  Args:
    embeddings: floats [B, 4, D], of the frames o_0, g, o_t, o_t+1 of each clip.
    rewards: numbers [B], the reward r of each step; VIP uses -1 everywhere.
    permutations: integers [M, B] in [0, B), the shuffles that make negatives; M may be 0.
    discount: gamma, in [0, 1].
    epsilon: bounds the log terms from below, >= 0.
    l1_weight: weight of the mean L1 norm, >= 0.
    l2_weight: weight of the mean L2 norm, >= 0.
    weights: numbers [B] > 0 by which clips count in the means of attraction and td; in those of the
      negatives the product of the two clips' that make a pair. None: all the same.
    distance: d, of embeddings to goals.

  Returns:
    The loss, a float scalar, and scalars by name: `vip_loss` (without the norms' terms),
    `vip_attraction`, `vip_td`, `vip_negatives` (0 when M = 0), `l1_norm`, `l2_norm` (mean norms,
    not weighted) and `vip_distance` (mean distance of o_0 to g).

  Raises:
    UserError: a rank, shape or dtype is wrong, or a permutation indexes past the batch.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, 4, D]", (None, 4, None))
  batch = embeddings.shape[0]
  rewards = checks.number_array("rewards", rewards, "[B]", (batch,)).astype(embeddings.dtype)
  first, goal, current, following = (embeddings[:, i] for i in range(4))

  if weights is not None:
    weights = checks.number_array("weights", weights, "[B]", (batch,)).astype(embeddings.dtype)
  first_distance = distance(first, goal)
  attraction = (1.0 - discount) * jnp.average(first_distance, weights=weights)

  def log_mean_exp_residual(current, following, weights):
    # Transitions [M, B, D] against the goals of their rows. V = -distance, hence the signs.
    away, following_away = distance(current, goal[None]), distance(following, goal[None])
    residual = discount * following_away - away - rewards[None]
    total = np.log(residual.size) if weights is None else jnp.log(jnp.sum(weights))
    log_mean = jax.nn.logsumexp(residual, b=weights) - total
    return jnp.logaddexp(jnp.log(jnp.asarray(epsilon, residual.dtype)), log_mean)

  td = log_mean_exp_residual(
    current[None], following[None], None if weights is None else weights[None]
  )
  negatives = jnp.zeros_like(td)
  if np.shape(permutations) != (0, batch):  # No negatives: an empty array of any dtype will do.
    shuffles = checks.index_array("permutations", permutations, "[M, B]", (None, batch), batch)
    pairs = None if weights is None else weights[None] * weights[shuffles]
    negatives = log_mean_exp_residual(current[shuffles], following[shuffles], pairs)

  vip = attraction + td + negatives
  # Not jnp.abs, whose gradient at 0 is 1.
  signs = jax.lax.stop_gradient(jnp.sign(embeddings))
  l1_norm = jnp.mean(jnp.sum(signs * embeddings, axis=-1))
  l2_norm = jnp.mean(norm(embeddings))
  metrics = {
    "vip_loss": vip,
    "vip_attraction": attraction,
    "vip_td": td,
    "vip_negatives": negatives,
    "vip_distance": jnp.mean(first_distance),
    "l1_norm": l1_norm,
    "l2_norm": l2_norm,
  }
  return vip + l1_weight * l1_norm + l2_weight * l2_norm, metrics


def vip_errors(
  embeddings: jax.Array,
  rewards: jax.Array,
  discount: float = 0.98,
  distance: Distance = l2_distance,
) -> jax.Array:
  """TD errors |r + discount V(o_t+1, g) - V(o_t, g)| of single clips, without gradient.

  Args:
    embeddings: floats [B, 4, D], as for `vip_loss`.
    rewards: numbers [B].
    discount: gamma, in [0, 1].
    distance: as for `vip_loss`.

  Returns:
    Floats [B], >= 0.
  """
  chex.assert_shape(embeddings, (*rewards.shape, 4, None))
  _, goal, current, following = (jax.lax.stop_gradient(embeddings[:, i]) for i in range(4))
  return jnp.abs(rewards - discount * distance(following, goal) + distance(current, goal))
