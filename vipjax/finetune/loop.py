"""The loop around the training step: dispatches, metrics, checkpoints, and when to stop."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np

from vipjax.finetune.step import TrainState
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress

STAGE = "finetune"
METRICS_EVERY = 10


def run_steps(
  dispatches: Mapping[int, Callable],
  state: TrainState,
  batches: Iterator[Any],
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  checkpoints: Checkpointer,
  resume_step: int | None,
  earlier: dict[str, Any],
  check_replicas: Callable[[TrainState, int], None],
) -> tuple[TrainState, dict[str, Any]]:
  """Steps until config.steps.

  Args:
    dispatches: compiled steps, whose metrics are [count], by how many of them each does at once;
      1 is among them.
    state: where to start; replicated.
    batches: data for each dispatch.
    config: the `finetune` section.
    workdir: for the metrics.
    checkpoints: where to save.
    resume_step: the step of the checkpoint that was restored; None without one.
    earlier: what this returned when that was saved.
    check_replicas: called with the state and its step before it is saved.

  Returns:
    The state, and {"seconds": of all legs, "loss": the last, "since": [sum, number] of the finite
    losses that the next checkpoint's score, minus their mean, counts in}.

  Raises:
    UserError: config.max_skipped updates in a row were not finite.
    SystemExit: SIGTERM came; the state is saved.
  """
  started, facts = time.monotonic(), earlier
  first = done = resume_step or 0
  since = np.array(earlier.get("since", (0.0, 0)))
  rows: dict[str, Any] = {}  # metrics of the dispatch that ended with step `done`, not written yet

  def write() -> None:
    count = len(rows.get("loss", ()))
    if count:
      found = np.asarray(rows["loss"], np.float64)
      since[:] += np.isfinite(found).dot(np.nan_to_num(found)), np.isfinite(found).sum()
    for i, step in enumerate(range(done - count + 1, done + 1)):
      if step % METRICS_EVERY == 0 or step == config.steps:
        metrics = {name: values[i] for name, values in rows.items()}
        writer.write(step, metrics)
        _require_finite(metrics, config.max_skipped, step)

  with (
    MetricsWriter(workdir, STAGE, resume_step) as writer,
    Progress(config.steps, STAGE, initial=first) as progress,
    Preemption() as preemption,
  ):
    while done < config.steps:
      count = max(n for n in dispatches if n <= config.steps - done)
      state, new_rows = dispatches[count](state, next(batches))
      # The ones before: to fetch the new ones now would leave the device without work.
      write()
      before, done, rows = done, done + count, new_rows
      progress.update(count, loss=rows["loss"][-1])
      last = done == config.steps
      due = done // config.checkpoint_every > before // config.checkpoint_every
      stop = preemption.requested()
      if due or last or stop:
        write()
        check_replicas(state, done)
        loss = float(rows["loss"][-1])
        rows = {}
        score = -since[0] / since[1] if since[1] else None
        if due:
          since[:] = 0
        facts = {
          "seconds": earlier["seconds"] + time.monotonic() - started,
          "loss": loss,
          "since": since.tolist(),
        }
        checkpoints.save(done, state, facts, score)
      if stop and not last:
        preemption.exit(STAGE, done)
  return state, facts


def _require_finite(metrics: dict[str, Any], most: int, step: int) -> None:
  in_a_row = int(metrics["skipped_in_a_row"])
  if in_a_row < most:
    return
  broken = [name for name, number in metrics.items() if not np.isfinite(number)]
  raise UserError(
    f"expected finite losses and gradients, but {in_a_row} updates in a row up to step {step} had "
    f"none and were skipped (not finite: {', '.join(broken)}); the last checkpoint is from before: "
    "lower config.finetune.learning_rate or look at the encoder and the videos."
  )
