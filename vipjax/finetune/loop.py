"""The loop around the training step: dispatches, metrics, checkpoints, and when to stop."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
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
  describe: Callable[[int], str],
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
    describe: what the batch of a step is of, in words.

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
    if not rows:
      return
    values = jax.device_get(rows)
    finite = np.isfinite(values["loss"])
    since[:] += np.sum(values["loss"], where=finite, dtype=np.float64), finite.sum()
    for i, step in enumerate(range(done - len(finite) + 1, done + 1)):
      metrics = {name: value[i] for name, value in values.items()}
      too_many = metrics["skipped_in_a_row"] >= config.max_skipped
      if step % METRICS_EVERY == 0 or step == config.steps or too_many:
        writer.write(step, metrics)
      if too_many:
        raise _not_finite(metrics, step, describe)

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
      stop = preemption.requested(now=due or last)
      if due or last or stop:
        write()
        check_replicas(state, done)
        loss = float(rows["loss"][-1])
        rows = {}
        # Of a stop's few steps no score: an uninterrupted run would have none either.
        score = -since[0] / since[1] if since[1] and (due or last) else None
        if due:
          since[:] = 0
        facts = {
          "seconds": earlier["seconds"] + time.monotonic() - started,
          "loss": loss,
          "since": since.tolist(),
        }
        checkpoints.save(done, state, facts, score)
      if stop:
        preemption.exit(STAGE, done)
  return state, facts


def _not_finite(metrics: dict[str, Any], step: int, describe: Callable[[int], str]) -> UserError:
  broken = [name for name, number in metrics.items() if not np.isfinite(number)]
  return UserError(
    f"expected finite losses and gradients, but {int(metrics['skipped_in_a_row'])} updates in a "
    f"row up to step {step} had none and were skipped (not finite: {', '.join(broken)}; its batch: "
    f"{describe(step)}); the last checkpoint is from before: lower config.finetune.learning_rate "
    "or look at the encoder and the videos."
  )
