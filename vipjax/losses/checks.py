"""Checks of the arrays that enter a loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime.errors import UserError


def float_array(name: str, values: Any, layout: str, shape: tuple[int | None, ...]) -> jax.Array:
  """Returns `values` as floats of at least 32 bits.

  Args:
    name: of the array, for messages.
    values: array of floats [*shape]; half precision is widened, because exponents follow.
    layout: the expected axes in words, such as "[B, 4, D]".
    shape: the expected shape; None stands for any length from 1 on.

  Raises:
    UserError: the shape or dtype is another one.
  """
  values = jnp.asarray(values)
  _check_shape(name, values.shape, layout, shape)
  if not jnp.issubdtype(values.dtype, jnp.floating):
    raise UserError(f"expected {name} of floats, got {values.dtype}; convert them first.")
  return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def number_array(name: str, values: Any, layout: str, shape: tuple[int | None, ...]) -> jax.Array:
  """Returns integers or floats as floats of at least 32 bits; else as `float_array`."""
  values = jnp.asarray(values)
  if jnp.issubdtype(values.dtype, jnp.integer):
    values = values.astype(jnp.float32)
  return float_array(name, values, layout, shape)


def index_array(
  name: str, values: Any, layout: str, shape: tuple[int | None, ...], size: int
) -> jax.Array:
  """Returns `values` as int32 indices in [0, size).

  The range is checked where the numbers are known: always outside jit, and inside for constants.
  (JAX clamps an index that is out of range, so that nobody would notice.)

  Args:
    name: of the array, for messages.
    values: integers [*shape].
    layout: the expected axes in words, such as "[K, T]".
    shape: the expected shape; None stands for any length from 1 on.
    size: length of the axis that they index.

  Raises:
    UserError: the shape, the dtype or a value is wrong.
  """
  array = jnp.asarray(values)
  _check_shape(name, array.shape, layout, shape)
  if not jnp.issubdtype(array.dtype, jnp.integer):
    raise UserError(f"expected {name} of integers, got {array.dtype}; convert them first.")
  if not isinstance(values, jax.core.Tracer):
    known = np.asarray(values)
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= size:
      raise UserError(
        f"expected {name} to hold indices from 0 to {size - 1}, got {low} to {high}; draw them for "
        "this batch."
      )
  return array.astype(jnp.int32)


def _check_shape(
  name: str, given: tuple[int, ...], layout: str, shape: tuple[int | None, ...]
) -> None:
  matches = len(given) == len(shape) and all(
    length >= 1 if wanted is None else length == wanted
    for length, wanted in zip(given, shape, strict=True)
  )
  if not matches:
    wanted = ", ".join("any" if length is None else str(length) for length in shape)
    raise UserError(
      f"expected {name} of shape {layout} (here [{wanted}]), got {list(given)}; check the order of "
      "the axes and the batch size."
    )
