"""The common part of all suites: the machine's peak, the peers, measuring a case; running one."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vipjax.benchmark import measure, peers, results
from vipjax.benchmark.floor import Cost, measure_peak
from vipjax.benchmark.results import OURS, Case
from vipjax.benchmark.workers.worker import memory_mb
from vipjax.encoder import compute_dtype
from vipjax.runtime import places
from vipjax.runtime.errors import UserError, require_among

SUITES = ("embed", "finetune", "sac", "render", "env", "pipeline", "agent", "warp")


class Bench:
  """Measures cases and records skipped peers.

  Attributes:
    peak: the machine's peak.
    pythons: Python interpreters that may have the peers' packages.
    repeats: number of timings of each contender.
    skipped: reasons by name for peers, and arms with missing files, that did not run.
  """

  def __init__(self, repeats: int = 5, peer_pythons: Sequence[str] = (), peak_size: int = 0):
    """Measures the machine's peak.

    Args:
      repeats: number of timings of each contender.
      peer_pythons: Python interpreters that may have the peers' packages; this one is tried last.
      peak_size: size of the matrices that measure the peak; 0 chooses one.
    """
    self.repeats = repeats
    self.skipped: dict[str, str] = {}
    self.pythons = tuple(peer_pythons)
    self.peak = measure_peak(compute_dtype(), peak_size)

  def compare(
    self,
    name: str,
    unit: str,
    amount: float,
    ours: Callable[[], float],
    specs: Sequence[peers.PeerSpec] = (),
    cost: Cost | None = None,
    facts: Mapping[str, Any] | None = None,
  ) -> Case:
    """Times our work against that of the peers that can run.

    Args:
      name, unit, amount, cost, facts: as in `Case`.
      ours: does our work once and returns its seconds.
      specs: the peers.

    Returns:
      The case; `skipped` gets the peers that could not run.
    """
    print(f"measuring {name}", file=sys.stderr, flush=True)
    with peers.start(specs, self.pythons) as (running, skipped):
      self.skipped |= skipped
      forget_peak_memory()
      seconds = self._interleave(ours, running)
      theirs = sum(memory_mb(peer.process_id) for peer in running.values())
      memory = {OURS: memory_mb(os.getpid()) - theirs}
      memory |= {who: peer.memory_mb() for who, peer in running.items()}
      told = {who: peer.facts for who, peer in running.items()}
    return Case(name, unit, amount, seconds, cost, memory, {**(facts or {}), "peers": told})

  def _interleave(self, ours, running) -> dict[str, list[float]]:
    """Runs `measure.interleave`; if a peer fails, it runs all others again without it."""
    while True:
      try:
        return measure.interleave({OURS: ours, **running}, self.repeats)
      except peers.PeerFailed as failure:
        del running[failure.peer]
        self.skipped[failure.peer] = str(failure)


def forget_peak_memory() -> None:
  """Resets the system's record of this process's peak memory (Linux only)."""
  with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/clear_refs").write_text("5")


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
  require_among("a suite", suite, SUITES)
  for python in peer_pythons:
    if not os.access(python, os.X_OK):
      raise UserError(
        f"expected a Python interpreter for --peer_python, got {python}; give another path."
      )
  places.make_folder(pathlib.Path(out))
  bench = Bench(repeats, peer_pythons, peak_size)
  # Imported here, because only the suites of environments need MuJoCo.
  made = importlib.import_module(f"vipjax.benchmark.{suite}").run(bench, **sizes)
  # A suite of hours yields what it has so far.
  for result in [made] if isinstance(made, results.SuiteResult) else made:
    path = results.write(result, out, command)
  return path
