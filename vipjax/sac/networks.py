"""Actor and critics of SAC, in Flax Linen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vipjax.runtime import parallel

# Bounds of the log standard deviation before the tanh, as in the SAC authors' implementation.
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


class Mlp(nn.Module):
  """Dense layers with ReLU, optionally normalized: [..., I] -> [..., H]."""

  hidden: Sequence[int]
  norm: str = "none"
  train: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for width in self.hidden:
      x = nn.Dense(width, use_bias=self.norm != "batch")(x)
      if self.norm == "layer":
        x = nn.LayerNorm()(x)
      elif self.norm == "batch":
        x = _batch_norm(self.train)(x)
      x = nn.relu(x)
    return x


def _batch_norm(train: bool, **options: Any) -> nn.BatchNorm:
  """BatchNorm whose batch is that of all devices; its statistics follow over 100 updates.

  What comes before one has no bias, which would do nothing and which Adam would let wander.
  """
  axis = parallel.axis_name() if train else None
  return nn.BatchNorm(use_running_average=not train, momentum=0.99, axis_name=axis, **options)


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
  """Observation [..., O] and action [..., A] -> Q-value [...], or logits [..., bins] of it.

  Layer normalization bounds Q-values of actions never tried (arXiv:2302.02948). Batch normalization
  (arXiv:1902.05605) is of the inputs, too; `train` takes the batch's own statistics.
  """

  hidden: Sequence[int]
  norm: str = "layer"
  bins: int = 0
  train: bool = False

  @nn.compact
  def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
    x = jnp.concatenate([observation, action], axis=-1)
    if self.norm == "batch":
      x = _batch_norm(self.train, use_bias=False)(x)
    x = Mlp(self.hidden, self.norm, self.train)(x)
    return nn.Dense(self.bins)(x) if self.bins else nn.Dense(1)(x)[..., 0]
