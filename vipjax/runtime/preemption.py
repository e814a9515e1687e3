"""Handles SIGTERM, which schedulers send before they take the machine away."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np

from vipjax.runtime import hosts

# A shell's status for a process that the signal ended. SLURM and Kubernetes take it as terminated
# from outside, not as failed.
EXIT_STATUS = 128 + int(signal.SIGTERM)

# Least time between exchanges of several processes: well below the time that schedulers leave
# between SIGTERM and SIGKILL (30 s in Kubernetes and SLURM).
_AGREE_SECONDS = 4.0


class Preemption:
  """Records SIGTERM instead of ending the process, so that a loop can save first.

      with Preemption() as preemption:
        for step in ...:
          ...
          if preemption.requested():
            save()
            preemption.exit("finetune", step)

  Outside the main thread Python handles no signals, so `requested` stays False. With several
  processes a signal to one of them stops all at the same step.
  """

  def __init__(self):
    self._noted = False
    self._before = None
    # Calls left until the next exchange, and the number of calls between two exchanges. Both are
    # equal in all processes.
    self._left = self._pause = 1
    self._exchanged = time.monotonic()

  def requested(self, now: bool = False) -> bool:
    """Returns whether to stop; every process of the run calls it once per step.

    Several processes exchange their signals only every few seconds, because an exchange waits for
    all processes and idle devices; between exchanges the result is False.

    Args:
      now: True to exchange at this call; the same in all processes.
    """
    if not hosts.connected():
      return self._noted
    self._left -= 1
    if self._left and not now:
      return False
    seconds = time.monotonic() - self._exchanged
    # All use the slowest process's clock, so that all count to the same number of calls.
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
    # The signal came after the last call. With several processes this one goes on, because the
    # others would wait for it.
    if self._noted and kind is None and not hosts.connected():
      raise SystemExit(EXIT_STATUS)

  def exit(self, stage: str, step: int) -> None:
    """Ends the process with `EXIT_STATUS`; call it after saving, inside all `with` blocks."""
    print(f"{stage}: saved at step {step} and stopped, as SIGTERM asked; the same command goes on.")
    raise SystemExit(EXIT_STATUS)

  def _note(self, signum, frame) -> None:
    del signum, frame
    self._noted = True
