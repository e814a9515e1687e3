"""Worker processes that answer messages; one that dies or hangs is replaced and told again."""

from __future__ import annotations

import atexit
import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from vipjax.envs.worker import work
from vipjax.runtime.errors import UserError

# Processes that a message may cost before the fault is taken to be the message's.
_ATTEMPTS = 3


class _Lost(Exception):
  """A worker died or gave no answer; the message says which and how."""


class WorkerPool:
  """One process for each range of rows.

  Attributes:
    processes: the live ones.
  """

  def __init__(self, ranges: Sequence[range], arguments: tuple, seconds: float):
    """Starts them; `close` even where this raises.

    Args:
      ranges: the rows of each worker.
      arguments: those of `worker.work` after the pipe, the rows first left out.
      seconds: within which all must have started.
    """
    self._ranges, self._arguments, self._seconds = list(ranges), arguments, seconds
    self._pipes: list[Any] = []
    self.processes: list[Any] = []
    # They heed no signal, and multiprocessing would wait for them at the end of a failed program.
    atexit.register(self._kill)
    for index in range(len(self._ranges)):
      process, pipe = self._launch(index)
      self.processes.append(process)
      self._pipes.append(pipe)

  def start(self) -> None:
    """Waits until all have started.

    Raises:
      UserError, RuntimeError: one cannot.
    """
    deadline = time.monotonic() + self._seconds
    for index in range(len(self.processes)):
      try:
        self._answer(index, deadline)
      except _Lost as lost:
        raise RuntimeError(str(lost)) from None

  def send(self, message: tuple) -> None:
    """Sends everyone a message; `gather` waits for the answers."""
    for pipe in self._pipes:
      _send(pipe, message)

  def gather(self, seconds: float, again: Callable[[range], Sequence[tuple]]) -> None:
    """Waits for everyone's answer to the last message.

    Args:
      seconds: within which a worker must answer, or it is replaced.
      again: puts the rows of a lost worker back to where they were, and gives the messages with
        which a new one gets to the answer.

    Raises:
      UserError, RuntimeError: what a worker raised.
      RuntimeError: a worker was lost, and those in its place as well.
    """
    deadline = time.monotonic() + seconds
    failures = []
    for index in range(len(self._ranges)):
      try:
        self._answer_or_replace(index, deadline, again)
      except (UserError, RuntimeError) as failure:  # the others' answers are still to be taken
        failures.append(failure)
    if failures:
      raise failures[0]

  def _answer_or_replace(self, index: int, deadline: float, again) -> None:
    try:
      return self._answer(index, deadline)
    except _Lost as lost:
      reason = lost
    for _ in range(_ATTEMPTS - 1):
      logging.warning("%s; a new one takes its place and plays its episodes again.", reason)
      try:
        self._replace(index)
        for message in again(self._ranges[index]):
          _send(self._pipes[index], message)
          self._answer(index, time.monotonic() + self._seconds)
        return None
      except _Lost as lost:
        reason = lost
    raise RuntimeError(f"{reason}; so were {_ATTEMPTS - 1} in its place, at the same step")

  def close(self) -> None:
    """Ends the processes; further calls do nothing."""
    for pipe in self._pipes:
      _send(pipe, ("close", None))
    for process, pipe in zip(self.processes, self._pipes, strict=True):
      process.join(timeout=10)
      if process.is_alive():
        process.kill()
        process.join()
      # Not before: one in the middle of a step still answers.
      pipe.close()
    self.processes, self._pipes = [], []
    atexit.unregister(self._kill)

  def _kill(self) -> None:
    for process in self.processes:
      process.kill()

  def _launch(self, index: int):
    context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    rows = self._ranges[index]
    ours, theirs = context.Pipe()
    process = context.Process(
      target=work, args=(theirs, rows, *self._arguments), daemon=True,
      name=f"environments {rows.start} to {rows.stop - 1}",
    )  # fmt: skip
    process.start()
    theirs.close()
    return process, ours

  def _replace(self, index: int) -> None:
    process = self.processes[index]
    process.kill()  # one that hangs may not heed a request
    process.join()
    self._pipes[index].close()
    self.processes[index], self._pipes[index] = self._launch(index)
    self._answer(index, time.monotonic() + self._seconds)

  def _answer(self, index: int, deadline: float) -> None:
    process, pipe = self.processes[index], self._pipes[index]
    began = time.monotonic()
    while not pipe.poll(0.5):
      if not process.is_alive():
        raise _Lost(f"the worker of {process.name} died with exit code {process.exitcode}")
      if time.monotonic() > deadline:
        waited = time.monotonic() - began
        raise _Lost(f"the worker of {process.name} gave no answer for {waited:.0f} s")
    try:
      failure = pipe.recv()
    except (EOFError, ConnectionResetError):
      raise _Lost(f"the worker of {process.name} has died") from None
    if failure is not None:
      kind, text = failure
      if kind == "user":
        raise UserError(text)
      raise RuntimeError(f"the worker of {process.name} failed:\n{text}")


def _send(pipe, message: tuple) -> None:
  try:
    pipe.send(message)
  except OSError:  # it has died: whoever waits for its answer will see
    pass
