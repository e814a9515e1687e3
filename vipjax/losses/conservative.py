"""Conservative Q-learning: its losses, their targets, and the returns that bound them."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vipjax.losses import checks
from vipjax.runtime.errors import UserError


def conservative_loss(
  q_data: jax.Array,
  q_samples: jax.Array,
  log_densities: jax.Array,
  floor: jax.Array | None = None,
  temperature: float = 1.0,
  from_policy: jax.Array | None = None,
  limits: tuple[float, float] = (-math.inf, math.inf),
) -> jax.Array:
  """How far the Q-values of all actions are above those of the data's, to be pushed down.

  mean(T log sum_k exp((Q(s, a_k) - log p(a_k)) / T) - Q(s, a)) for actions a_k drawn with density
  p: CQL(H) of arXiv:2006.04779 (equation 4), whose integral over actions becomes a sum by
  importance sampling. The critics' loss adds it, times a weight, to the Bellman error. Its forms
  differ in the samples:

  - CQL and JaxCQL: as many each of the uniform distribution on [-1, 1]^A, whose log density is -A
    log 2, of pi(s), and of pi(s') (at s, too);
  - Cal-QL (arXiv:2303.05479): the same with a `floor`, the return of the data, under which Q-values
    of the policy's actions are not pushed;
  - V-PTR (arXiv:2309.13041): of the uniform distribution and of pi(s) with that floor; its critics
    take the mean of both heads;
  - without importance sampling: log densities of 0 (JaxCQL appends Q(s, a) to the samples then); a
    plain mean in place of log-sum-exp: that mean as the only sample, with a log density of 0.

  Args:
    q_data: floats [H, B], Q(s, a) of H heads at the data's actions.
    q_samples: floats [H, B, M], Q(s, a_k) of M sampled actions.
    log_densities: numbers [B, M], log p(a_k); no gradient.
    floor: numbers [B], least Q-value of the policy's actions; no gradient. None: no bound.
    temperature: T, above 0.
    from_policy: bool [M], which samples are the policy's, which alone the floor bounds: never the
      uniform ones. None: all are.
    limits: the least and the greatest that the difference of a row may count.

  Returns:
    Floats [H], one of each head. Samples under the floor, and rows beyond the limits, get no
    gradient.

  Raises:
    UserError: a wrong rank, shape or dtype, or a temperature that is not above 0.
  """
  q_data = checks.float_array("q_data", q_data, "[H, B]", (None, None))
  heads, batch = q_data.shape
  q_samples = checks.float_array("q_samples", q_samples, "[H, B, M]", (heads, batch, None))
  count = q_samples.shape[-1]
  log_densities = checks.number_array("log_densities", log_densities, "[B, M]", (batch, count))
  if not temperature > 0:
    raise UserError(f"expected a temperature above 0, got {temperature}; raise it.")
  if floor is not None:
    floor = checks.number_array("floor", floor, "[B]", (batch,))[:, None]
    if from_policy is not None:
      from_policy = jnp.asarray(from_policy, q_data.dtype)
      from_policy = checks.number_array("from_policy", from_policy, "[M]", (count,))[None] > 0
      floor = jnp.where(from_policy, floor, -jnp.inf)
    q_samples = jnp.maximum(q_samples, jax.lax.stop_gradient(floor)[None])
  scaled = (q_samples - jax.lax.stop_gradient(log_densities)[None]) / temperature
  difference = temperature * jax.nn.logsumexp(scaled, axis=-1) - q_data
  return jnp.mean(jnp.clip(difference, *limits), axis=1)


def lagrange_penalty(
  differences: jax.Array, log_multiplier: jax.Array, gap: float, weight: float = 1.0
) -> tuple[jax.Array, jax.Array]:
  """The conservative loss with a multiplier that rises while it is above a gap.

  exp(l) weight (d_i - gap) for the critics, and minus the mean over heads of the same for l: dual
  gradient descent on d <= gap, the Lagrange form of arXiv:2006.04779.

  Args:
    differences: floats [H], of `conservative_loss`.
    log_multiplier: l, a float scalar; exp(l) counts up to 1e6.
    gap: which difference is let pass.
    weight: a factor of both losses.

  Returns:
    Floats [H], to be added to the Bellman errors, which have no gradient to l; and the loss of l, a
    float scalar, which has one to l alone.
  """
  differences = checks.float_array("differences", differences, "[H]", (None,))
  multiplier = jnp.clip(jnp.exp(log_multiplier), 0.0, 1e6)
  excess = weight * (differences - gap)
  penalty = jax.lax.stop_gradient(multiplier) * excess
  return penalty, -multiplier * jnp.mean(jax.lax.stop_gradient(excess))


def td_target(
  rewards: jax.Array,
  masks: jax.Array,
  next_q: jax.Array,
  discount: float = 0.99,
  next_log_probs: jax.Array | None = None,
  temperature: jax.Array | float = 0.0,
) -> jax.Array:
  """r + discount m max_k (min_i Q_i(s', a'_k)) of the target heads: what the critics regress.

  With one action a' ~ pi(s') it is SAC's (arXiv:1812.05905); with more it is the maximal backup of
  CQL (arXiv:2006.04779) in the order of JaxCQL and V-PTR: the least over heads, then the greatest
  over actions. For the mean over heads give that mean as the only head.

  Args:
    rewards: numbers [B].
    masks: numbers [B], 0 where the episode has ended in a terminal state, else 1.
    next_q: floats [H, B] or [H, B, K], of K >= 1 actions.
    discount: gamma, in [0, 1].
    next_log_probs: numbers [B] or [B, K], log pi(a'_k | s'); `temperature` times that of the chosen
      action is subtracted. None: no entropy.
    temperature: of the entropy, >= 0.

  Returns:
    Floats [B], without gradient.

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  layout, shape = ("[H, B]", (None, None)) if jnp.ndim(next_q) < 3 else ("[H, B, K]", (None,) * 3)
  next_q = checks.float_array("next_q", next_q, layout, shape)
  shape = next_q.shape[1:]
  rewards, masks = (
    checks.number_array(name, array, "[B]", shape[:1])
    for name, array in (("rewards", rewards), ("masks", masks))
  )
  least = jnp.min(next_q, axis=0).reshape(len(rewards), -1)
  best = jnp.argmax(least, axis=1, keepdims=True)
  value = jnp.take_along_axis(least, best, axis=1)[:, 0]
  if next_log_probs is not None:
    layout = layout.replace("H, ", "")
    log_probs = checks.number_array("next_log_probs", next_log_probs, layout, shape)
    chosen = jnp.take_along_axis(log_probs.reshape(least.shape), best, axis=1)[:, 0]
    value = value - temperature * chosen
  return jax.lax.stop_gradient(rewards + discount * masks * value)


def monte_carlo_returns(
  rewards: jax.Array, masks: jax.Array, discount: float = 0.99, after: float = 0.0
) -> jax.Array:
  """Discounted returns of an episode's steps, the floor of Cal-QL and V-PTR.

  G_t = r_t + discount m_t G_t+1. The return of the data's policy bounds the value of the best one
  from below, but only where the episode is whole: one that was cut off would seem to end well.

  Args:
    rewards: numbers [T], of an episode's steps.
    masks: numbers [T], 0 where a step ends in a terminal state, else 1.
    discount: gamma, in [0, 1].
    after: the return after the last step, where its mask is 1: for an episode that was cut off,
      with a reward r of each step that would go on, r / (1 - discount).

  Returns:
    Floats [T].

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  rewards = checks.number_array("rewards", rewards, "[T]", (None,))
  masks = checks.number_array("masks", masks, "[T]", rewards.shape)

  def back(following, step):
    reward, mask = step
    value = reward + discount * mask * following
    return value, value

  start = jnp.asarray(after, rewards.dtype)
  return jax.lax.scan(back, start, (rewards, masks), reverse=True)[1]
