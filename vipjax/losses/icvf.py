"""Temporal distance by expectile regression: goals and intents learnt from any videos."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.losses import checks


def icvf_loss(
  values: jax.Array,
  next_values: jax.Array,
  next_intent_values: jax.Array,
  intent_values: jax.Array,
  is_outcome: jax.Array,
  is_intent: jax.Array,
  discount: float = 0.98,
  expectile: float = 0.9,
  steps: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Regresses the value of an outcome under an intent, where steps towards the intent weigh more.

  V(s, s+, z) is minus the discounted number of steps from s to s+ of one who wants z. With r = -1
  and m = 1, or both 0 where s is s+ already, and r_z and m_z the same for z, it is the sum over the
  heads i of mean(|expectile - 1[A < 0]| (r + discount m V_i(s', s+, z) - V_i(s, s+, z))^2), with
  the advantage A = r_z + discount m_z min_i V_i(s', z, z) - mean_i V_i(s, z, z): an intention-
  conditioned value function (arXiv:2304.04782) as its authors' trainer computes it. The weight goes
  by the sign of A, and not of the error, and all but `values` gets no gradient. With z = s+ and V =
  -||phi(s) - phi(s+)|| it is the loss of HILP (arXiv:2402.15567); see `expectile_loss`.
  Their code has two more forms, which are other arguments: the mean over heads instead of the least
  is that mean as each head of `next_intent_values`; without intents, where every step weighs as
  much, `intent_values` are 0 and `is_intent` true.

  Args:
    values: floats [H, B], V(s, s+, z) of H >= 1 trained heads for B rows.
    next_values: floats [H, B], V(s', s+, z) of the target's heads, as all that follow.
    next_intent_values: floats [H, B], V(s', z, z).
    intent_values: floats [H, B], V(s, z, z).
    is_outcome: bool [B], whether s is s+.
    is_intent: bool [B], whether s is z.
    discount: gamma, in [0, 1].
    expectile: between 0 and 1; .5 is the mean, and the nearer to 1, the more the best steps count.
    steps: numbers [B] >= 1, how many steps s' comes after s, each at a cost of 1. None: one.

  Returns:
    The loss, a float scalar, and scalars by name: `icvf_loss`, `icvf_td_error` (mean absolute),
    `icvf_advantage` (mean), `icvf_accepted` (share of rows whose advantage is not negative).

  Raises:
    UserError: a wrong rank, shape or dtype.
  """
  values = checks.float_array("values", values, "[H, B]", (None, None))
  next_values, next_intent_values, intent_values = (
    jax.lax.stop_gradient(checks.float_array(name, array, "[H, B]", values.shape))
    for name, array in (
      ("next_values", next_values),
      ("next_intent_values", next_intent_values),
      ("intent_values", intent_values),
    )
  )
  shape = values.shape[1:]
  outcome_left, intent_left = (
    1.0 - checks.number_array(name, jnp.asarray(array, values.dtype), "[B]", shape)
    for name, array in (("is_outcome", is_outcome), ("is_intent", is_intent))
  )
  steps = checks.number_array("steps", jnp.ones(shape) if steps is None else steps, "[B]", shape)
  decay = jnp.asarray(discount, values.dtype) ** steps
  # What the steps cost: 1 + discount + ... + discount^(steps - 1).
  cost = steps if discount == 1 else (1.0 - decay) / (1.0 - discount)

  after = jnp.min(next_intent_values, axis=0)
  advantage = intent_left * (decay * after - cost) - jnp.mean(intent_values, axis=0)
  error = outcome_left[None] * (decay[None] * next_values - cost[None]) - values
  accepted = advantage >= 0
  weight = jnp.where(accepted, expectile, 1.0 - expectile)[None]
  loss = jnp.sum(jnp.mean(weight * jnp.square(error), axis=1))
  return loss, {
    "icvf_loss": loss,
    "icvf_td_error": jnp.mean(jnp.abs(error)),
    "icvf_advantage": jnp.mean(advantage),
    "icvf_accepted": jnp.mean(accepted.astype(loss.dtype)),
  }
