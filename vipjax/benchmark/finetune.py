"""The fine-tuning step against the same step in PyTorch, and what TCC costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax import losses
from vipjax.benchmark import floor, measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import Case, SuiteResult
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import (
  Settings,
  TccSettings,
  init_state,
  make_train_step,
  repeat,
  step_devices,
  steps_per_dispatch,
)
from vipjax.runtime import parallel
from vipjax.types import VideoSet

ABOUT = (
  "One whole step: draw clips of four frames of uint8 videos, crop, resize and embed them, VIP "
  "loss with 3 negatives and norms, gradients, Adam; BatchNorm in training mode. PyTorch (eager, "
  "channels last, fused Adam) does the same on as many clips. TCC is left out of this comparison; "
  "its own cost stands in the table below."
)
VIDEOS, LENGTH = 4, 40
# K cycles of T videos; N frames of each of B videos; embeddings of size D.
TCC_SIZES = (
  {"B": 4, "K": 20, "T": 4, "N": 16, "D": 1024},
  {"B": 4, "K": 80, "T": 4, "N": 16, "D": 1024},
  {"B": 8, "K": 20, "T": 8, "N": 16, "D": 1024},
  {"B": 4, "K": 20, "T": 4, "N": 64, "D": 1024},
  {"B": 4, "K": 20, "T": 4, "N": 16, "D": 128},
  {"B": 4, "K": "all pairs", "T": 2, "N": 16, "D": 1024},
)


def run(
  bench: Bench,
  archs: Sequence[str] = ("resnet18", "resnet50"),
  width: int = 64,
  size: int = 224,
  clips: int = 4,
  tcc_sizes: Sequence[dict[str, Any]] = TCC_SIZES,
) -> SuiteResult:
  """Measures the step.

  Args:
    bench: measures.
    archs: architectures.
    width: of the networks.
    size: pixels of their input; the videos are 256/224 times as large.
    clips: of four frames in a batch.
    tcc_sizes: rows of TCC's table: B videos, K cycles ("all pairs") of T videos, N frames, D.
  """
  cases = [_case(bench, ResNetConfig(arch, width), size, clips) for arch in archs]
  rows = [_tcc_row(bench, **sizes) for sizes in tcc_sizes]
  title = "TCC, loss and gradient: K cycles over T of B videos, N frames each, embeddings of size D"
  return SuiteResult("finetune", ABOUT, cases, bench.skipped, bench.peak, {title: rows})


def _case(bench: Bench, config: ResNetConfig, size: int, clips: int) -> Case:
  source = size * 8 // 7
  value = init_value(jax.random.key(0), config, Preprocessing(source, size))
  settings = Settings(batch_size=clips, tcc=TccSettings(weight=0.0))
  devices = step_devices(4 * clips)
  frames = np.random.default_rng(0).integers(0, 256, (VIDEOS, LENGTH, source, source, 3), np.uint8)
  videos = VideoSet(frames, np.full(VIDEOS, LENGTH, np.int32))
  state = init_state(jax.random.key(1), value, settings)
  # One device's program has the work of all of them.
  cost = floor.count(jax.jit(make_train_step(value, settings, VIDEOS)), state, videos)
  steps = steps_per_dispatch()
  step = repeat(make_train_step(value, settings, VIDEOS, len(devices)), steps)
  step = parallel.compile_step(step, devices)
  ours = measure.Stateful(
    step, parallel.replicate(state, devices), parallel.replicate(videos, devices)
  )
  theirs = {
    "arch": config.arch, "width": config.width, "embedding_dim": config.embedding_dim,
    "videos": VIDEOS, "length": LENGTH, "source": source, "size": size, "clips": clips,
    "negatives": settings.num_negatives, "steps": steps,
  }  # fmt: skip
  peer = PeerSpec("PyTorch", "pytorch.train", ("torch", "numpy"), theirs)
  return bench.compare(
    f"{config.arch} at {size} px, {clips} clips", "frames", 4 * clips * steps, ours, [peer],
    cost.times(steps), {"devices": len(devices), "steps_per_dispatch": steps},
  )  # fmt: skip


def _tcc_row(bench: Bench, B: int, K: int | str, T: int, N: int, D: int) -> dict[str, Any]:
  embeddings = jax.random.normal(jax.random.key(0), (B, N, D))
  positions = jnp.tile(jnp.arange(N), (B, 1))
  lengths = jnp.full(B, N)
  cycles = starts = None
  if K != "all pairs":
    rng = np.random.default_rng(0)
    cycles = jnp.asarray([rng.permutation(B)[:T] for _ in range(K)])
    starts = jnp.asarray(rng.integers(0, N, K))

  def loss(embeddings):
    return losses.tcc_loss(embeddings, positions, lengths, cycles, starts)[0]

  program = jax.jit(jax.value_and_grad(loss))
  cost = floor.count(program, embeddings)
  seconds = measure.interleave({"ours": measure.timed(program, embeddings)}, bench.repeats)["ours"]
  return {
    "B": B, "K": K, "T": T, "N": N, "D": D,
    "ms": 1e3 * measure.spread(seconds).median,
    "G operations": cost.operations / 1e9,
    "MiB": floor.held_bytes(program, embeddings) / 2**20,
    "[K, N, N, D] would be, MiB": (B * (B - 1) * N if cycles is None else K) * N * N * D / 2**18,
  }  # fmt: skip
