"""What makes a function of a config and a run folder a stage: its work is done once."""

from __future__ import annotations

import functools
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from vipjax.runtime import files, hosts, run_folder
from vipjax.runtime.errors import UserError
from vipjax.stages.sections import check_config


class Resumed(NamedTuple):
  """The result of a stage that goes on where it stopped, and the seconds until it stopped."""

  result: dict[str, Any]
  seconds: float


def stage(name: str) -> Callable[[Callable[..., dict[str, Any] | Resumed]], Callable[..., dict]]:
  """A decorator for work that a run folder notes under a name, with its result and seconds.

  The work takes a config, a run folder and possibly more, and returns a dict that JSON can hold, or
  `Resumed`. The decorated function returns the dict as JSON holds it (NaN is None); from a folder
  where the work is done it returns what was noted, unless it is given `again=True`. It raises
  UserError before any work where the config lacks a key, or has another type or range for it.
  """

  def decorate(work):
    @functools.wraps(work)
    def run(config: ml_collections.ConfigDict, workdir: pathlib.Path, *arguments, again=False):
      if run_folder.stage_done(workdir, name) and not again:
        return run_folder.stage_result(workdir, name)
      check_config(config)
      started = time.monotonic()
      made = work(config, workdir, *arguments)
      result, earlier = made if isinstance(made, Resumed) else (made, 0.0)
      if hosts.is_first():
        run_folder.mark_done(workdir, name, result, earlier + time.monotonic() - started)
      return files.jsonable(result)

    return run

  return decorate


def not_finite(metrics: Mapping[str, float], in_a_row: int, step: int, advice: str) -> UserError:
  """The error of training that has skipped too many updates, up to a step, which had `metrics`."""
  broken = ", ".join(name for name, number in metrics.items() if not np.isfinite(number))
  return UserError(
    f"expected finite losses and gradients, got none in {in_a_row} updates in a row up to step "
    f"{step} (not finite: {broken}); {advice}, and go on from the last checkpoint, which is from "
    "before."
  )
