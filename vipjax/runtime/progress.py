"""Shows the progress of long work: items done, rate, remaining time."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import tqdm

from vipjax.runtime import hosts

# Seconds between two lines of a log file; a terminal is redrawn ten times a second.
_LINE_SECONDS = 10.0


class Progress(contextlib.AbstractContextManager):
  """A progress bar on a terminal; a line every ten seconds elsewhere (a log, a pipe).

      with Progress(total=1000, label="finetune", initial=step) as bar:
        bar.update(1, loss=0.3)

  Attributes:
    count: number of items done, including those of an earlier run.
  """

  def __init__(
    self,
    total: int | None,
    label: str,
    *,
    initial: int = 0,
    unit: str = "step",
    file: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts the clock.

    Args:
      total: number of all items, including those done earlier; None if unknown.
      label: name of the work.
      initial: number of items that an earlier run has done; the rate excludes them.
      unit: name of an item.
      file: output; None for standard error (in the first process only).
      clock: returns seconds, monotonic.
    """
    self.count = initial
    self._total, self._label, self._initial, self._unit = total, label, initial, unit
    if file is None:
      file = sys.stderr if hosts.is_first() else open(os.devnull, "w")
    self._file = file
    self._clock = clock
    self._metrics: dict[str, Any] = {}
    self._closed = False
    self._start = self._last_line = clock()
    self._bar = None
    if self._file.isatty():
      self._bar = tqdm.tqdm(
        total=total, desc=label, initial=initial, unit=unit, file=self._file, dynamic_ncols=True
      )

  def update(self, items: int = 1, **metrics: float) -> None:
    """Counts `items` more as done and shows the metrics, scalars of Python, NumPy or JAX.

    It waits for a scalar that a device still computes only if it shows it.
    """
    self.count += items
    if metrics:
      self._metrics = metrics
    if self._bar is not None:
      # tqdm decides when to redraw; only then the metrics are fetched.
      if self._bar.update(items) and metrics:
        self._bar.set_postfix_str(self._postfix(), refresh=False)
    elif self._clock() - self._last_line >= _LINE_SECONDS:
      self._write_line()

  def message(self, text: str) -> None:
    """Writes a separate line without breaking the bar."""
    if self._bar is not None:
      self._bar.write(text, file=self._file)
    else:
      print(text, file=self._file, flush=True)

  def close(self) -> None:
    """Shows the final state. Closing twice does nothing."""
    if self._closed:
      return
    self._closed = True
    if self._bar is not None:
      self._bar.set_postfix_str(self._postfix(), refresh=True)
      self._bar.close()
    else:
      self._write_line()

  def __exit__(self, *unused) -> None:
    self.close()

  def _postfix(self) -> str:
    return ", ".join(f"{name}={float(value):.4g}" for name, value in self._metrics.items())

  def _write_line(self) -> None:
    self._last_line = self._clock()
    line = tqdm.tqdm.format_meter(
      self.count,
      self._total,
      self._last_line - self._start,
      prefix=self._label,
      unit=self._unit,
      initial=self._initial,
      postfix=self._postfix(),
      # A log needs no bar.
      bar_format=None if self._total is None else "{l_bar}{r_bar}",
    )
    print(line.replace("|| ", "| "), file=self._file, flush=True)


def peak_memory_mb() -> float:
  """Returns the peak resident memory of this process and its children, in MiB (an upper bound).

  Call it while worker processes live: the kernel's figure for ended children is useless, because
  it includes the parent's memory at the fork. The greatest sum for living children is remembered
  between calls. Shared pages count once for each process.
  """
  global _most_of_children
  # Kilobytes on Linux, bytes on macOS.
  unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
  own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
  _most_of_children = max(_most_of_children, _children_kilobytes("self") / 1024)
  return own + _most_of_children


_most_of_children = 0.0


def _children_kilobytes(process: str) -> int:
  """Returns the sum of the peaks of all living descendants; 0 without /proc."""
  total = 0
  for task in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
    with contextlib.suppress(OSError):  # the thread or a child has ended
      for child in task.read_text().split():
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        total += (int(peak[1]) if peak else 0) + _children_kilobytes(child)
  return total
