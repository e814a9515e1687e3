"""Times the fine-tuning step against the same step in PyTorch, and the cost of TCC."""

from __future__ import annotations

import itertools
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
  scan_steps,
  step_devices,
  steps_per_dispatch,
)
from vipjax.finetune.feed import host_loader
from vipjax.finetune.shares import padded_megabytes
from vipjax.finetune.step import HOST_BATCH_AXES, frames_per_step
from vipjax.runtime import parallel
from vipjax.stages.finetune import placed
from vipjax.types import Video, VideoSet
from vipjax.videos import make_video_set

ABOUT = (
  "One whole step: draw clips of four frames of uint8 videos, crop, resize and embed them, VIP "
  "loss with 3 negatives and norms, gradients, Adam; BatchNorm in training mode. PyTorch (eager, "
  "channels last, fused Adam) does the same on as many clips. This comparison excludes TCC; the "
  "table below gives its cost."
)
VIDEOS, LENGTH = 4, 40
# Clips of 24 frames of 64 pixels: 0.28 MiB each. Above RESIDENT MiB the host loads the batches, as
# with config.data.resident_mb.
VIDEO_COUNTS = (1, 10, 100, 1000, 10_000)
VIDEO_LENGTH, VIDEO_SIZE, RESIDENT = 24, 64, 2048
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
  video_counts: Sequence[int] = VIDEO_COUNTS,
  resident: float = RESIDENT,
) -> SuiteResult:
  """Measures the step.

  Args:
    bench: measures the cases.
    archs: architectures.
    width: width of the networks.
    size: pixels of their input; the videos are 256/224 times as large.
    clips: clips of four frames in a batch.
    tcc_sizes: rows of TCC's table: B videos, K cycles ("all pairs") of T videos, N frames, D.
    video_counts: rows of the table of more videos.
    resident: MiB of videos above which the host loads the batches.
  """
  cases = [_case(bench, ResNetConfig(arch, width), size, clips) for arch in archs]
  rows = [_tcc_row(bench, **sizes) for sizes in tcc_sizes]
  title = "TCC, loss and gradient: K cycles over T of B videos, N frames each, embeddings of size D"
  more = (
    f"More videos, of {VIDEO_LENGTH} frames of {VIDEO_SIZE} pixels (ResNet-18 of width 16, 16 "
    "clips a step)"
  )
  tables = {title: rows, more: [_videos_row(bench, count, resident) for count in video_counts]}
  return SuiteResult("finetune", ABOUT, cases, bench.skipped, bench.peak, tables)


def _case(bench: Bench, config: ResNetConfig, size: int, clips: int) -> Case:
  source = size * 8 // 7
  value = init_value(jax.random.key(0), config, Preprocessing(source, size))
  settings = Settings(batch_size=clips, then_resize=0, tcc=TccSettings(weight=0.0))
  devices = step_devices(4 * clips)
  frames = np.random.default_rng(0).integers(0, 256, (VIDEOS, LENGTH, source, source, 3), np.uint8)
  videos = VideoSet(frames, np.full(VIDEOS, LENGTH, np.int32))
  state = init_state(jax.random.key(1), value, settings)
  # The program for one device has the work of all devices.
  cost = floor.count(jax.jit(make_train_step(value, settings, VIDEOS)), state, videos)
  steps = steps_per_dispatch()
  step = scan_steps(make_train_step(value, settings, VIDEOS), steps)
  step = parallel.compile_step(step, devices)
  ours = measure.stateful(
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
  seconds = measure.median_seconds(measure.timed(program, embeddings), bench.repeats)
  return {
    "B": B, "K": K, "T": T, "N": N, "D": D,
    "ms": 1e3 * seconds,
    "G operations": "not counted" if cost.operations is None else cost.operations / 1e9,
    "MiB": floor.held_bytes(program, embeddings) / 2**20,
    "[K, N, N, D] would be, MiB": (B * (B - 1) * N if cycles is None else K) * N * N * D / 2**18,
  }  # fmt: skip


def _videos_row(bench: Bench, count: int, resident: float) -> dict[str, Any]:
  """Returns the rate of steps with videos on the device, or on the host above `resident`."""
  value = init_value(
    jax.random.key(0), ResNetConfig("resnet18", 16), Preprocessing(VIDEO_SIZE, VIDEO_SIZE)
  )
  settings = Settings(batch_size=16, then_resize=0, tcc=TccSettings(weight=0.0))
  frame = np.random.default_rng(0).integers(0, 256, (VIDEO_SIZE, VIDEO_SIZE, 3), np.uint8)
  # Each video has its own memory.
  videos = [Video(np.tile(frame, (VIDEO_LENGTH, 1, 1, 1))) for _ in range(count)]
  megabytes = padded_megabytes(videos)
  fed = megabytes > resident
  devices = step_devices(frames_per_step(settings, count))
  step = make_train_step(value, settings, count)
  step = parallel.compile_step(step, devices, HOST_BATCH_AXES if fed else None)
  state = init_state(jax.random.key(1), value, settings)
  if fed:
    batches = host_loader(state.key, videos, settings, count, 0, 10**6)
    batches = (placed(batch, devices) for batch in batches)
  else:
    batches = itertools.repeat(parallel.replicate(make_video_set(videos), devices))
  ours = measure.stateful(
    lambda state: step(state, next(batches)), parallel.replicate(state, devices)
  )
  seconds = measure.median_seconds(ours, bench.repeats)
  return {
    "videos": str(count), "MiB": megabytes, "kept": "host" if fed else "device",
    "frames/s": 64 / seconds,
  }  # fmt: skip
