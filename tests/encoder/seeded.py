"""Seeded weights under the official names, as the golden numbers were made with."""

from __future__ import annotations

import functools
import re
import zlib

import numpy as np

from vipjax.encoder.resnet import ResNetConfig
from vipjax.encoder.weights import torch_layout

SMALL = ResNetConfig("resnet18", width=8, embedding_dim=16, stem="small")


@functools.cache
def seeded_state(config: ResNetConfig) -> dict[str, np.ndarray]:
  """Official state dict of a network, filled as follows.

  For each name k without its `module.` prefix, with rng seeded by zlib.crc32(k) and s the shape:
  running_var uniform(0.5, 1.5); running_mean and biases normal * 0.05; BatchNorm scales
  uniform(0.5, 1.5); the rest normal * sqrt(2 / prod(s[1:])) * 0.7; all float32.
  """
  state = {}
  for key, _, shape in torch_layout.entries(config):
    shape = torch_layout.torch_shape(shape)
    rng = np.random.default_rng(zlib.crc32(key.removeprefix("module.").encode()))
    if key.endswith("running_var"):
      array = rng.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
      array = rng.normal(size=shape) * 0.05
    elif len(shape) == 1:
      array = rng.uniform(0.5, 1.5, shape)
    else:
      array = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])) * 0.7
    state[key] = array.astype(np.float32)
  return state


def assert_one_sentence(error) -> None:
  """The message of a UserError is one line: what was expected, what came, what to do."""
  message = str(error.value)
  assert re.fullmatch(r"expected [^\n]+, got [^\n]+; [^\n]+\.", message), message
