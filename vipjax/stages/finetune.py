"""The fine-tuning run: videos in, an encoder artefact out, resumable in between."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.finetune.devices import placed, step_devices, steps_per_dispatch
from vipjax.finetune.feed import describe_batches, host_loader
from vipjax.finetune.settings import check_cycles
from vipjax.finetune.shares import padded_megabytes, read_shares
from vipjax.finetune.step import (
  HOST_BATCH_AXES,
  TrainState,
  frames_per_step,
  init_state,
  make_train_step,
  scan_steps,
  with_state,
)
from vipjax.runtime import hosts, parallel, run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress
from vipjax.stages.inputs import find_videos, make_encoder, make_settings
from vipjax.types import Video
from vipjax.videos import (
  LazyVideo,
  make_video_set,
  open_videos,
)

STAGE = "finetune"
METRICS_EVERY = 10
_NAMED_VIDEOS = 20
# Streams of the run's seed.
_INIT_STREAM, _TRAIN_STREAM = 0, 1


def finetune(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Fine-tunes the configured encoder on the run's videos, or goes on where it stopped.

  Reads `videos/` of the run folder (or config.data.path) and `background/`; writes metrics,
  checkpoints, the artefact `encoder_before/` as it was before the first step, and `encoder/`.

  Several processes (`runtime.hosts`) share each batch over the devices of all, and each decodes its
  share of the videos (`read_shares`). Where the host feeds the batches, each reads of every batch
  the frames that its own devices embed.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder, opened by `run_folder.open_run`.

  Returns:
    JSON-able facts: "steps", "steps_per_second", "loss" (the last), "videos".

  Raises:
    UserError: no videos, too short ones, fewer than TCC's cycles need, or bad settings.
  """
  if run_folder.stage_done(workdir, STAGE):
    return run_folder.stage_result(workdir, STAGE)
  started = time.monotonic()
  settings = make_settings(config.finetune)
  found = find_videos(config, workdir)
  num_task = len(found)
  check_cycles(settings.tcc, num_task)
  background = _find_background(config, workdir)
  everything, resident = read_shares(
    [*found, *background], config.data.resident_mb, config.data.cache_mb,
    jax.process_index(), jax.process_count(),
  )  # fmt: skip
  if not resident:
    _check_fed(everything, config)
  key = jax.random.key(config.seed)
  value = make_encoder(config.encoder, jax.random.fold_in(key, _INIT_STREAM))
  if hosts.is_first() and not (workdir / "encoder_before").exists():
    encoder.save(workdir / "encoder_before", value)
  state = init_state(jax.random.fold_in(key, _TRAIN_STREAM), value, settings, num_task)

  frames = frames_per_step(settings, num_task)
  devices = step_devices(frames)
  teachers = _teachers(config.finetune, value)
  step = make_train_step(value, settings, num_task, teachers)
  # A batch that the host feeds is for one step.
  counts = {1, steps_per_dispatch()} if resident else {1}
  axes = None if resident else HOST_BATCH_AXES
  dispatches = {
    count: parallel.compile_step(scan_steps(step, count), devices, axes) for count in counts
  }
  with Checkpointer(workdir / "checkpoints" / STAGE, keep_best=True) as checkpoints:
    restored = checkpoints.restore_latest(state)
    if restored:
      state = restored[1]
    first, earlier = int(state.step), restored[2] if restored else {"seconds": 0.0, "loss": None}
    if resident:
      batches = itertools.repeat(parallel.replicate(make_video_set(everything), devices))
    else:
      host_batches = host_loader(
        state.key, everything, settings, num_task, first, config.finetune.steps,
        parallel.own_share(frames, devices),
      )  # fmt: skip
      batches = (placed(batch, devices) for batch in host_batches)
    preparing = time.monotonic() - started
    state, facts = _run_steps(
      dispatches, parallel.replicate(state, devices), batches, config.finetune, workdir,
      checkpoints, first if restored else None, earlier,
      parallel.compile_check(devices if config.finetune.check_replicas else devices[:1]),
      describe_batches(state.key, everything, settings, num_task),
    )  # fmt: skip
    seconds = facts["seconds"] - earlier["seconds"]
    if config.finetune.artefact == "best" and hosts.is_first():
      state = (checkpoints.restore_best(state) or (None, state))[1]
  result = {
    "steps": config.finetune.steps,
    "steps_per_second": (config.finetune.steps - first) / max(seconds, 1e-9),
    "videos": num_task,
    "loss": facts["loss"],
  }
  if hosts.is_first():
    trained_on = {
      "trained_on": _named(everything[:num_task]),
      "fine_tuned_from": config.encoder.init,
      **({"distilled_from": list(config.finetune.teachers)} if teachers else {}),
      "steps": int(state.step),
    }
    trained = with_state(value, state).replace(metadata={**value.metadata, **trained_on})
    encoder.save(workdir / "encoder", trained, overwrite=True)
    run_folder.mark_done(workdir, STAGE, result, preparing + facts["seconds"])
  return result


def _named(videos: list[Video]) -> list[str]:
  """What an encoder was trained on: the source of each video, or the tasks where there are many."""
  if len(videos) <= _NAMED_VIDEOS:
    return [video.source for video in videos]
  return sorted({video.task or video.source for video in videos})


def _teachers(config: ml_collections.ConfigDict, value: ValueFunction) -> list[ValueFunction]:
  """The encoders to distil; raises UserError where the loss and they do not fit."""
  if (config.loss == "distillation") != bool(config.teachers):
    raise UserError(
      "expected encoders in config.finetune.teachers with config.finetune.loss = 'distillation', "
      f"and with no other loss, got {tuple(config.teachers)} with {config.loss!r}."
    )
  teachers = [encoder.load(name) for name in config.teachers]
  for name, teacher in zip(config.teachers, teachers, strict=True):
    if teacher.preprocessing.crop != value.preprocessing.crop:
      raise UserError(
        f"expected teachers that see {value.preprocessing.crop} pixels as the encoder does, but "
        f"{name} sees {teacher.preprocessing.crop}: change config.encoder.size or the teacher."
      )
  return teachers


def _check_fed(videos: list[Video], config: ml_collections.ConfigDict) -> None:
  """Raises UserError when the sampler does not allow that the host feeds the batches."""
  if config.finetune.sampler.name == "prioritised":
    raise UserError(
      "expected videos on the device with finetune.sampler.name = 'prioritised', because the host "
      "draws batches ahead, before their errors are known; these take "
      f"{padded_megabytes(videos):.0f} MiB of data.resident_mb = {config.data.resident_mb}: raise "
      "it or choose another sampler."
    )


def _find_background(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[LazyVideo]:
  if not config.finetune.background_clips:
    return []
  folder = pathlib.Path(workdir) / "background"
  if not folder.exists():
    raise UserError(
      f"expected videos of random motion in {folder} for finetune.background_clips = "
      f"{config.finetune.background_clips}, got none; record with record.random_episodes above 0 "
      "or set background_clips to 0."
    )
  return open_videos(folder)


def _run_steps(
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
