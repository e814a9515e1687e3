"""Selects between the forms of a computation that are fast on CPUs and on accelerators.

Some operations that are common on accelerators are slow in XLA's code for CPUs, so a few
computations have a second form (measured on two cores, jax 0.10; `encoder/layers.py` has the
figures):

- 1x1 convolutions, and 3x3 ones on maps smaller than their kernel, are matrix products. On a GPU
  XLA's own convolutions are faster, and a strided slice before a product fails: with jax 0.11 and
  CUDA 13 its GEMM fusion aborts the process.
- Convolutions in a loop are very slow, so a program is one training step instead of a scan.
- A convolution gains little from a second core, so a call embeds few frames, several threads embed
  side by side, and a policy's updates use one device.
- bfloat16 is emulated.
- Launching a kernel costs nothing, so SAC's updates keep their many small arrays
  (`sac/packed.py`); and all cores train, so nothing is compiled ahead (`stages/ahead.py`).
- A resize computes all before its central crop, as it did when results were measured.

Three forms chosen for CPUs serve all platforms: `layers.max_pool` as shifted maxima (deterministic,
unlike the gradient of XLA's pooling, which adds in any order; not compared on a GPU), resizing as
matrix products, one draw for all fresh weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def on_cpu() -> bool:
  """Returns whether JAX's default device is a CPU."""
  return jax.default_backend() == "cpu"


def cpu_device() -> jax.Device | None:
  """Returns a CPU, whatever the default device; None if JAX_PLATFORMS excludes CPUs."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return None


def cpu_or_accelerator(cpu: Callable, accelerator: Callable, *operands: Any) -> Any:
  """Returns the result of the function for the platform that the program is compiled for.

  JAX traces both functions; the program and its gradient contain only the chosen one.
  """
  return jax.lax.platform_dependent(*operands, cpu=cpu, default=accelerator)
