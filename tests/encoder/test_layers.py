"""Layers that are written otherwise than XLA's own operations give the same numbers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.encoder.layers import Conv, max_pool


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 2), (3, 2), (2, 5), (4, 4), (4, 3), (5, 5)])
def test_a_convolution_of_a_small_map_and_its_gradients(height, width, stride):
  keys = jax.random.split(jax.random.key(0), 2)
  x = jax.random.normal(keys[0], (2, height, width, 3))
  module = Conv(4, 3, stride)
  variables = module.init(keys[1], x)

  def expected(variables, x):
    return jax.lax.conv_general_dilated(
      x, variables["params"]["kernel"], (stride, stride), ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

  np.testing.assert_allclose(module.apply(variables, x), expected(variables, x), atol=1e-5)
  gradients = [
    jax.grad(lambda v, x, f=f: jnp.sum(jnp.sin(f(v, x))), (0, 1))(variables, x)
    for f in (module.apply, expected)
  ]
  chex.assert_trees_all_close(*gradients, atol=1e-5)


def test_pooling_and_its_gradients_are_those_of_xla():
  # Whole numbers: many are equal within a window, of which the first one has the gradient.
  x = jax.random.randint(jax.random.key(0), (2, 9, 8, 3), 0, 3).astype(jnp.float32)

  def expected(x):
    return jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )

  np.testing.assert_array_equal(max_pool(x), expected(x))
  factors = jax.random.normal(jax.random.key(1), expected(x).shape)
  ours, theirs = (
    jax.jit(jax.grad(lambda x, f=f: jnp.sum(factors * f(x))))(x + 1) for f in (max_pool, expected)
  )
  np.testing.assert_allclose(ours, theirs, atol=1e-6)
