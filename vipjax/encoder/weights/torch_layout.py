"""The official VIP state dict and our Flax variables: the same numbers, names of two kinds.

The official state dict has torchvision's ResNet names under `module.convnet.` and PyTorch's
layouts: convolutions [out, in, height, width] and linear weights [out, in]. Ours are
[height, width, in, out] and [in, out].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from vipjax.encoder.resnet import ResNetConfig, variable_shapes
from vipjax.encoder.weights.tensors import check_tensors
from vipjax.runtime.errors import UserError

PREFIX = "module.convnet."
# Our names -> theirs, one after the other; the rest is the same.
_MODULES = {"project_conv": "downsample.0", "project_norm": "downsample.1", "norm": "bn", "_": "."}
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
# The order of a state dict, at each level of its names.
_ORDER = (
  "conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample",
  "layer1", "layer2", "layer3", "layer4", "fc", "weight", "bias", "running_mean", "running_var",
)  # fmt: skip


def entries(config: ResNetConfig) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
  """(official key, path in our variables, our shape) of every tensor of a network, in their order.

  Raises:
    UserError: the network has GroupNorm, for which the official layout has no names.
  """
  if config.norm != "batch":
    raise UserError(
      "expected a BatchNorm network, as the official VIP layout has no names for others, got "
      "norm='group'; keep this encoder as an artefact folder."
    )
  leaves = traverse_util.flatten_dict(variable_shapes(config))
  found = [(_official_key(path), path, leaf.shape) for path, leaf in leaves.items()]
  return sorted(found, key=lambda entry: _place(entry[0]))


def _official_key(path: tuple[str, ...]) -> str:
  """("params", "layer1_0", "norm1", "scale") -> "module.convnet.layer1.0.bn1.weight"."""
  _, *modules, leaf = path
  name = ".".join(modules)
  for ours, theirs in _MODULES.items():
    name = name.replace(ours, theirs)
  return f"{PREFIX}{name}.{_LEAVES.get(leaf, leaf)}"


def _place(key: str) -> list[int]:
  parts = key.removeprefix(PREFIX).split(".")
  return [int(part) if part.isdigit() else _ORDER.index(part) for part in parts]


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape in PyTorch's layout of an array of ours."""
  return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def to_torch(array: np.ndarray) -> np.ndarray:
  """The array in PyTorch's layout, contiguous."""
  array = np.asarray(array)
  return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def from_torch(array: np.ndarray) -> np.ndarray:
  """The array, which is in PyTorch's layout, in ours, contiguous."""
  return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)


def infer_config(state: Mapping[str, np.ndarray]) -> ResNetConfig:
  """The architecture of an official state dict, by its keys and shapes.

  Raises:
    UserError: the keys are not those of a ResNet-18, 34 or 50 of VIP.
  """
  needed = ("conv1.weight", "layer1.0.conv1.weight", "fc.weight")
  missing = [PREFIX + key for key in needed if PREFIX + key not in state]
  if missing:
    raise UserError(
      f"expected a VIP state dict with keys such as {missing[0]}, got "
      f"{_some(state) or 'no tensors'}; pass the model.pt that VIP released."
    )
  stem, fc = state[PREFIX + "conv1.weight"], state[PREFIX + "fc.weight"]
  if stem.ndim != 4 or fc.ndim != 2:
    raise UserError(
      f"expected {PREFIX}conv1.weight with 4 axes and {PREFIX}fc.weight with 2, got shapes "
      f"{stem.shape} and {fc.shape}; fetch the damaged file again."
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
  expected = f"the tensors of a VIP {config.arch}"
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
