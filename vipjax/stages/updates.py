"""Training that lies on one device as a whole, data and all: updates, metrics, checkpoints."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vipjax.runtime import files
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress
from vipjax.stages.stage import not_finite


@dataclasses.dataclass(frozen=True)
class Updates:
  """How a stage's updates are taken and told.

  Attributes:
    name: of the stage, for its metrics and checkpoints.
    last: the state's step after the last update.
    dispatch: from how many updates are left to how many are taken at once, and the program that
      takes them: state -> (state, metrics), each metric's last entry that of the last update.
    metrics_every, checkpoint_every: updates.
    max_skipped: so many updates in a row that are not finite end the stage.
    advice: what to do then, in words.
    shown: metrics for the progress bar.
    keep: checkpoints.
  """

  name: str
  last: int
  dispatch: Callable[[int], tuple[int, Callable[[Any], tuple[Any, dict[str, jax.Array]]]]]
  metrics_every: int
  checkpoint_every: int
  max_skipped: int
  advice: str
  shown: Sequence[str]
  keep: int = 3


class Taken(NamedTuple):
  """A state, the last metrics that were read, and the seconds of earlier legs."""

  state: Any
  metrics: dict[str, float]
  earlier: float


def take(workdir: pathlib.Path, updates: Updates, state: Any) -> Taken:
  """Takes a stage's updates, from the last checkpoint if there is one.

  Args:
    workdir: the run folder.
    updates: see there.
    state: a pytree with `step` and `skipped`, before the first update; it may be donated.

  Raises:
    UserError: max_skipped updates in a row were not finite.
    SystemExit: SIGTERM came; the state is saved.
  """
  name, begun, end = updates.name, int(state.step), updates.last
  with Checkpointer(workdir / "checkpoints" / name, updates.keep) as checkpoints:
    restored = checkpoints.restore_latest(state)
    facts = restored[2] if restored else {}
    state = restored[1] if restored else state
    first = done = int(state.step)
    earlier, metrics = facts.get("seconds", 0.0), facts.get("metrics", {})
    started = time.monotonic() - earlier
    with (
      MetricsWriter(workdir, name, first if restored else None) as writer,
      Progress(
        end - begun, name, initial=first - begun, unit="update"
      ) as progress,
      Preemption() as preemption,
    ):  # fmt: skip
      while done < end:
        count, program = updates.dispatch(end - done)
        state, found = program(state)
        before, done = done, done + count
        last, stop = done == end, preemption.requested()
        due = last or done // updates.metrics_every > before // updates.metrics_every
        if due or stop:
          metrics = {key: float(np.ravel(x)[-1]) for key, x in jax.device_get(found).items()}
          progress.update(0, **{key: metrics[key] for key in updates.shown})
          if due:  # an uninterrupted run writes no other
            writer.write(done, metrics)
          in_a_row = int(state.skipped[1])
          if in_a_row >= updates.max_skipped:
            raise not_finite(metrics, in_a_row, done, updates.advice)
        progress.update(count)
        every = updates.checkpoint_every
        if last or stop or done // every > before // every:
          facts = {"seconds": time.monotonic() - started, "metrics": files.jsonable(metrics)}
          checkpoints.save(done, state, facts)
        if stop:
          preemption.exit(name, done)
  return Taken(state, metrics, earlier)
