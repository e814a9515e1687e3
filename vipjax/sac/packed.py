"""Parameters as one vector, for accelerators, where many small arrays are many small kernels.

An update of SAC is bound by the launching of kernels there (docs/results/gpu.md). Adam, the target
critics, the norm of gradients and the choice of finite updates treat each number alike, so for them
the parameters of a network, their gradients and Adam's moments are a vector each. Networks read
their arrays out of it. Checkpoints never see one: a scan of updates packs before its first and
unpacks after its last.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

_PARAMS = "params"


@jax.tree_util.register_pytree_node_class
class Packed:
  """A pytree of float arrays in one vector.

  Attributes:
    vector: all numbers, in the order of the tree's leaves; for JAX this is its only leaf.
    layout: structure of the tree, and the shapes of its leaves.
  """

  def __init__(self, vector: jax.Array, layout: Any):
    self.vector, self.layout = vector, layout

  @classmethod
  def of(cls, tree: Any) -> Packed:
    """Packs the arrays of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    vector = jnp.concatenate([jnp.reshape(leaf, (-1,)) for leaf in leaves])
    return cls(vector, (structure, tuple(leaf.shape for leaf in leaves)))

  def tree(self) -> Any:
    """Returns the tree."""
    structure, shapes = self.layout
    leaves, start = [], 0
    for shape in shapes:
      size = math.prod(shape)
      leaves.append(jax.lax.slice(self.vector, (start,), (start + size,)).reshape(shape))
      start += size
    return jax.tree.unflatten(structure, leaves)

  def tree_flatten(self):
    return (self.vector,), self.layout

  @classmethod
  def tree_unflatten(cls, layout, children):
    return cls(*children, layout)


def pack(tree: Any) -> Any:
  """Packs each network's "params" in a tree, Adam's moments of them among these."""

  def packed(node):
    return {**node, _PARAMS: Packed.of(node[_PARAMS])} if _is_network(node) else node

  return jax.tree.map(packed, tree, is_leaf=_is_network)


def unpack(tree: Any) -> Any:
  """Returns the tree that was packed; one without anything packed stays as it is."""
  is_packed = lambda node: isinstance(node, Packed)  # noqa: E731
  return jax.tree.map(
    lambda node: node.tree() if is_packed(node) else node, tree, is_leaf=is_packed
  )


def has_packed(variables: Any) -> bool:
  """Whether a network's variables are packed."""
  return isinstance(variables[_PARAMS], Packed)


def _is_network(node: Any) -> bool:
  return isinstance(node, dict) and _PARAMS in node
