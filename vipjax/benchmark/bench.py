"""What all suites share: the machine's peak, the peers, how a case is measured."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vipjax.benchmark import measure, peers
from vipjax.benchmark.floor import Cost, measure_peak
from vipjax.benchmark.results import OURS, Case
from vipjax.benchmark.workers.worker import memory_mb
from vipjax.encoder import compute_dtype


class Bench:
  """Measures cases and remembers which peers were skipped.

  Attributes:
    peak: what the machine can do.
    repeats: how often each contender is timed.
    skipped: what did not run (peers, arms whose files are not here), with the reason.
  """

  def __init__(self, repeats: int = 5, peer_pythons: Sequence[str] = (), peak_size: int = 0):
    """Measures the machine's peak.

    Args:
      repeats: how often each contender is timed.
      peer_pythons: Python interpreters that may have the peers' packages; this one is asked last.
      peak_size: of the matrices of the peak's measurement; 0 is large enough.
    """
    self.repeats = repeats
    self.skipped: dict[str, str] = {}
    self._pythons = tuple(peer_pythons)
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
    """Times us against the peers that can be run.

    Args:
      name, unit, amount, cost, facts: as in `Case`.
      ours: does our work once and returns the seconds that it took.
      specs: the peers.

    Returns:
      The case; peers that could not run are in `skipped`.
    """
    print(f"measuring {name}", file=sys.stderr, flush=True)
    with peers.start(specs, self._pythons) as (running, skipped):
      self.skipped |= skipped
      forget_peak_memory()
      seconds = self._interleave(ours, running)
      theirs = sum(memory_mb(peer.process_id) for peer in running.values())
      memory = {OURS: memory_mb(os.getpid()) - theirs}
      memory |= {who: peer.memory_mb() for who, peer in running.items()}
      told = {who: peer.facts for who, peer in running.items()}
    return Case(name, unit, amount, seconds, cost, memory, {**(facts or {}), "peers": told})

  def _interleave(self, ours, running) -> dict[str, list[float]]:
    """As `measure.interleave`; a peer that fails on the way is left out and all run again."""
    while True:
      try:
        return measure.interleave({OURS: ours, **running}, self.repeats)
      except peers.PeerFailed as failure:
        del running[failure.peer]
        self.skipped[failure.peer] = str(failure)


def forget_peak_memory() -> None:
  """Has the system count this process's peak memory from now on (Linux only)."""
  with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/clear_refs").write_text("5")
