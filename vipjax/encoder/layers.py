"""Layers that compute as PyTorch's do, in forms that XLA is fast at on a CPU too."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vipjax.runtime.platform import cpu_or_accelerator

EPSILON = 1e-5  # of BatchNorm and GroupNorm, PyTorch's default
MOMENTUM = 0.1  # weight of the new batch in the running statistics, PyTorch's default


class Conv(nn.Module):
  """Convolution [B, H, W, C_in] -> [B, H', W', C_out] with PyTorch's symmetric padding k // 2."""

  features: int
  size: int
  stride: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param(
      "kernel",
      nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      (self.size, self.size, x.shape[-1], self.features),
    )
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    return _convolution(x, kernel, self.stride)


def _convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """[B, H, W, C_in] and [k, k, C_in, C_out] -> [B, H', W', C_out], padding k // 2."""
  size = kernel.shape[0]

  def plain(x, kernel):
    padding = ((size // 2, size // 2),) * 2
    return jax.lax.conv_general_dilated(
      x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

  if size == 1:
    form = _by_pixels
  elif size == 3 and min(x.shape[1:3]) <= 2 * stride:
    form = _by_patches
  else:
    return plain(x, kernel)
  return cpu_or_accelerator(functools.partial(form, stride=stride), plain, x, kernel)


def _by_pixels(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """A 1x1 convolution as a matrix product over flat pixels.

  XLA on a CPU takes 2 to 4 times as long for the convolution and its gradients.
  """
  x = x[:, ::stride, ::stride]
  return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)


def _by_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """A 3x3 convolution, padding 1, as one matrix product over the patches of a small map.

  On maps smaller than the kernel XLA's convolution and its gradients leave their fast path on a
  CPU: [96, 2, 2, 128] takes 10 times as long, [32, 2, 2, 512] 80 times (one core, jax 0.10).
  """
  height, width = (-(-size // stride) for size in x.shape[1:3])
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  patches = [
    padded[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
    for i in range(3)
    for j in range(3)
  ]
  flat = jnp.concatenate(patches, -1).reshape(-1, 9 * x.shape[-1])
  return (flat @ kernel.reshape(flat.shape[-1], -1)).reshape(len(x), height, width, -1)


class BatchNorm(nn.Module):
  """BatchNorm over [B, H, W] with PyTorch's running statistics.

  In training the batch is normalized by its own mean and *biased* variance, and the running
  variance receives the *unbiased* one, both with momentum 0.1 (Linen's own BatchNorm stores the
  biased one). With `axis_name` the statistics are those of the batch over all devices of that
  axis. Statistics are computed in float32 whatever the dtype.
  """

  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    channels = (x.shape[-1],)
    scale = self.param("scale", nn.initializers.ones_init(), channels)
    bias = self.param("bias", nn.initializers.zeros_init(), channels)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
    running_var = self.variable("batch_stats", "var", jnp.ones, channels)
    if train and not self.is_initializing():
      mean, var, count = self._batch_statistics(x.astype(jnp.float32), running_mean.value)
      unbiased = var * (count / jnp.maximum(count - 1, 1))
      running_mean.value = (1 - MOMENTUM) * running_mean.value + MOMENTUM * mean
      running_var.value = (1 - MOMENTUM) * running_var.value + MOMENTUM * unbiased
    else:
      mean, var = running_mean.value, running_var.value
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    mean, factor, bias = (jnp.reshape(vector, (1, 1, 1, -1)) for vector in (mean, factor, bias))
    return ((x.astype(jnp.float32) - mean) * factor + bias).astype(self.dtype)

  def _batch_statistics(self, x: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """Mean [C], biased variance [C] and number of values per channel, over all devices.

    One pass over x: E[(x - shift)^2] - E[x - shift]^2, exact for any constant shift. The running
    mean is near the mean, so that the difference of the two squares loses no digits.
    """
    count = math.prod(x.shape[:-1])
    centered = x - jnp.reshape(shift, (1, 1, 1, -1))
    moments = jnp.stack([jnp.mean(centered, (0, 1, 2)), jnp.mean(jnp.square(centered), (0, 1, 2))])
    if self.axis_name is not None:
      moments = jax.lax.pmean(moments, self.axis_name)
      count = count * jax.lax.psum(1, self.axis_name)
    var = jnp.maximum(moments[1] - jnp.square(moments[0]), 0.0)
    return moments[0] + shift, var, count


class GroupNorm(nn.Module):
  """GroupNorm (arXiv:1803.08494) with at most 32 groups of at least 4 channels."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    del train  # the same in both modes
    groups = math.gcd(32, x.shape[-1] // 4)
    return nn.GroupNorm(groups, epsilon=EPSILON, dtype=self.dtype, name="group")(x)


@jax.custom_jvp
def _first_maximum(a: jax.Array, b: jax.Array) -> jax.Array:
  """The maximum, whose gradient goes to `a` alone where both are equal, as PyTorch's pooling has
  it (JAX's own halves it, which also takes longer)."""
  return jnp.maximum(a, b)


@_first_maximum.defjvp
def _first_maximum_jvp(primals, tangents):
  a, b = primals
  return _first_maximum(a, b), jnp.where(a >= b, *tangents)


def max_pool(x: jax.Array) -> jax.Array:
  """3x3 max-pooling, stride 2, padding 1: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C].

  Of equal values in a window the first one, row by row, gets the gradient. Written as maxima of
  shifted slices: the gradient of XLA's reduce_window (select-and-scatter) took 17 times as long on
  a CPU ([4, 112, 112, 64], one core). `x` must be >= 0 (it follows a ReLU), so padding is 0.
  """
  for axis in (2, 1):  # within rows first: the first maximum of the first row that has it
    out = (x.shape[axis] + 1) // 2
    pad = [(0, 0)] * 4
    pad[axis] = (1, 2 * out - x.shape[axis])
    padded = jnp.pad(x, pad)
    shifted = [
      jax.lax.slice_in_dim(padded, i, i + 2 * out - 1, stride=2, axis=axis) for i in range(3)
    ]
    x = _first_maximum(_first_maximum(shifted[0], shifted[1]), shifted[2])
  return x
