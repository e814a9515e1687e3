"""Work that is shared out to one process per core."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from vipjax.runtime import shared
from vipjax.runtime.cores import usable_cores

Job, Result = TypeVar("Job"), TypeVar("Result")


def share_out(
  work: Callable[[Job], Result], jobs: Sequence[Job], per_process: int | None, pin: bool = False
) -> Iterator[Result]:
  """Yields `work(job)` of each job, in the order in which they finish.

  Args:
    work: a function of a module, which a fresh process imports.
    jobs: what pickle can hold.
    per_process: jobs after which a process is replaced, which gives its memory back; None: never.
    pin: whether each process keeps to a core of its own, so that XLA has one thread in each.

  Raises:
    UserError: there is no shared memory.
  """
  shared.require(1)  # The pool's locks lie there.
  context = multiprocessing.get_context("spawn")
  cores = sorted(os.sched_getaffinity(0)) if pin and hasattr(os, "sched_getaffinity") else []
  options = {"initializer": _pin, "initargs": (context.Value("i", 0), cores)} if cores else {}
  with context.Pool(usable_cores(), maxtasksperchild=per_process, **options) as pool:
    yield from pool.imap_unordered(work, jobs)


def _pin(number, cores: list[int]) -> None:
  """Gives a process the next core, as its one device; `number` counts the processes."""
  with number.get_lock():
    core = cores[number.value % len(cores)]
    number.value += 1
  os.sched_setaffinity(0, {core})
  # Launchers ask XLA for a device on every core, and this process inherits the wish.
  given = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = re.sub(
    r"(--xla_force_host_platform_device_count=)\d+", r"\g<1>1", given
  )
