"""The runs of an experiment: one process on each core, each run in a folder of its own."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence

import ml_collections

from vipjax.runtime import places, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.preemption import EXIT_STATUS
from vipjax.runtime.processes import share_out
from vipjax.runtime.progress import Progress

# What a run makes: takes its config and its folder, and returns what to print of it.
Run = Callable[[ml_collections.ConfigDict, pathlib.Path], str]


def run_all(
  name: str,
  workdir: pathlib.Path,
  jobs: Sequence[tuple[pathlib.Path, ml_collections.ConfigDict]],
  run: Run,
  last_stage: str,
  after: Callable[[], object],
  on_cores: bool = True,
) -> list[str]:
  """Does every run that has not finished, and prints a line for each.

  A run that was stopped goes on. Its output goes to its log.txt. A run that ends in a UserError is
  left out and named; the others go on.

  Args:
    name: of the experiment, for the progress bar.
    workdir: the folder of all runs; one process at a time may work there.
    jobs: folder and config of each run, in the order to do them.
    run: a function of a module, as the processes import it.
    last_stage: the stage that ends a run.
    after: is called at the start and after every run.
    on_cores: whether each core has a run of its own; otherwise one follows the other, for runs that
      share a device.

  Returns:
    A sentence for each run that was left out.

  Raises:
    UserError: another process uses the folder, or there is no shared memory.
  """
  places.hold(workdir)
  left = [job for job in jobs if not run_folder.stage_done(job[0], last_stage)]
  problems: list[str] = []
  after()
  # The pool ends its processes by this signal, upon which they save; see `runtime.preemption`.
  before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_STATUS))
  try:
    with Progress(len(jobs), name, initial=len(jobs) - len(left), unit="run") as progress:
      work = functools.partial(_logged, run)
      done = share_out(work, left, per_process=None, pin=True) if on_cores else map(work, left)
      for folder, line, failed in done:
        which = folder.relative_to(workdir).as_posix()
        progress.message(f"{which}: {'left out: ' * failed}{line}")
        problems += [f"{which}: {line}"] * failed
        progress.update()
        after()
  finally:
    signal.signal(signal.SIGTERM, before)
  return problems


def require_seeds_apart(key: str, seeds: Sequence[int], at_once: int) -> None:
  """Raises UserError where two runs, each of so many seeds from its own on, would share a seed."""
  ordered = sorted(seeds)
  if any(after - before < at_once for before, after in zip(ordered[:-1], ordered[1:], strict=True)):
    raise UserError(
      f"expected config.{key} at least config.policy.seeds apart, because a run has the seeds from "
      f"its own on, got {list(seeds)} with {at_once} at once; give the first of each run alone."
    )


def _logged(
  run: Run, job: tuple[pathlib.Path, ml_collections.ConfigDict]
) -> tuple[pathlib.Path, str, bool]:
  """The run's folder, its result or the reason why it failed, and whether it failed."""
  folder, config = job
  try:
    run_folder.open_run(folder, config)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
      with contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        return folder, run(config, folder), False
  except UserError as error:
    return folder, str(error), True
