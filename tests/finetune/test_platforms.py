"""What the programs of an accelerator contain, lowered for it on a CPU and never run."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step
from vipjax.types import VideoSet

# Convolutions of each architecture; of a training step, each has two gradients, but for the first
# one, whose input needs none.
LAYERS = {"resnet18": 20, "resnet50": 53}
SIZE = 32  # pixels: the last maps are smaller than their kernels


@pytest.fixture(scope="module", params=sorted(LAYERS))
def value(request):
  config = ResNetConfig(request.param, 8, 16, stem="small")
  return init_value(jax.random.key(0), config, Preprocessing(SIZE, SIZE))


def programs(function, *arguments):
  """The text of a jitted function's program for each platform, and how many of each operation."""
  traced = function.trace(*arguments)
  for platform in ("cpu", "cuda", "tpu"):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    # [0:4, 0:16:2, ...]: a third number is a stride.
    strided = len(re.findall(r"stablehlo\.slice [^\n]*\d:\d+:[2-9]", text))
    yield platform, text.count("stablehlo.convolution"), strided


def test_the_embedding_has_plain_convolutions(value):
  frames = np.zeros((2, SIZE, SIZE, 3), np.uint8)
  found = list(programs(jax.jit(value.embed_fn), value.variables, frames))
  layers = LAYERS[value.config.arch]
  assert [(convolutions, strided) for _, convolutions, strided in found[1:]] == [(layers, 0)] * 2
  # The CPU has its own forms, or this test would pass whatever they are.
  assert found[0][1] < layers and found[0][2] > 0


def test_the_training_step_has_plain_convolutions(value):
  settings = Settings(batch_size=2, then_resize=0, tcc=TccSettings(frames=4))
  videos = VideoSet(np.zeros((4, 8, SIZE, SIZE, 3), np.uint8), np.full(4, 8, np.int32))
  state = init_state(jax.random.key(0), value, settings)
  found = list(programs(jax.jit(make_train_step(value, settings, 4)), state, videos))
  steps = 3 * LAYERS[value.config.arch] - 1
  assert [(convolutions, strided) for _, convolutions, strided in found[1:]] == [(steps, 0)] * 2
  assert found[0][1] < steps and found[0][2] > 0
