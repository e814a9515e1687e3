"""ResNets as torchvision defines them, in Flax Linen, with BatchNorm as PyTorch computes it.

Sources: He et al. 2015 (arXiv:1512.03385); the stride of a bottleneck sits on its 3x3 convolution
("v1.5"), as in torchvision and therefore in VIP. Numbers are held to PyTorch's by golden tests.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vipjax.runtime.errors import UserError

STAGE_SIZES = {
  "resnet18": (2, 2, 2, 2),
  "resnet34": (3, 4, 6, 3),
  "resnet50": (3, 4, 6, 3),
}
EPSILON = 1e-5  # of BatchNorm and GroupNorm, PyTorch's default
MOMENTUM = 0.1  # weight of the new batch in the running statistics, PyTorch's default


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
  """What a ResNet encoder looks like.

  Attributes:
    arch: "resnet18", "resnet34" or "resnet50".
    width: channels of the first stage, a multiple of 8; torchvision's is 64.
    embedding_dim: size D of the embedding; VIP's is 1024.
    norm: "batch" (as released) or "group" (no statistics that couple the batch).
    stem: "imagenet" = 7x7 stride 2 and 3x3 max-pooling stride 2 (frames of about 224 pixels);
      "small" = 3x3 stride 2 without pooling (frames of 64 to 128 pixels).

  Raises:
    UserError: a field has another value than those named above.
  """

  arch: str = "resnet50"
  width: int = 64
  embedding_dim: int = 1024
  norm: str = "batch"
  stem: str = "imagenet"

  def __post_init__(self):
    for name, allowed in (
      ("arch", tuple(STAGE_SIZES)),
      ("norm", ("batch", "group")),
      ("stem", ("imagenet", "small")),
    ):
      if getattr(self, name) not in allowed:
        raise UserError(
          f"ResNet {name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}: "
          "choose one of these."
        )
    if type(self.width) is not int or self.width < 8 or self.width % 8:
      raise UserError(
        f"ResNet width must be a positive multiple of 8, got {self.width!r}: use 64 for the "
        "standard network."
      )
    if type(self.embedding_dim) is not int or self.embedding_dim < 1:
      raise UserError(
        f"embedding_dim must be a positive integer, got {self.embedding_dim!r}: use 1024 as VIP."
      )

  @property
  def feature_dim(self) -> int:
    """Channels of the last convolutional stage."""
    return self.width * 8 * (4 if self.arch == "resnet50" else 1)


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
    if self.size == 1:
      # A matrix product over flat pixels: XLA on a CPU takes 2 to 4 times as long for the 1x1
      # convolution and its gradients.
      x = x[:, :: self.stride, :: self.stride]
      return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], self.features)
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (self.stride, self.stride),
      ((self.size // 2, self.size // 2),) * 2,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


class BatchNorm(nn.Module):
  """BatchNorm over [B, H, W] with PyTorch's running statistics.

  In training the batch is normalised by its own mean and *biased* variance, and the running
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
    return ((x.astype(jnp.float32) - mean) * factor + bias).astype(self.dtype)

  def _batch_statistics(self, x: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """Mean [C], biased variance [C] and number of values per channel, over all devices.

    One pass over x: E[(x - shift)^2] - E[x - shift]^2, exact for any constant shift. The running
    mean is near the mean, so that the difference of the two squares loses no digits.
    """
    count = math.prod(x.shape[:-1])
    centered = x - shift
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


class Block(nn.Module):
  """A residual block: two 3x3 convolutions, or with `bottleneck` 1x1, 3x3 and 1x1."""

  channels: int
  stride: int
  bottleneck: bool
  project: bool
  norm: str
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    def normalise(name, y):
      if self.norm == "group":
        return GroupNorm(self.dtype, name=name)(y, train)
      return BatchNorm(self.axis_name, self.dtype, name=name)(y, train)

    out, stride = self.channels, self.stride
    if self.bottleneck:
      layers = ((out, 1, 1), (out, 3, stride), (4 * out, 1, 1))
    else:
      layers = ((out, 3, stride), (out, 3, 1))
    y = x
    for i, (features, size, step) in enumerate(layers, 1):
      y = Conv(features, size, step, self.dtype, name=f"conv{i}")(y)
      y = normalise(f"norm{i}", y)
      if i < len(layers):
        y = nn.relu(y)
    if self.project:
      x = Conv(layers[-1][0], 1, stride, self.dtype, name="project_conv")(x)
      x = normalise("project_norm", x)
    return nn.relu(x + y)


def max_pool(x: jax.Array) -> jax.Array:
  """3x3 max-pooling, stride 2, padding 1: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C].

  Written as maxima of shifted slices, rows then columns: the gradient of XLA's reduce_window
  (select-and-scatter) is slow on a CPU. `x` must be >= 0 (it follows a ReLU), so padding is 0.
  """
  for axis in (1, 2):
    out = (x.shape[axis] + 1) // 2
    pad = [(0, 0)] * 4
    pad[axis] = (1, 2 * out - x.shape[axis])
    padded = jnp.pad(x, pad)
    shifted = [
      jax.lax.slice_in_dim(padded, i, i + 2 * out - 1, stride=2, axis=axis) for i in range(3)
    ]
    x = jnp.maximum(jnp.maximum(shifted[0], shifted[1]), shifted[2])
  return x


class ResNet(nn.Module):
  """ResNet encoder: normalised frames [B, H, W, 3] -> float32 embeddings [B, D].

  Variables: "params" (float32) and, with BatchNorm, "batch_stats". To train, apply with
  `train=True, mutable=["batch_stats"]`; BatchNorm is frozen by `train=False`, which still lets
  gradients reach its scale and bias.

  Attributes:
    config: the architecture.
    axis_name: device axis over which BatchNorm statistics are synced, None for per device.
    dtype: compute dtype of the convolutions (bfloat16 on accelerators); the head is float32.
  """

  config: ResNetConfig
  axis_name: str | None = None
  dtype: Any = jnp.float32

  def setup(self):
    config = self.config
    imagenet = config.stem == "imagenet"
    self.conv1 = Conv(config.width, 7 if imagenet else 3, 2, self.dtype)
    if config.norm == "group":
      self.norm1 = GroupNorm(self.dtype)
    else:
      self.norm1 = BatchNorm(self.axis_name, self.dtype)
    names, inputs = [], config.width
    for stage, size in enumerate(STAGE_SIZES[config.arch]):
      channels = config.width * 2**stage
      outputs = channels * (4 if config.arch == "resnet50" else 1)
      for i in range(size):
        stride = 2 if stage > 0 and i == 0 else 1
        block = Block(
          channels=channels,
          stride=stride,
          bottleneck=config.arch == "resnet50",
          project=stride != 1 or inputs != outputs,
          norm=config.norm,
          axis_name=self.axis_name,
          dtype=self.dtype,
        )
        names.append(f"layer{stage + 1}_{i}")
        setattr(self, names[-1], block)
        inputs = outputs
    self.block_names = tuple(names)
    # PyTorch's nn.Linear starts uniform in +-1 / sqrt(inputs), which is this variance.
    self.fc = nn.Dense(
      config.embedding_dim,
      kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
    )

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Normalised frames [B, H, W, 3] -> embeddings float32 [B, D]."""
    return self.head(self.features(x, train))

  def features(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Normalised frames [B, H, W, 3] -> last convolutional stage [B, H/32, W/32, C]."""
    x = nn.relu(self.norm1(self.conv1(x), train))
    if self.config.stem == "imagenet":
      x = max_pool(x)
    for name in self.block_names:
      x = getattr(self, name)(x, train)
    return x

  def head(self, features: jax.Array) -> jax.Array:
    """Last convolutional stage [B, h, w, C] -> embeddings float32 [B, D]."""
    return self.fc(jnp.mean(features.astype(jnp.float32), (1, 2)))
