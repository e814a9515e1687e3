"""Choices between a form that a CPU runs fast and the one that accelerators do: all are made here.

XLA's code for CPUs is slow at what is common on accelerators, so that some computations are written
in another form for it (measured on two cores, jax 0.10; `encoder/layers.py` has the figures):

- 1x1 convolutions, and 3x3 ones on maps smaller than their kernel, are matrix products. On a GPU
  XLA's own convolutions are the fast ones, and the strided slice before a product is a fault: with
  jax 0.11 and CUDA 13 its GEMM fusion aborts the process.
- Convolutions in a loop crawl, so that a program is one training step, not several in a scan.
- A convolution gains little from a second core, so that few frames are embedded at a time, those
  of several threads side by side, and a policy's updates have one device.
- bfloat16 is emulated.

What is the same on all platforms though a CPU was the reason for it: `layers.max_pool` as shifted
maxima (it is deterministic, where the gradient of XLA's pooling adds in any order; not compared on
a GPU), resizing as matrix products, one draw for all fresh weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def on_cpu() -> bool:
  """Whether programs run on a CPU unless they are told otherwise."""
  return jax.default_backend() == "cpu"


def cpu_device() -> jax.Device | None:
  """A CPU, whatever programs run on; None where JAX_PLATFORMS leaves it out."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return None


def cpu_or_accelerator(cpu: Callable, accelerator: Callable, *operands: Any) -> Any:
  """One of two functions of the operands, by the platform that the program is compiled for.

  Both are traced; the program has the chosen one alone, and so has its gradient.
  """
  return jax.lax.platform_dependent(*operands, cpu=cpu, default=accelerator)
