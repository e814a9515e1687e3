"""The floor under a program's time: its operations and bytes over what this machine can do.

No program is faster than its arithmetic at the machine's best rate, nor than reading its inputs and
writing its results once. Both rates are measured in the same run, by a large matrix product and a
large copy, so that a busy machine lowers the peak along with the program.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Peak:
  """What the machine can do.

  Attributes:
    operations: per second, of a matrix product in `dtype` (a multiplication and its addition are
      two).
    bytes: per second, read and written by a copy.
    dtype: of the matrix product, the compute dtype on this platform.
  """

  operations: float
  bytes: float
  dtype: str


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a program must do at least.

  Attributes:
    operations: as written, before the compiler's changes.
    bytes: of its arguments and results: each has to be moved once.
  """

  operations: float
  bytes: float

  def times(self, count: int) -> Cost:
    """The cost of `count` such programs in a row."""
    return Cost(self.operations * count, self.bytes * count)

  def floor_seconds(self, peak: Peak) -> float:
    """The least time that it can take."""
    return max(self.operations / peak.operations, self.bytes / peak.bytes)


def measure_peak(dtype: Any, size: int = 0, repeats: int = 8) -> Peak:
  """Times a product of two [size, size] matrices, and adding 1 to 16 times as many numbers.

  Args:
    dtype: of the matrices.
    size: of the matrices; 0 is 2048 on a CPU and 8192 on an accelerator.
    repeats: of each; the best counts.
  """
  cpu = jax.default_backend() == "cpu"
  size = size or (2048 if cpu else 8192)
  matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = jax.jit(lambda a, b: a @ b)
  seconds = _best(lambda: product(matrix, matrix), repeats)
  # In place: the pages of a new result would have to be cleared by the system at every turn.
  increment = jax.jit(lambda x: x + 1, donate_argnums=0)
  flat = jnp.zeros(16 * size * size, jnp.float32)
  moved = 2 * flat.nbytes
  copy_seconds = math.inf
  for _ in range(repeats + 1):
    start = time.perf_counter()
    flat = jax.block_until_ready(increment(flat))
    copy_seconds = min(copy_seconds, time.perf_counter() - start)
  return Peak(2 * size**3 / seconds, moved / copy_seconds, jnp.dtype(dtype).name)


def count(function: Callable, *arguments: Any) -> Cost:
  """Counts a jitted function's work at these arguments; it is neither compiled nor run.

  A loop inside the program counts as one round of it.
  """
  lowered = function.lower(*arguments)
  analysis = lowered.cost_analysis() or {}
  moved = jax.tree.leaves((arguments, lowered.out_info))
  return Cost(float(analysis.get("flops", 0.0)), sum(_bytes(leaf) for leaf in moved))


def held_bytes(function: Callable, *arguments: Any) -> int:
  """Bytes that the compiled function holds at its peak: arguments, results and temporaries."""
  memory = function.lower(*arguments).compile().memory_analysis()
  held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
  return held - memory.alias_size_in_bytes


def _bytes(leaf: Any) -> int:
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return 8 * math.prod(leaf.shape)
  return math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize


def _best(run: Callable[[], Any], repeats: int) -> float:
  jax.block_until_ready(run())
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(run())
    seconds.append(time.perf_counter() - start)
  return min(seconds)
