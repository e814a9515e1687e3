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

from vipjax.runtime.platform import cpu_device, on_cpu


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
    operations: as written, before the compiler's changes; None where they cannot be counted.
    bytes: of its arguments and results: each has to be moved once.
  """

  operations: float | None
  bytes: float

  def times(self, count: int) -> Cost:
    """The cost of `count` such programs in a row."""
    operations = None if self.operations is None else self.operations * count
    return Cost(operations, self.bytes * count)

  def floor_seconds(self, peak: Peak) -> float | None:
    """The least time that it can take; None where its operations are not counted."""
    if self.operations is None:
      return None
    return max(self.operations / peak.operations, self.bytes / peak.bytes)


def measure_peak(dtype: Any, size: int = 0, repeats: int = 8) -> Peak:
  """Times a product of two [size, size] matrices, and adding 1 to 16 times as many numbers.

  Args:
    dtype: of the matrices.
    size: of the matrices; 0 is 2048 on a CPU and 8192 on an accelerator.
    repeats: of each; the best counts.
  """
  size = size or (2048 if on_cpu() else 8192)
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

  A loop inside the program counts as one round of it. Operations are those of the program for a
  CPU, whatever this machine computes on: the compilers of accelerators do not say theirs.
  """
  lowered = function.lower(*jax.tree.map(_on_a_cpu, arguments))
  try:
    analysis = lowered.cost_analysis() or {}
  except NotImplementedError:
    analysis = {}
  moved = jax.tree.leaves((arguments, lowered.out_info))
  return Cost(analysis.get("flops"), sum(_bytes(leaf) for leaf in moved))


def _on_a_cpu(leaf: Any) -> Any:
  """The shape and dtype of an array that lies on a CPU, where JAX knows one."""
  cpu = cpu_device()
  if cpu is None:
    return leaf
  sharding = jax.sharding.SingleDeviceSharding(cpu)
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


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
