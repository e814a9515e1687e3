"""The fine-tuning step on 2, 4 and 8 devices: the numbers of one, for every loss."""

import dataclasses
import functools
import itertools

import chex
import jax
import numpy as np
import pytest

from vipjax.encoder import L2, Head, Preprocessing, ResNetConfig, init_value
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step
from vipjax.finetune.batch import Batch, Frames
from vipjax.finetune.step import HOST_BATCH_AXES, HostBatch, frames_per_step
from vipjax.runtime import parallel

# 8 frames of clips and 8 of TCC; small steps, because Adam divides by small numbers.
TCC = TccSettings(num_cycles=5, videos_per_cycle=2, frames=4)
BASE = Settings(batch_size=1, background_clips=1, learning_rate=1e-5, then_resize=0, tcc=TCC)
LOSSES = {
  "vip": dataclasses.replace(BASE, batch_size=3, tcc=TccSettings(weight=0.0)),
  "triplet": dataclasses.replace(BASE, batch_size=3, loss="triplet", tcc=TccSettings(weight=0.0)),
  "distillation": dataclasses.replace(
    BASE, batch_size=3, loss="distillation", tcc=TccSettings(weight=0.0)
  ),
  "icvf": dataclasses.replace(
    BASE, batch_size=3, loss="icvf", target_rate=0.5, tcc=TccSettings(weight=0.0)
  ),
  "mse": BASE,
  "mse_var": dataclasses.replace(BASE, tcc=dataclasses.replace(TCC, loss="regression_mse_var")),
  "huber": dataclasses.replace(BASE, tcc=dataclasses.replace(TCC, loss="regression_huber")),
  "classification": dataclasses.replace(BASE, tcc=dataclasses.replace(TCC, loss="classification")),
  "cosine, all pairs": dataclasses.replace(
    BASE, tcc=dataclasses.replace(TCC, similarity="cosine", num_cycles=0)
  ),
}


pytestmark = pytest.mark.usefixtures("one_block")


@functools.cache
def value(seed=0, head=L2):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  made = init_value(jax.random.key(seed), config, Preprocessing(8, 8))
  return made.with_head(head, jax.random.key(1))


def batch_of(settings):
  """A batch made by hand: compiling what draws one takes longer than all the rest."""
  rng = np.random.default_rng(0)
  clips = settings.batch_size + settings.background_clips
  frames = frames_per_step(settings, 2)
  permutations = np.array([np.roll(np.arange(clips), shift) for shift in (1, 2, 0)], np.int32)
  indices, cycles, starts = np.array([[0, 1, 3, 5], [0, 1, 2, 4]], np.int32), None, None
  if settings.tcc.num_cycles:
    cycles = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]], np.int32)
    starts = np.array([0, 1, 2, 3, 1], np.int32)
  if not settings.tcc.weight:
    indices = cycles = starts = None
  reached = (np.arange(2 * clips).reshape(2, clips) == 1) if settings.loss == "icvf" else None
  crop = jax.random.split(jax.random.key(2), frames)
  video, index = np.arange(frames, dtype=np.int32) // 4 % 2, np.arange(frames, dtype=np.int32) % 4
  drawn = Frames(video, index, crop)
  batch = Batch(drawn, permutations, indices, cycles, starts, reached=reached)
  pixels = rng.integers(0, 255, (frames, 12, 12, 3), dtype=np.uint8)
  pixels[8] = pixels[10]  # a step whose outcome shows the same
  return HostBatch(batch, pixels, np.array([6, 5], np.int32))


@functools.cache
def two_steps(loss, train_batch_norm, num_devices):
  """The state after two steps, and the metrics of both."""
  settings = dataclasses.replace(LOSSES[loss], train_batch_norm=train_batch_norm)
  devices = jax.devices()[:num_devices]
  start = value(head=Head("icvf", 0.98, (8,)) if loss == "icvf" else L2)
  step = make_train_step(start, settings, 2, [value(7)])
  step = parallel.compile_step(step, devices, HOST_BATCH_AXES)
  state = parallel.replicate(init_state(jax.random.key(1), start, settings), devices)
  fed, rows = batch_of(settings), []
  data = parallel.replicate(fed._replace(pixels=None), devices)
  data = data._replace(pixels=parallel.shard(fed.pixels, devices))
  for _ in range(2):
    state, metrics = step(state, data)
    rows.append({name: float(metric) for name, metric in metrics.items()})
  parallel.compile_check(devices)(state, 2)
  return jax.device_get(state._replace(key=None)), rows


FEW = [
  *((loss, i % 2 == 0, 8) for i, loss in enumerate(LOSSES)),
  ("mse", True, 2),
  ("mse", True, 4),
]
ALL = [case for case in itertools.product(LOSSES, (True, False), (2, 4, 8)) if case not in FEW]


@pytest.mark.parametrize(
  ("loss", "train_batch_norm", "num_devices"),
  [*FEW, *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL)],
)
def test_many_devices_give_the_numbers_of_one(loss, train_batch_norm, num_devices):
  one, rows_one = two_steps(loss, train_batch_norm, 1)
  many, rows_many = two_steps(loss, train_batch_norm, num_devices)
  for a, b in zip(rows_one, rows_many, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=2e-3, atol=1e-5, err_msg=name)
  # Adam's moments, which are among them, hold the gradients.
  chex.assert_trees_all_close(many, one, rtol=2e-3, atol=5e-5)
