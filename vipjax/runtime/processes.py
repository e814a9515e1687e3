"""Work that is shared out to one process per core."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from vipjax.runtime import shared
from vipjax.runtime.cores import usable_cores

Job, Result = TypeVar("Job"), TypeVar("Result")


def share_out(
  work: Callable[[Job], Result], jobs: Sequence[Job], per_process: int
) -> Iterator[Result]:
  """Yields `work(job)` of each job, in the order in which they finish.

  Args:
    work: a function of a module, which a fresh process imports.
    jobs: what pickle can hold.
    per_process: jobs after which a process is replaced, which gives its memory back.

  Raises:
    UserError: there is no shared memory.
  """
  shared.require(1)  # The pool's locks lie there.
  context = multiprocessing.get_context("spawn")
  with context.Pool(usable_cores(), maxtasksperchild=per_process) as pool:
    yield from pool.imap_unordered(work, jobs)
