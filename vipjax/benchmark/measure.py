"""Times contenders against one another.

Machines drift: another process starts, the clock slows. So contenders take turns, in an order that
reverses at every repeat, and a ratio is the median of the ratios within each repeat.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vipjax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Spread:
  """Median, quartiles and range of numbers."""

  median: float
  lower_quartile: float
  upper_quartile: float
  least: float
  most: float


def spread(numbers: Any) -> Spread:
  """Returns the Spread of at least one number."""
  quartiles = np.percentile(numbers, [50, 25, 75, 0, 100])
  return Spread(*(float(quartile) for quartile in quartiles))


def ratios(numerator: Any, denominator: Any) -> Spread:
  """Returns the Spread of numerator / denominator, pair by pair."""
  return spread(np.asarray(numerator) / np.asarray(denominator))


def interleave(
  contenders: Mapping[str, Callable[[], float]], repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
  """Runs every contender `warmup` times, then all of them in turns, `repeats` times.

  Args:
    contenders: by name, functions that do their work once and return its seconds.
    repeats: number of timings of each.
    warmup: number of untimed runs before: compilation, caches, thread pools.

  Returns:
    The seconds of each contender; equal positions belong to one turn.

  Raises:
    UserError: fewer than one repeat.
  """
  if repeats < 1:
    raise UserError(f"expected at least 1 repeat, got {repeats}; the default is 5.")
  for run in contenders.values():
    for _ in range(warmup):
      run()
  seconds: dict[str, list[float]] = {name: [] for name in contenders}
  order = list(contenders)
  for turn in range(repeats):
    for name in order if turn % 2 == 0 else reversed(order):
      seconds[name].append(contenders[name]())
  return seconds


def median_seconds(work: Callable[[], float], repeats: int, warmup: int = 2) -> float:
  """Returns the median of a single contender's seconds; arguments as of `interleave`."""
  return spread(interleave({"": work}, repeats, warmup)[""]).median


def timed(function: Callable[..., Any], *arguments: Any, times: int = 1) -> Callable[[], float]:
  """Returns a contender that calls a function `times` times and waits for the last results."""

  def run() -> float:
    start = time.perf_counter()
    for _ in range(times):
      results = function(*arguments)
    jax.block_until_ready(results)
    return time.perf_counter() - start

  return run


def stateful(
  step: Callable[..., tuple[Any, Any]], state: Any, *arguments: Any, times: int = 1
) -> Callable[[], float]:
  """Returns a contender of a step (state, *arguments) -> (state, anything) that passes it on."""

  def work() -> tuple[Any, Any]:
    nonlocal state
    # The step may donate its state, so the old one must not be used again.
    state, results = step(state, *arguments)
    return state, results

  return timed(work, times=times)
