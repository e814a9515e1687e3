"""Peers: what users would run instead, each in a process (and maybe a Python) of its own.

A peer's process is a worker script that answers requests through a pipe, one JSON value a line:
"run" does the work once and answers with the seconds that it took, measured in there, so that runs
of ours and theirs can take turns. No peer is ever imported here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WORKER = pathlib.Path(__file__).parent / "workers" / "worker.py"


@dataclasses.dataclass(frozen=True)
class PeerSpec:
  """What a peer is.

  Attributes:
    name: as the tables show it.
    work: the function of a worker module that makes it, as "module.function".
    needs: packages that the Python it runs in must have.
    settings: keyword arguments of that function; JSON-able.
  """

  name: str
  work: str
  needs: tuple[str, ...]
  settings: Mapping[str, Any]


class PeerFailed(Exception):
  """A peer could not do its work; the message says why. The suite goes on without it.

  Attributes:
    peer: its name.
  """

  def __init__(self, peer: str, reason: str):
    super().__init__(reason)
    self.peer = peer


class Peer:
  """A running peer; calling it does its work once and returns the seconds.

  Attributes:
    facts: what it told of itself at its start: versions of packages, settings.
    process_id: of its process.
  """

  def __init__(self, spec: PeerSpec, python: str):
    """Starts the process and has it prepare its work.

    Raises:
      PeerFailed: it could not.
    """
    self._name = spec.name
    self._process = subprocess.Popen(
      [python, str(_WORKER)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      # Our device count is no business of a peer that uses JAX, nor are our paths of its imports.
      env={k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "PYTHONPATH")},
    )
    self.process_id = self._process.pid
    try:
      self.facts = self._ask({"make": spec.work, "settings": dict(spec.settings)})
    except BaseException:
      self.close()
      raise

  def __call__(self) -> float:
    return float(self._ask("run"))

  def memory_mb(self) -> float:
    """The most memory that the peer's processes have had so far, in MiB."""
    return float(self._ask("memory"))

  def close(self) -> None:
    """Ends the process."""
    with contextlib.suppress(OSError):
      self._process.stdin.close()  # the worker's loop ends with its input
    try:
      self._process.wait(timeout=20)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._process.stdout.close()

  def _ask(self, request: Any) -> Any:
    try:
      self._process.stdin.write(json.dumps(request) + "\n")
      self._process.stdin.flush()
      answer = self._process.stdout.readline()
    except OSError:
      answer = ""
    if not answer:
      raise PeerFailed(self._name, f"its process ended with code {self._process.wait()}")
    answer = json.loads(answer)
    if "error" in answer:
      raise PeerFailed(self._name, answer["error"])
    return answer["value"]


def find_python(needs: Sequence[str], candidates: Sequence[str]) -> str | None:
  """The first Python that has the packages; None where none has.

  Args:
    needs: names of modules.
    candidates: paths of Python interpreters; this one is asked after them.
  """
  # find_spec imports nothing of the packages themselves, which can take many seconds.
  script = f"import importlib.util as i; print(all(i.find_spec(n) for n in {list(needs)!r}))"
  for python in (*candidates, sys.executable):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
      done = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, timeout=60, env=environment
      )
    except (OSError, subprocess.SubprocessError):
      continue
    if done.stdout.strip() == "True":
      return python
  return None


@contextlib.contextmanager
def start(
  specs: Sequence[PeerSpec], candidates: Sequence[str]
) -> Iterator[tuple[dict[str, Peer], dict[str, str]]]:
  """Runs the peers that can be run.

  Args:
    specs: the peers.
    candidates: as for `find_python`.

  Yields:
    The running peers by name; for each other the reason why it was skipped.
  """
  running, skipped = {}, {}
  with contextlib.ExitStack() as stack:
    for spec in specs:
      python = find_python(spec.needs, candidates)
      if python is None:
        skipped[spec.name] = (
          f"no Python has {', '.join(spec.needs)}: install it, or give --peer_python"
        )
        continue
      try:
        peer = Peer(spec, python)
      except PeerFailed as failure:
        skipped[spec.name] = str(failure)
        continue
      stack.callback(peer.close)
      running[spec.name] = peer
    yield running, skipped
