"""Peers: other packages for the same work, each in its own process and possibly its own Python.

A peer's process is a worker script that answers requests through a pipe, one JSON value a line:
"run" does the work once and answers with its seconds, measured in the process, so that our runs
and theirs can take turns. Work may ask back, for what only this side has. This module imports no
peer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_WORKER = pathlib.Path(__file__).parent / "workers" / "worker.py"


@dataclasses.dataclass(frozen=True)
class PeerSpec:
  """Specification of a peer.

  Attributes:
    name: name in the tables.
    work: function of a worker module that prepares the work, as "module.function".
    needs: packages that its Python must have.
    settings: keyword arguments of that function; JSON-able.
  """

  name: str
  work: str
  needs: tuple[str, ...]
  settings: Mapping[str, Any]


class PeerFailed(Exception):
  """A peer could not do its work; the message gives the reason. The suite continues without it.

  Attributes:
    peer: the peer's name.
  """

  def __init__(self, peer: str, reason: str):
    super().__init__(reason)
    self.peer = peer


class Peer:
  """A running peer; calling it does its work once and returns the seconds.

  Attributes:
    facts: what the worker reports at its start: versions of packages, settings.
    process_id: the process's id.
  """

  def __init__(self, spec: PeerSpec, python: str, answer: Callable[[Any], Any] | None = None):
    """Starts the process, which prepares its work.

    Args:
      spec: the peer.
      python: the path of its Python.
      answer: answers what the work asks, JSON values both; None for work that asks nothing.

    Raises:
      PeerFailed: the process failed.
    """
    self._name, self._answer = spec.name, answer
    self._process = subprocess.Popen(
      [python, str(_WORKER)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      # Our device count and import paths must not affect a peer.
      env={k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "PYTHONPATH")},
    )
    self.process_id = self._process.pid
    try:
      request = {"make": spec.work, "settings": dict(spec.settings), "asks": answer is not None}
      self.facts = self._ask(request)
    except BaseException:
      self.close()
      raise

  def __call__(self) -> float:
    return float(self._ask("run"))

  def call(self, method: str, **keywords: Any) -> Any:
    """Calls a method of the peer's work with JSON values and returns its result."""
    return self._ask({"call": method, "keywords": keywords})

  def memory_mb(self) -> float:
    """Returns the peak memory of the peer's processes so far, in MiB."""
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
    answer = self._exchange(request)
    while "question" in answer:
      answer = self._exchange(self._answer(answer["question"]))
    if "error" in answer:
      raise PeerFailed(self._name, answer["error"])
    return answer["value"]

  def _exchange(self, message: Any) -> Any:
    try:
      self._process.stdin.write(json.dumps(message) + "\n")
      self._process.stdin.flush()
      line = self._process.stdout.readline()
    except OSError:
      line = ""
    if not line:
      raise PeerFailed(self._name, f"its process ended with code {self._process.wait()}")
    return json.loads(line)


def find_python(needs: Sequence[str], candidates: Sequence[str]) -> str | None:
  """Returns the first Python that has the packages; None if none has them.

  Args:
    needs: names of modules.
    candidates: paths of Python interpreters, tried before this one.
  """
  # find_spec does not import the packages, which can take many seconds.
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


def absence(needs: Sequence[str]) -> str:
  """Returns what to say where `find_python` finds none."""
  return f"no Python has {', '.join(needs)}: install vipjax[peers], or give --peer_python"


@contextlib.contextmanager
def start(
  specs: Sequence[PeerSpec], candidates: Sequence[str], answer: Callable[[Any], Any] | None = None
) -> Iterator[tuple[dict[str, Peer], dict[str, str]]]:
  """Runs the peers that can run.

  Args:
    specs: the peers.
    candidates: as for `find_python`.
    answer: as for `Peer`.

  Yields:
    The running peers, and the reasons for the skipped ones, by name.
  """
  running, skipped = {}, {}
  with contextlib.ExitStack() as stack:
    for spec in specs:
      python = find_python(spec.needs, candidates)
      if python is None:
        skipped[spec.name] = absence(spec.needs)
        continue
      try:
        peer = Peer(spec, python, answer)
      except PeerFailed as failure:
        skipped[spec.name] = str(failure)
        continue
      stack.callback(peer.close)
      running[spec.name] = peer
    yield running, skipped
