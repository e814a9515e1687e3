"""The number of usable cores."""

from __future__ import annotations

import os


def usable_cores() -> int:
  """Returns the number of cores this process may use; taskset and containers can limit it."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
