"""Worker processes that answer messages; a worker that dies or hangs is replaced."""

from __future__ import annotations

import atexit
import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from vipjax.envs.worker import Drawer, Stepper, work
from vipjax.runtime.errors import UserError

# After a message has cost this many processes, the message itself is taken to be at fault.
_ATTEMPTS = 3


class _Lost(Exception):
  """A worker died or did not answer; the message says which one and how."""


class WorkerPool:
  """One process for each range of rows.

  Attributes:
    processes: those that run now.
  """

  def __init__(
    self, kind: type[Stepper | Drawer], ranges: Sequence[range], arguments: tuple, seconds: float
  ):
    """Starts the processes; call `close` even if this raises.

    Args:
      kind: what each worker makes of its rows.
      ranges: the rows of each worker.
      arguments: the arguments of `worker.work` after the rows.
      seconds: the time in which all must have started.
    """
    self._kind, self._seconds = kind, seconds
    self._ranges, self._arguments = list(ranges), arguments
    self._pipes: list[Any] = []
    self.processes: list[Any] = []
    # Workers ignore signals, and multiprocessing waits for them at the end of a failed program.
    atexit.register(self._kill)
    for index in range(len(self._ranges)):
      process, pipe = self._launch(index)
      self.processes.append(process)
      self._pipes.append(pipe)

  def start(self) -> None:
    """Waits until all processes have started.

    Raises:
      UserError, RuntimeError: a process cannot start.
    """
    deadline = time.monotonic() + self._seconds
    for index in range(len(self.processes)):
      try:
        self._answer(index, deadline)
      except _Lost as lost:
        raise RuntimeError(str(lost)) from None

  def send(self, message: tuple) -> None:
    """Sends a message to every worker; `gather` waits for the answers."""
    for pipe in self._pipes:
      _send(pipe, message)

  def gather(self, seconds: float, again: Callable[[range], Sequence[tuple]]) -> None:
    """Waits for every worker's answer to the last message.

    Args:
      seconds: the time in which a worker must answer before it is replaced.
      again: restores the rows of a lost worker and returns the messages that bring a new worker to
        the answer.

    Raises:
      UserError, RuntimeError: a worker raised this.
      RuntimeError: a worker was lost, and its replacements as well.
    """
    deadline = time.monotonic() + seconds
    failures = []
    for index in range(len(self._ranges)):
      try:
        self._answer_or_replace(index, deadline, again)
      except (UserError, RuntimeError) as failure:  # the other answers still have to be read
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
      # Not earlier, because a worker in the middle of a step still answers.
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
      target=work, args=(self._kind, theirs, rows, *self._arguments), daemon=True,
      name=f"environments {rows.start} to {rows.stop - 1}",
    )  # fmt: skip
    process.start()
    theirs.close()
    return process, ours

  def _replace(self, index: int) -> None:
    process = self.processes[index]
    process.kill()  # a worker that hangs may ignore a request
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


class NoWorkers:
  """Has the methods of WorkerPool and does the work in the calling process, while it waits."""

  def __init__(self, kind: type[Stepper | Drawer], arrays, rows: range, *arguments):
    self._worker = kind(arrays, rows, *arguments)

  def start(self) -> None:
    pass

  def send(self, message: tuple) -> None:
    self._message = message

  def gather(self, seconds: float, again: Callable[[range], Sequence[tuple]]) -> None:
    self._worker.answer(*self._message)

  def close(self) -> None:
    self._worker.close()


def _send(pipe, message: tuple) -> None:
  try:
    pipe.send(message)
  except OSError:  # the worker has died, which waiting for its answer will show
    pass
