"""Runs of several processes, on one or many hosts: joining, exchanging numbers, ending together.

All processes run the same program, each on its own devices, and share the run folder. The first
one writes metrics, checkpoints and artefacts; the others only read. In a run of one process these
functions do nothing.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pathlib
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
# A process without a heartbeat for so long counts as dead; the devices' network may be faster.
_HEARTBEAT_SECONDS = 60
# A process waits so long for another one, which may be reading many videos.
_BARRIER_SECONDS = 3600
# A process that failed waits so long for the others, which may report errors of their own.
_GRACE_SECONDS = 5.0
# XLA's statuses of a computation that ends because another process is gone.
_PEER_STATUS = (
  "UNKNOWN", "UNAVAILABLE", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL: Barrier failed",
)  # fmt: skip
_PEER_GONE = (
  "expected all processes of this run, got one that has ended or cannot be reached ({reason}); "
  "read its output, then start all processes again with the same commands, to continue from the "
  "last checkpoint."
)

_SHARE = "give all processes the same --workdir, on a file system that they share."

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

_connected = False
_barriers = itertools.count()


def connect(
  coordinator: str, num_processes: int | None = None, process_id: int | None = None
) -> None:
  """Joins the other processes of the run; call it before anything asks JAX for its devices.

  A child process continues the work and this one watches it: if XLA aborts the child because
  another process is gone, this one reports that in one sentence.

  Args:
    coordinator: HOST:PORT at which the first process listens; or "auto" where SLURM, Open MPI,
      Kubernetes or a TPU pod tells JAX all three arguments.
    num_processes: number of processes.
    process_id: number of this process, from 0.

  Raises:
    UserError: inconsistent arguments, no answer to "auto", or no connection.
  """
  global _connected
  known = num_processes is not None and process_id is not None
  if coordinator != AUTOMATIC and not (":" in coordinator and known):
    raise UserError(
      "expected --coordinator=HOST:PORT with --num_processes and --process_id, or "
      f"--coordinator=auto, got --coordinator={coordinator}, --num_processes={num_processes} and "
      f"--process_id={process_id}; give all three, the first two alike on all hosts."
    )
  if known and not 0 <= process_id < num_processes:
    raise UserError(
      f"expected --process_id from 0 to {num_processes - 1} with --num_processes={num_processes}, "
      f"got {process_id}; number the processes from 0."
    )
  _watch_over_child()
  # CPUs need gloo to compute together; other devices have their own collectives.
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # JAX's service would swallow SIGTERM, which `runtime.preemption` handles.
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
      f"expected to meet the other processes at {coordinator}, got no connection "
      f"({_reason(error)}); check --coordinator, --num_processes and --process_id on every host."
    ) from error
  _connected = True
  # Connects the CPU devices while all processes are here: they have 30 seconds to find each other.
  gather(np.int32(0))
  if not is_first():
    sys.stdout = open(os.devnull, "w")  # for as long as the process lives


def is_first() -> bool:
  """Returns whether this process writes metrics, checkpoints, artefacts and progress."""
  return not _connected or jax.process_index() == 0


def wait_for_all(what: str) -> None:
  """Waits until every process has called it with the same words.

  The coordinator counts the calls, because CPU devices stop waiting for each other after 30 s.
  """
  if _connected:
    client = distributed.global_state.client
    client.wait_at_barrier(f"vipjax: {what}, {next(_barriers)}", _BARRIER_SECONDS * 1000)


def require_same(number: int, what: str) -> None:
  """Raises UserError in every process if their numbers differ."""
  numbers = gather(np.int32(number)).tolist()
  if len(set(numbers)) > 1:
    raise UserError(f"expected {what} to be the same in all processes, got {numbers}; {_SHARE}")


def require_shared(path: pathlib.Path) -> None:
  """Raises UserError if this process does not see a path that the first process has made."""
  if not path.exists():
    raise UserError(
      f"expected {path}, which the first process has made, got no such path; {_SHARE}"
    )


def gather(array: np.ndarray) -> np.ndarray:
  """Returns [processes, ...], the arrays of all processes, of one shape and at most 32 bits."""
  return multihost_utils.process_allgather(array) if _connected else np.asarray(array)[None]


def connected() -> bool:
  """Returns whether the run has several processes."""
  return _connected


def peer_failure(error: BaseException) -> UserError | None:
  """Returns the UserError for an error that another process's end caused; None for any other."""
  words = str(error)
  gone = words.startswith(_PEER_STATUS) or "Gloo" in words
  gone = gone and isinstance(error, jax.errors.JaxRuntimeError)
  return UserError(_PEER_GONE.format(reason=_reason(error))) if _connected and gone else None


def leave(status: int) -> NoReturn:
  """Ends a process that failed and thereby the others, which cannot compute without it."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  # sys.exit would wait for processes that wait for this one.
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
  """Forks; the child returns, and the parent waits for it and ends with its status.

  If the coordinator is gone or a heartbeat is missing, a thread of XLA aborts the process, which
  Python cannot catch. Forking is safe here, because JAX has no threads yet.
  """
  child = os.fork()
  if not child:
    _die_with_parent()
    return
  # Ctrl-C reaches the child directly.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
  _, status = os.waitpid(child, 0)
  code = os.waitstatus_to_exitcode(status)
  if code == -signal.SIGABRT:
    print(f"error: {_PEER_GONE.format(reason='XLA says so above')}", file=sys.stderr, flush=True)
    os._exit(1)
  if code < 0:
    print(f"error: signal {-code} ended the process.", file=sys.stderr, flush=True)
  os._exit(code if code >= 0 else 128 - code)


def _die_with_parent() -> None:
  """Makes Linux kill this process with its parent; the scheduler knows only the parent."""
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
