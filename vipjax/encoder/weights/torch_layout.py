"""The official VIP state dict and our Flax variables: the same numbers under other names.

The official state dict has torchvision's ResNet names under `module.convnet.` and PyTorch's
layouts: convolutions [out, in, height, width] and linear weights [out, in]. Ours are
[height, width, in, out] and [in, out].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from vipjax.encoder.resnet import STAGE_SIZES, ResNetConfig
from vipjax.encoder.weights.tensors import check_tensors
from vipjax.runtime.errors import UserError

PREFIX = "module.convnet."
NORM_LEAVES = {
  "weight": ("params", "scale"),
  "bias": ("params", "bias"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
}


def entries(config: ResNetConfig) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
  """Yields (official key, path in our variables, our shape) for every tensor of a network.

  Raises:
    UserError: the network has GroupNorm, for which the official layout has no names.
  """
  if config.norm != "batch":
    raise UserError(
      "The official VIP layout holds BatchNorm networks only, got norm='group': keep this encoder "
      "as an artefact folder."
    )

  def conv(key, path, size, inputs, outputs):
    yield PREFIX + key + ".weight", ("params", *path, "kernel"), (size, size, inputs, outputs)

  def norm(key, path, channels):
    for leaf, (collection, name) in NORM_LEAVES.items():
      yield f"{PREFIX}{key}.{leaf}", (collection, *path, name), (channels,)

  yield from conv("conv1", ("conv1",), 7 if config.stem == "imagenet" else 3, 3, config.width)
  yield from norm("bn1", ("norm1",), config.width)
  bottleneck = config.arch == "resnet50"
  inputs = config.width
  for stage, count in enumerate(STAGE_SIZES[config.arch], 1):
    channels = config.width * 2 ** (stage - 1)
    outputs = channels * (4 if bottleneck else 1)
    layers = (
      ((1, inputs, channels), (3, channels, channels), (1, channels, outputs))
      if bottleneck
      else ((3, inputs, channels), (3, channels, channels))
    )
    for block in range(count):
      key, path = f"layer{stage}.{block}", f"layer{stage}_{block}"
      for i, (size, layer_inputs, layer_outputs) in enumerate(layers, 1):
        layer_inputs = outputs if i == 1 and block > 0 else layer_inputs
        yield from conv(f"{key}.conv{i}", (path, f"conv{i}"), size, layer_inputs, layer_outputs)
        yield from norm(f"{key}.bn{i}", (path, f"norm{i}"), layer_outputs)
      if block == 0 and (stage > 1 or inputs != outputs):
        yield from conv(f"{key}.downsample.0", (path, "project_conv"), 1, inputs, outputs)
        yield from norm(f"{key}.downsample.1", (path, "project_norm"), outputs)
    inputs = outputs
  yield PREFIX + "fc.weight", ("params", "fc", "kernel"), (inputs, config.embedding_dim)
  yield PREFIX + "fc.bias", ("params", "fc", "bias"), (config.embedding_dim,)


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  """Shape in PyTorch's layout of an array of ours."""
  return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def to_torch(array: np.ndarray) -> np.ndarray:
  """An array of ours in PyTorch's layout, contiguous."""
  array = np.asarray(array)
  return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def from_torch(array: np.ndarray) -> np.ndarray:
  """An array in PyTorch's layout in ours, contiguous."""
  return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)


def infer_config(state: Mapping[str, np.ndarray]) -> ResNetConfig:
  """Tells the architecture of an official state dict by its keys and shapes.

  Raises:
    UserError: the keys are not those of a ResNet-18, 34 or 50 of VIP.
  """
  needed = ("conv1.weight", "layer1.0.conv1.weight", "fc.weight")
  missing = [PREFIX + key for key in needed if PREFIX + key not in state]
  if missing:
    raise UserError(
      f"Expected a VIP state dict with keys such as {missing[0]}, got "
      f"{_some(state) or 'no tensors'}: pass the model.pt that VIP released."
    )
  stem, fc = state[PREFIX + "conv1.weight"], state[PREFIX + "fc.weight"]
  if stem.ndim != 4 or fc.ndim != 2:
    raise UserError(
      f"Expected {PREFIX}conv1.weight with 4 axes and {PREFIX}fc.weight with 2, got shapes "
      f"{stem.shape} and {fc.shape}: the file is damaged, fetch it again."
    )
  if PREFIX + "layer1.0.conv3.weight" in state:
    arch = "resnet50"
  else:
    arch = "resnet34" if PREFIX + "layer1.2.conv1.weight" in state else "resnet18"
  return ResNetConfig(
    arch=arch,
    width=stem.shape[0],
    embedding_dim=fc.shape[0],
    stem="imagenet" if stem.shape[2] == 7 else "small",
  )


def from_state_dict(state: Mapping[str, np.ndarray]) -> tuple[ResNetConfig, dict[str, Any]]:
  """Official state dict -> (architecture, Flax variables as float32 numpy arrays).

  `num_batches_tracked` counters are accepted and dropped: nothing depends on them.

  Raises:
    UserError: missing, extra, misshapen or non-finite tensors, or tensors that are not float.
  """
  config = infer_config(state)
  paths = {key: path for key, path, _ in entries(config)}
  shapes = {key: torch_shape(shape) for key, _, shape in entries(config)}
  expected = f"Expected the tensors of a VIP {config.arch}, got"
  advice = "pass the model.pt that VIP released, or fetch it again"
  check_tensors(state, shapes, expected, advice, ignored=_counters(paths))
  arrays = {path: from_torch(np.asarray(state[key], np.float32)) for key, path in paths.items()}
  return config, traverse_util.unflatten_dict(arrays)


def to_state_dict(config: ResNetConfig, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Flax variables -> official state dict of numpy arrays, `num_batches_tracked` (0) included.

  Raises:
    UserError: a network with GroupNorm.
  """
  arrays = traverse_util.flatten_dict(variables)
  state: dict[str, np.ndarray] = {}
  for key, path, _ in entries(config):
    state[key] = to_torch(arrays[path])
    # After running_var, as PyTorch has it.
    state |= {counter: np.zeros((), np.int64) for counter in _counters([key])}
  return state


def _counters(keys: Iterable[str]) -> list[str]:
  """The names of BatchNorm's counters of batches beside those of its running variances."""
  ending = "running_var"
  return [key.removesuffix(ending) + "num_batches_tracked" for key in keys if key.endswith(ending)]


def _some(state: Mapping[str, Any]) -> str:
  """The first few keys, for a message; long or odd keys are cut."""
  return ", ".join(ascii(key)[:60] for key in list(state)[:3])
