"""The floor of a program's time: its operations and bytes over this machine's peak rates.

A program cannot be faster than its arithmetic at the machine's best rate, or than reading its
inputs and writing its results once. A large matrix product and a large copy measure both rates in
the same run, so that a busy machine lowers the peak as it slows the program.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vipjax.runtime.platform import cpu_device, on_cpu


@dataclasses.dataclass(frozen=True)
class Peak:
  """The machine's peak rates.

  Attributes:
    operations: per second, of a matrix product in `dtype` (a multiplication and its addition are
      two).
    bytes: per second, read and written by a copy.
    dtype: dtype of the matrix product, this platform's compute dtype.
  """

  operations: float
  bytes: float
  dtype: str


@dataclasses.dataclass(frozen=True)
class Cost:
  """The least work of a program.

  Attributes:
    operations: as written, before the compiler's changes; None if they cannot be counted.
    bytes: bytes of its arguments and results, each moved once.
  """

  operations: float | None
  bytes: float

  def times(self, count: int) -> Cost:
    """Returns the cost of `count` such programs in a row."""
    operations = None if self.operations is None else self.operations * count
    return Cost(operations, self.bytes * count)

  def floor_seconds(self, peak: Peak) -> float | None:
    """Returns the least time of the program; None without a count of its operations."""
    if self.operations is None:
      return None
    return max(self.operations / peak.operations, self.bytes / peak.bytes)


def measure_peak(dtype: Any, size: int = 0, repeats: int = 8) -> Peak:
  """Times a product of two [size, size] matrices, and adding 1 to 16 times as many numbers.

  Args:
    dtype: dtype of the matrices.
    size: size of the matrices; 0 is 2048 on a CPU and 8192 on an accelerator.
    repeats: number of timings of each; the best counts.
  """
  size = size or (2048 if on_cpu() else 8192)
  matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = jax.jit(lambda a, b: a @ b)
  seconds = _best(lambda: product(matrix, matrix), repeats)
  # In place, because the system clears the pages of a new result every time.
  increment = jax.jit(lambda x: x + 1, donate_argnums=0)
  flat = jnp.zeros(16 * size * size, jnp.float32)
  moved = 2 * flat.nbytes

  def copy() -> jax.Array:
    nonlocal flat
    flat = increment(flat)
    return flat

  copy_seconds = _best(copy, repeats)
  return Peak(2 * size**3 / seconds, moved / copy_seconds, jnp.dtype(dtype).name)


def count(function: Callable, *arguments: Any) -> Cost:
  """Counts a jitted function's work for these arguments without compiling or running it.

  A loop inside the program counts as one iteration. The operations are those of the program for a
  CPU on any machine, because the compilers of accelerators do not report theirs.
  """
  lowered = function.lower(*jax.tree.map(_on_a_cpu, arguments))
  try:
    analysis = lowered.cost_analysis() or {}
  except NotImplementedError:
    analysis = {}
  moved = jax.tree.leaves((arguments, lowered.out_info))
  return Cost(analysis.get("flops"), sum(_bytes(leaf) for leaf in moved))


def _on_a_cpu(leaf: Any) -> Any:
  """Returns the shape and dtype of an array, placed on a CPU if JAX has one."""
  cpu = cpu_device()
  if cpu is None:
    return leaf
  sharding = jax.sharding.SingleDeviceSharding(cpu)
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def held_bytes(function: Callable, *arguments: Any) -> int:
  """Returns the compiled function's peak memory in bytes: arguments, results and temporaries."""
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
