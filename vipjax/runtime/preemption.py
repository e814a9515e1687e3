"""SIGTERM, with which schedulers announce that they take the machine away."""

from __future__ import annotations

import signal
import threading

from vipjax.runtime import hosts

# 128 + SIGTERM: what a shell shows for a process that the signal ended; SLURM and Kubernetes read
# it as terminated from outside, not as failed by itself.
EXIT_STATUS = 128 + int(signal.SIGTERM)


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

  def requested(self) -> bool:
    """Whether to stop; to be asked once at each step, by all processes of the run."""
    return hosts.any_of_all(self._noted)

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
