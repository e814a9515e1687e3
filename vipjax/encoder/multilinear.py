"""The multilinear heads of an intention-conditioned value function, on an encoder's embeddings.

V(s, s+, z) = <A (T(psi(z)) * phi(s)) + a, B (T(psi(z)) * psi(s+)) + b> with elementwise products
(ICVF, arXiv:2304.04782, where T(z) is a matrix; here, as in its authors' code, a diagonal between A
and B). It is a value, minus a number of steps once `losses.icvf_loss` has taught it, and it is not
symmetric. The heads share one encoder. Their target is another tree of the same variables, which
`optax.incremental_update` moves towards those from before each step.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Multilinear(nn.Module):
  """One head: embeddings [..., D] of a frame, an outcome and an intent -> V [...].

  Attributes:
    hidden: widths of the hidden layers of phi, psi and T, with an activation after each.
    layer_norm: the activation is a tanh-approximated GELU and then LayerNorm, instead of ReLU.
  """

  hidden: tuple[int, ...] = (256, 256)
  layer_norm: bool = False

  @nn.compact
  def __call__(self, frame: jax.Array, outcome: jax.Array, intent: jax.Array) -> jax.Array:
    psi = _Mlp(self.hidden, self.layer_norm, name="psi")
    diagonal = _Mlp(self.hidden, self.layer_norm, name="intent")(psi(intent))
    frame = _Mlp(self.hidden, self.layer_norm, name="phi")(frame)
    left = nn.Dense(self.hidden[-1], name="left")(diagonal * frame)
    right = nn.Dense(self.hidden[-1], name="right")(diagonal * psi(outcome))
    return jnp.sum(left * right, axis=-1)


class _Mlp(nn.Module):
  hidden: tuple[int, ...]
  layer_norm: bool

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for width in self.hidden:
      x = nn.Dense(width)(x)
      x = nn.LayerNorm()(nn.gelu(x)) if self.layer_norm else nn.relu(x)
    return x


def init_multilinear(key: jax.Array, head: Multilinear, embedding_dim: int, count: int = 2) -> Any:
  """Returns the variables of `count` independent heads, stacked: every leaf is [count, ...]."""
  frame = jnp.zeros(embedding_dim)
  return jax.vmap(lambda key: head.init(key, frame, frame, frame))(jax.random.split(key, count))


def multilinear_values(
  head: Multilinear, variables: Any, frame: jax.Array, outcome: jax.Array, intent: jax.Array
) -> jax.Array:
  """V(s, s+, z) of each head, as `losses.icvf_loss` takes it.

  Args:
    head: their architecture.
    variables: of H heads, as from `init_multilinear`.
    frame: floats [B, D], embeddings of s.
    outcome: floats [B, D], of s+.
    intent: floats [B, D], of z.

  Returns:
    Floats [H, B].
  """
  return jax.vmap(head.apply, (0, None, None, None))(variables, frame, outcome, intent)
