"""Several processes, on one or many hosts: how they meet, who writes, how they end together.

All run the same program on devices of their own and see the same run folder. The first one writes
metrics, checkpoints and artefacts; the others only read. With one process all of this is nothing.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
from typing import NoReturn

import jax
import numpy as np

# JAX offers a barrier over devices only; Orbax takes the coordinator's from here as well.
from jax._src import distributed
from jax.experimental import multihost_utils

from vipjax.runtime.errors import UserError

AUTOMATIC = "auto"
# A process that has not been heard of for so long is taken for dead, where its devices' network
# does not notice earlier.
_HEARTBEAT_SECONDS = 60
# How long one waits for another, which may be reading many videos.
_BARRIER_SECONDS = 3600
# How long a process that failed waits for the others, which may have words of their own to say.
_GRACE_SECONDS = 5.0
# XLA's names for what a computation ends with when another process is gone.
_PEER_STATUS = (
  "UNKNOWN", "UNAVAILABLE", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL: Barrier failed",
)  # fmt: skip
_PEER_GONE = (
  "another process of this run has ended or cannot be reached ({reason}); its own output says why: "
  "start all processes again with the same commands, and they go on from the last checkpoint."
)

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

_connected = False
_barriers = itertools.count()


def connect(
  coordinator: str, num_processes: int | None = None, process_id: int | None = None
) -> None:
  """Joins the other processes of the run; before anything asks JAX for its devices.

  A process of its own does the work from here on, and this one watches over it: when XLA ends it
  because another process is gone, that is told in one sentence.

  Args:
    coordinator: HOST:PORT of the first process, which listens there; or "auto" where SLURM,
      Open MPI, Kubernetes or a TPU pod tells JAX all three.
    num_processes: how many there are.
    process_id: which one this is, from 0.

  Raises:
    UserError: numbers that make no sense, nothing to find out automatically, or no answer.
  """
  global _connected
  known = num_processes is not None and process_id is not None
  if coordinator != AUTOMATIC and not (":" in coordinator and known):
    raise UserError(
      "Expected --coordinator=HOST:PORT with --num_processes and --process_id, or "
      f"--coordinator=auto, but --coordinator={coordinator}, --num_processes={num_processes} and "
      f"--process_id={process_id} came: give all three, alike on all hosts but for the last."
    )
  if known and not 0 <= process_id < num_processes:
    raise UserError(
      f"Expected --process_id from 0 to {num_processes - 1} with --num_processes={num_processes}, "
      f"but {process_id} came: number the processes from 0."
    )
  _watch_over_child()
  # Without it processes on CPUs could not compute together; other devices have means of their own.
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # It would swallow SIGTERM, which is `runtime.preemption`'s.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      None if coordinator == AUTOMATIC else coordinator,
      num_processes,
      process_id,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
    )
  except (ValueError, RuntimeError) as error:
    raise UserError(
      f"Expected to meet the other processes at {coordinator}, but it failed ({_reason(error)}): "
      "check --coordinator, --num_processes and --process_id on every host."
    ) from error
  _connected = True
  # While all are here: devices on CPUs have 30 seconds to find one another.
  gather(np.int32(0))
  if not is_first():
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


def is_first() -> bool:
  """Whether this process writes: metrics, checkpoints, artefacts, progress."""
  return not _connected or jax.process_index() == 0


def wait_for_all(what: str) -> None:
  """Returns once every process has called it with the same words, each time anew.

  It asks the coordinator and no device: devices on CPUs give up on one another after 30 seconds.
  """
  if _connected:
    client = distributed.global_state.client
    client.wait_at_barrier(f"vipjax: {what}, {next(_barriers)}", _BARRIER_SECONDS * 1000)


def require_same(number: int, what: str) -> None:
  """Raises UserError in every process when they do not all have the same number."""
  if not _connected:
    return
  numbers = gather(np.int32(number)).tolist()
  if len(set(numbers)) > 1:
    raise UserError(
      f"Expected {what} to be the same in all processes, but it is {numbers}: give all the same "
      "--workdir, on a file system that they share."
    )


def gather(array: np.ndarray) -> np.ndarray:
  """[...] of each process, of one shape and of 32 bits at most -> [processes, ...] in every one."""
  return multihost_utils.process_allgather(array) if _connected else np.asarray(array)[None]


def connected() -> bool:
  """Whether there are other processes."""
  return _connected


def peer_failure(error: BaseException) -> UserError | None:
  """The sentence for an error that came of another process's end; None for other errors."""
  words = str(error)
  gone = words.startswith(_PEER_STATUS) or "Gloo" in words
  gone = gone and isinstance(error, jax.errors.JaxRuntimeError)
  return UserError(_PEER_GONE.format(reason=_reason(error))) if _connected and gone else None


def leave(status: int) -> NoReturn:
  """Ends a process that failed, and with it, as they cannot compute without it, the others."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  # Not sys.exit: it would wait for processes that wait for this one.
  timer = threading.Timer(_GRACE_SECONDS, os._exit, [status])
  timer.daemon = True
  timer.start()
  try:
    jax.distributed.shutdown()
  finally:
    os._exit(status)


def _reason(error: BaseException) -> str:
  return " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())[:200]


def _watch_over_child() -> None:
  """Forks; the child returns, the parent waits for it and ends as it does.

  XLA aborts a process when the coordinator is gone or a heartbeat is missed, in a thread of its own
  that no Python can catch. JAX has no threads yet at this moment, so that forking is safe.
  """
  child = os.fork()
  if not child:
    _die_with_parent()
    return
  # Ctrl-C reaches the child by itself.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
  _, status = os.waitpid(child, 0)
  code = os.waitstatus_to_exitcode(status)
  if code == -signal.SIGABRT:
    print(f"error: {_PEER_GONE.format(reason='XLA says so above')}", file=sys.stderr, flush=True)
    os._exit(1)
  if code < 0:
    print(f"error: the process was ended by signal {-code}.", file=sys.stderr, flush=True)
  os._exit(code if code >= 0 else 128 - code)


def _die_with_parent() -> None:
  """Has Linux kill this process with its parent: else it would go on, unseen by the scheduler."""
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
