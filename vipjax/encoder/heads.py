"""Heads of a value function: what the distance from one embedding to another means.

- "l2": ||phi(o) - phi(g)||, as published (VIP, arXiv:2210.00030).
- "mrn": ||x - y|| over the first half of the embedding plus max(0, x_i - y_i) over the second, a
  metric residual network (Liu et al., arXiv:2208.08133; asymmetric norms: Pitis et al.,
  arXiv:2002.05825). It keeps the triangle inequality and need not be as far back as forth; where
  the second half is constant it is VIP's.
- "icvf": steps, from the value V(o, g, g) of one who wants g (`multilinear`), the mean of its
  heads. It has variables, the collection "head" of an encoder's; the others have none.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from vipjax.encoder.multilinear import Multilinear, init_multilinear, multilinear_values
from vipjax.losses.vip import l2_distance, norm
from vipjax.runtime.errors import UserError, require_among

HEAD = "head"  # the collection
HEADS = ("l2", "icvf", "mrn")
# The share of a goal's worth from which on steps are counted along a tangent, see `value_to_steps`.
_FAR = 0.1


@dataclasses.dataclass(frozen=True)
class Head:
  """Which head; of "icvf" also what its values mean.

  Attributes:
    name: "l2", "icvf" or "mrn".
    discount: of "icvf", gamma of its values, between 0 and 1; None for others.
    hidden: of "icvf", widths of the hidden layers; () for others.
    layer_norm: of "icvf", whether hidden layers end in LayerNorm, see `Multilinear`.

  Raises:
    UserError: one of them is out of its range.
  """

  name: str = "l2"
  discount: float | None = None
  hidden: tuple[int, ...] = ()
  layer_norm: bool = False

  def __post_init__(self):
    require_among("an encoder's head", self.name, HEADS)
    widths = isinstance(self.hidden, tuple) and all(type(n) is int and n > 0 for n in self.hidden)
    learns = widths and bool(self.hidden) and isinstance(self.discount, float)
    if self.name == "icvf":
      fits = learns and 0 < self.discount < 1 and isinstance(self.layer_norm, bool)
    else:
      fits = (self.discount, self.hidden, self.layer_norm) == (None, (), False)
    if not fits:
      raise UserError(
        "expected a discount between 0 and 1, widths of hidden layers and whether they have "
        f"LayerNorm for the head 'icvf' and for no other, got {self.discount}, {self.hidden} and "
        f"{self.layer_norm} for {self.name!r}; change them."
      )

  @property
  def _multilinear(self) -> Multilinear:
    return Multilinear(self.hidden, self.layer_norm)

  @property
  def is_symmetric(self) -> bool:
    """Whether it is as far from o to g as from g to o, always."""
    return self.name == "l2"

  def init(self, key: jax.Array, embedding_dim: int) -> Any:
    """Returns fresh variables, None for heads without any.

    Args:
      key: random key, consumed by them.
      embedding_dim: size D of the embeddings.

    Raises:
      UserError: the embeddings cannot be halved for "mrn".
    """
    if self.name == "mrn" and embedding_dim % 2:
      raise UserError(
        "expected an even embedding_dim for the head 'mrn', which halves embeddings, got "
        f"{embedding_dim}; change config.encoder.embedding_dim or take another head."
      )
    if self.name != "icvf":
      return None
    return _fresh(key, self._multilinear, embedding_dim)

  def variable_shapes(self, embedding_dim: int) -> Any:
    """Returns shapes and dtypes of the variables, None for heads without any."""
    return jax.eval_shape(lambda key: self.init(key, embedding_dim), jax.random.key(0))

  def values(
    self, variables: Any, frames: jax.Array, outcomes: jax.Array, intents: jax.Array
  ) -> jax.Array:
    """V(s, s+, z) of each of the heads of "icvf", for `losses.icvf_loss`.

    Args:
      variables: as from `init`.
      frames, outcomes, intents: floats [..., D], embeddings of s, s+ and z.

    Returns:
      Floats [2, ...].
    """
    return multilinear_values(self._multilinear, {"params": variables}, frames, outcomes, intents)

  def distance(self, variables: Any, embeddings: jax.Array, goals: jax.Array) -> jax.Array:
    """The distance from embeddings to goals.

    Args:
      variables: as from `init`.
      embeddings: floats [..., D].
      goals: floats [..., D], of as many axes.

    Returns:
      Floats [...], >= 0; with gradient 0 (not NaN) where it is 0.
    """
    if self.name == "icvf":
      values = jnp.mean(self.values(variables, embeddings, goals, goals), axis=0)
      return value_to_steps(values, self.discount)
    if self.name == "mrn":
      shared, directed = jnp.split(embeddings - goals, 2, axis=-1)
      return norm(shared) + jax.nn.relu(jnp.max(directed, axis=-1))
    return l2_distance(embeddings, goals)


L2 = Head()


@functools.partial(jax.jit, static_argnums=(1, 2))
def _fresh(key: jax.Array, head: Multilinear, embedding_dim: int) -> Any:
  return init_multilinear(key, head, embedding_dim)["params"]


def value_to_steps(values: jax.Array, discount: float) -> jax.Array:
  """Returns d of V = -(1 - discount^d) / (1 - discount): how many steps of -1 each are worth V.

  V of a goal that is never reached is -1 / (1 - discount), but a network's output can be below it.
  So from log(.1) / log(discount) steps on (114 at .98) it goes on along the tangent, where a change
  of V counts ten times: finite, and in the order of V. Above 0 it is 0.

  Args:
    values: floats, of any shape.
    discount: gamma, between 0 and 1.

  Returns:
    Floats >= 0 of that shape.
  """
  left = 1.0 + (1.0 - discount) * values
  beyond = jax.nn.relu(_FAR - left) / _FAR
  return (beyond - jnp.log(jnp.clip(left, _FAR, 1.0))) / -jnp.log(discount)
