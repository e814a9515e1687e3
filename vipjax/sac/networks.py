"""Actor and critics of SAC, in Flax Linen."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

# Bounds of the log standard deviation before the tanh, as in the SAC authors' implementation.
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


class Mlp(nn.Module):
  """Dense layers with ReLU, optionally with layer normalization: [..., I] -> [..., H]."""

  hidden: Sequence[int]
  layer_norm: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for width in self.hidden:
      x = nn.Dense(width)(x)
      if self.layer_norm:
        x = nn.LayerNorm()(x)
      x = nn.relu(x)
    return x


class Actor(nn.Module):
  """Observation [..., O] -> mean and log standard deviation of the Gaussian before the tanh."""

  num_actions: int
  hidden: Sequence[int]

  @nn.compact
  def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = Mlp(self.hidden)(observation)
    mean = nn.Dense(self.num_actions)(x)
    log_std = nn.Dense(self.num_actions)(x)
    return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


class Critic(nn.Module):
  """Observation [..., O] and action [..., A] -> Q-value [...].

  Layer normalization bounds Q-values of actions never tried (arXiv:2302.02948).
  """

  hidden: Sequence[int]

  @nn.compact
  def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
    x = jnp.concatenate([observation, action], axis=-1)
    x = Mlp(self.hidden, layer_norm=True)(x)
    return nn.Dense(1)(x)[..., 0]
