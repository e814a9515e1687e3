"""Which devices share a training step, and how many steps one program does."""

from __future__ import annotations

import jax

from vipjax.finetune.step import HostBatch
from vipjax.runtime import parallel
from vipjax.runtime.platform import on_cpu

_ACCELERATOR_STEPS = 10


def steps_per_dispatch() -> int:
  """How many steps one program does: 1 on a CPU, where convolutions in a loop crawl; else 10."""
  return 1 if on_cpu() else _ACCELERATOR_STEPS


def step_devices(frames: int) -> list[jax.Device]:
  """As many devices as can share a batch of so many frames, the same number of each process.

  Raises:
    UserError: the processes cannot share them; it says which numbers of frames they can.
  """
  return parallel.dividing(
    jax.devices(), frames, "frames of a batch (4 per clip, TCC's, progress's)"
  )


def placed(batch: HostBatch, devices: list[jax.Device]) -> HostBatch:
  """The batch on the devices; each gets its share of the frames."""
  rest = parallel.replicate(batch._replace(pixels=None), devices)
  return rest._replace(pixels=parallel.shard(batch.pixels, devices))
