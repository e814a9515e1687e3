"""SIGTERM, with which schedulers announce that they take the machine away."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np

from vipjax.runtime import hosts

# 128 + SIGTERM: what a shell shows for a process that the signal ended; SLURM and Kubernetes read
# it as terminated from outside, not as failed by itself.
EXIT_STATUS = 128 + int(signal.SIGTERM)

# How often, at most, several processes ask one another: well within the seconds that schedulers
# leave between SIGTERM and SIGKILL (30 in Kubernetes and SLURM).
_AGREE_SECONDS = 4.0


class Preemption:
  """Notes SIGTERM instead of dying of it, so that a loop can save first.

      with Preemption() as preemption:
        for step in ...:
          ...
          if preemption.requested():
            save()
            preemption.exit("finetune", step)

  Outside the main thread, where Python handles no signals, it never is requested. With several
  processes a signal to one of them stops all, at the same step.
  """

  def __init__(self):
    self._noted = False
    self._before = None
    # Alike in all processes, as what they are made of is: questions until the next exchange, and
    # how many that was at the last.
    self._left = self._pause = 1
    self._exchanged = time.monotonic()

  def requested(self, now: bool = False) -> bool:
    """Whether to stop; to be asked once at each step, by all processes of the run.

    Several processes exchange it every few seconds, for each waits then until all have come so far
    and its devices are idle; between that the answer is no.

    Args:
      now: whether to exchange it in any case; the same in all processes.
    """
    if not hosts.connected():
      return self._noted
    self._left -= 1
    if self._left and not now:
      return False
    seconds = time.monotonic() - self._exchanged
    # The slowest process's clock counts, so that all wait for as many questions.
    noted, seconds = hosts.gather(np.array([self._noted, seconds], np.float32)).max(axis=0)
    if seconds > _AGREE_SECONDS:
      self._pause = max(self._pause // 2, 1)
    elif seconds < _AGREE_SECONDS / 2 and not self._left:
      self._pause *= 2
    self._left, self._exchanged = self._pause, time.monotonic()
    return bool(noted)

  def __enter__(self) -> Preemption:
    if threading.current_thread() is threading.main_thread():
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, kind, *unused) -> None:
    if self._before is not None:
      signal.signal(signal.SIGTERM, self._before)
    # It came after the last question. Others would wait for this process, so there it goes on.
    if self._noted and kind is None and not hosts.connected():
      raise SystemExit(EXIT_STATUS)

  def exit(self, stage: str, step: int) -> None:
    """Ends the process with `EXIT_STATUS`; call it after saving, within all its `with` blocks."""
    print(f"{stage}: saved at step {step} and stopped, as SIGTERM asked; the same command goes on.")
    raise SystemExit(EXIT_STATUS)

  def _note(self, signum, frame) -> None:
    del signum, frame
    self._noted = True
