"""ResNets as torchvision defines them, in Flax Linen, with BatchNorm as PyTorch computes it.

Sources: He et al. 2015 (arXiv:1512.03385); the stride of a bottleneck sits on its 3x3 convolution
("v1.5"), as in torchvision and therefore in VIP. Numbers are held to PyTorch's by golden tests.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder.layers import BatchNorm, Conv, GroupNorm, max_pool
from vipjax.runtime.errors import UserError, require_among

STAGE_SIZES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
  """The architecture of a ResNet encoder.

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
    require_among("a ResNet arch", self.arch, STAGE_SIZES)
    require_among("a ResNet norm", self.norm, ("batch", "group"))
    require_among("a ResNet stem", self.stem, ("imagenet", "small"))
    if type(self.width) is not int or self.width < 8 or self.width % 8:
      raise UserError(
        f"expected a positive multiple of 8 as the ResNet's width, got {self.width!r}; use 64 for "
        "the standard network."
      )
    if type(self.embedding_dim) is not int or self.embedding_dim < 1:
      raise UserError(
        f"expected a positive whole embedding_dim, got {self.embedding_dim!r}; use 1024 as VIP."
      )


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
    def normalize(name, y):
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
      y = normalize(f"norm{i}", y)
      if i < len(layers):
        y = nn.relu(y)
    if self.project:
      x = Conv(layers[-1][0], 1, stride, self.dtype, name="project_conv")(x)
      x = normalize("project_norm", x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """ResNet encoder: normalized frames [B, H, W, 3] -> float32 embeddings [B, D].

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
      config.embedding_dim, kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    )

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Normalized frames [B, H, W, 3] -> embeddings float32 [B, D]."""
    return self.head(self.features(x, train))

  def features(self, x: jax.Array, train: bool = False, stages: int = 4) -> jax.Array:
    """Normalized frames [B, H, W, 3] -> output of a stage, of the last one [B, H/32, W/32, C]."""
    x = nn.relu(self.norm1(self.conv1(x), train))
    if self.config.stem == "imagenet":
      x = max_pool(x)
    return self._stages(x, train, range(1, stages + 1))

  def head(self, features: jax.Array, train: bool = False, stages: int = 4) -> jax.Array:
    """Output [B, h, w, C] of `features` with the same `stages` -> embeddings float32 [B, D]."""
    x = self._stages(features, train, range(stages + 1, 5))
    return self.fc(jnp.mean(x.astype(jnp.float32), (1, 2)))

  def _stages(self, x: jax.Array, train: bool, numbers: range) -> jax.Array:
    for name in self.block_names:
      if int(name.removeprefix("layer").split("_")[0]) in numbers:
        x = getattr(self, name)(x, train)
    return x


def variable_shapes(config: ResNetConfig) -> Any:
  """Shapes and dtypes of the variables, in their nested dicts."""
  return _variable_shapes(config, STAGE_SIZES[config.arch])


@functools.cache
def _variable_shapes(config: ResNetConfig, sizes: tuple[int, ...]) -> Any:
  del sizes  # The network reads them itself: they are a part of the key.
  frames = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)  # no weight depends on their size
  return jax.eval_shape(ResNet(config).init, jax.random.key(0), frames)


def init_variables(key: jax.Array, config: ResNetConfig) -> dict[str, Any]:
  """Fresh variables, distributed as those of `ResNet(config).init` (torchvision's and PyTorch's).

  All convolutions are cut from one draw: one random operation compiles in a second, one for each
  of them in a quarter of a minute.

  Args:
    key: random key, consumed by the weights.
    config: the architecture.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(variable_shapes(config))
  normal_key, uniform_key = jax.random.split(key)
  total = sum(math.prod(leaf.shape) for _, leaf in leaves if len(leaf.shape) == 4)
  normal = np.asarray(jax.random.normal(normal_key, (total,)))
  filled = []
  for path, leaf in leaves:
    name = path[-1].key
    if len(leaf.shape) == 4:
      piece, normal = np.split(normal, [math.prod(leaf.shape)])
      fan_out = leaf.shape[0] * leaf.shape[1] * leaf.shape[3]
      filled.append(jnp.asarray(piece.reshape(leaf.shape) * np.float32(math.sqrt(2 / fan_out))))
    elif name == "kernel":
      bound = 1 / math.sqrt(leaf.shape[0])
      filled.append(jax.random.uniform(uniform_key, leaf.shape, minval=-bound, maxval=bound))
    else:  # scales and variances are 1, biases and means 0
      fill = np.ones if name in ("scale", "var") else np.zeros
      filled.append(jnp.asarray(fill(leaf.shape, np.float32)))
  return jax.tree_util.tree_unflatten(structure, filled)
