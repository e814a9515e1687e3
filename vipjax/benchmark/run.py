"""Runs a suite and writes its results."""

from __future__ import annotations

import importlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from vipjax.benchmark import results
from vipjax.benchmark.bench import Bench
from vipjax.runtime import places
from vipjax.runtime.errors import UserError

SUITES = ("embed", "finetune", "sac", "render", "env", "pipeline")


def run_suite(
  suite: str,
  out: str | os.PathLike,
  command: str,
  repeats: int = 5,
  peer_pythons: Sequence[str] = (),
  peak_size: int = 0,
  **sizes: Any,
) -> pathlib.Path:
  """Measures one suite.

  Args:
    suite: one of SUITES.
    out: folder of the results.
    command: the command, for the results.
    repeats: number of timings of each contender.
    peer_pythons: Python interpreters that may have the peers' packages.
    peak_size: as for `Bench`.
    **sizes: arguments of the suite's own `run`; published results use its defaults.

  Returns:
    The path of the table; the JSON file is beside it.

  Raises:
    UserError: another suite, a missing Python, or a folder without write access.
  """
  if suite not in SUITES:
    raise UserError(f"expected a suite among {', '.join(SUITES)}, got {suite!r}; choose one.")
  for python in peer_pythons:
    if not os.access(python, os.X_OK):
      raise UserError(
        f"expected a Python interpreter for --peer_python, got {python}; give another path."
      )
  places.make_folder(pathlib.Path(out))
  bench = Bench(repeats, peer_pythons, peak_size)
  # Imported here, because only the suites of environments need MuJoCo.
  result = importlib.import_module(f"vipjax.benchmark.{suite}").run(bench, **sizes)
  return results.write(result, out, command)
