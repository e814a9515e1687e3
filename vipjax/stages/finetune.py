"""The fine-tuning run: videos in, an encoder artefact out, resumable in between."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.finetune.devices import placed, step_devices, steps_per_dispatch
from vipjax.finetune.feed import describe_batches, host_loader
from vipjax.finetune.settings import Settings, check_cycles, check_head
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
from vipjax.runtime import hosts, parallel
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress
from vipjax.stages.inputs import (
  find_composites,
  find_videos,
  make_encoder,
  make_settings,
  with_config_head,
)
from vipjax.stages.stage import Resumed, not_finite, stage
from vipjax.stages.task import filled
from vipjax.types import Video
from vipjax.videos import LazyVideo, make_video_set, open_videos

STAGE = "finetune"
METRICS_EVERY = 10
_NAMED_VIDEOS = 20
# Streams of the run's seed.
_INIT_STREAM, _TRAIN_STREAM, _HEAD_STREAM = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class _Data:
  """The videos of a run, and how the training step comes by them.

  Attributes:
    settings: those of the step.
    videos: all videos: the task's, composites of them, background.
    num_task: how many are the task's.
    resident: whether they lie on the devices; else the host feeds the frames of each step.
    devices: the devices that share a batch.
  """

  settings: Settings
  videos: list[Video]
  num_task: int
  resident: bool
  devices: list[jax.Device]

  def batches(self, key: jax.Array, first: int, steps: int) -> Iterator[Any]:
    """Yields what each dispatch takes, from step `first` to step `steps`."""
    if self.resident:
      return itertools.repeat(parallel.replicate(make_video_set(self.videos), self.devices))
    frames = frames_per_step(self.settings, self.num_task)
    batches = host_loader(
      key, self.videos, self.settings, self.num_task, first, steps,
      parallel.own_share(frames, self.devices),
    )  # fmt: skip
    return (placed(batch, self.devices) for batch in batches)


@stage(STAGE)
def finetune(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Resumed:
  """Fine-tunes the configured encoder on the run's videos, or goes on where it stopped.

  Reads `videos/` of the run folder (or config.data.path) and `background/`; writes metrics,
  checkpoints, the artefact `encoder_before/` as it was before the first step, and `encoder/`.

  Several processes (`runtime.hosts`) share each batch over the devices of all, and each decodes its
  share of the videos (`read_shares`). Where the host feeds the batches, each reads of every batch
  the frames that its own devices embed.

  Returns:
    JSON-able facts: "steps", "steps_per_second", "loss" (the last), "videos", and "composites" made
    of these, if any.

  Raises:
    UserError: no videos, too short ones, fewer than TCC's cycles need, a head that the loss does
      not fit, or bad settings.
  """
  config = filled(config)
  data = _find_data(config, workdir)
  settings, num_task, devices = data.settings, data.num_task, data.devices
  key = jax.random.key(config.seed)
  value = make_encoder(config.encoder, jax.random.fold_in(key, _INIT_STREAM))
  value = with_config_head(value, config, jax.random.fold_in(key, _HEAD_STREAM))
  if settings.loss == "icvf" and settings.train_batch_norm and value.config.norm == "batch":
    logging.warning(
      "The loss icvf trains an encoder with BatchNorm, whose values change with the other frames "
      "of a batch; its authors' encoders have GroupNorm (config.encoder.norm)."
    )
  if settings.loss == "icvf" and settings.head_learning_rate > settings.learning_rate:
    logging.warning(
      "The loss icvf trains its heads at config.finetune.head_learning_rate = %g, above "
      "learning_rate: at .01 their units have died within 30 steps, so that all frames had one "
      "value. Set it to 0, which is learning_rate.", settings.head_learning_rate,
    )  # fmt: skip
  if hosts.is_first() and not (workdir / "encoder_before").exists():
    encoder.save(workdir / "encoder_before", value)
  state = init_state(jax.random.fold_in(key, _TRAIN_STREAM), value, settings, num_task)
  teachers = _teachers(config.finetune, value)
  step = make_train_step(value, settings, num_task, teachers)
  # A batch that the host feeds is for one step.
  counts, axes = ({1, steps_per_dispatch()}, None) if data.resident else ({1}, HOST_BATCH_AXES)
  dispatches = {
    count: parallel.compile_step(scan_steps(step, count), devices, axes) for count in counts
  }
  with Checkpointer(workdir / "checkpoints" / STAGE, keep_best=True) as checkpoints:
    restored = checkpoints.restore_latest(state)
    earlier = restored[2] if restored else {"seconds": 0.0, "loss": None}
    state = restored[1] if restored else state
    first = int(state.step)
    state, facts = _run_steps(
      config.finetune, workdir, data, dispatches, checkpoints, state, earlier, bool(restored)
    )
    if config.finetune.artefact == "best" and hosts.is_first():
      state = (checkpoints.restore_best(state) or (None, state))[1]
  if hosts.is_first():
    trained_on = {
      "trained_on": _named(data.videos[:num_task]),
      "fine_tuned_from": config.encoder.init,
      **({"distilled_from": list(config.finetune.teachers)} if teachers else {}),
      "steps": int(state.step),
    }
    trained = with_state(value, state).replace(metadata={**value.metadata, **trained_on})
    encoder.save(workdir / "encoder", trained, overwrite=True)
  seconds = facts["seconds"] - earlier["seconds"]
  result = {
    "steps": config.finetune.steps,
    "steps_per_second": (config.finetune.steps - first) / max(seconds, 1e-9),
    "videos": num_task,
    **({"composites": settings.made_videos} if settings.made_videos else {}),
    "loss": facts["loss"],
  }
  return Resumed(result, earlier["seconds"])


def _find_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> _Data:
  """Finds and decodes this process's share of the videos; raises as `finetune` does."""
  settings = make_settings(config.finetune)
  check_head(settings.loss, config.encoder.head)
  if config.reward.form == "progress" and not settings.progress.weight:
    raise UserError(
      "expected config.finetune.progress.weight above 0 for config.reward.form = 'progress', which "
      "the encoder's progress head pays, got 0; set it to 1 or choose another form."
    )
  found = find_videos(config, workdir)
  check_cycles(settings.tcc, len(found))
  made = find_composites(config, found)
  settings = dataclasses.replace(settings, made_videos=len(made))
  videos, resident = read_shares(
    [*found, *made, *_find_background(config, workdir)],
    config.data.resident_mb, config.data.cache_mb, jax.process_index(), jax.process_count(),
  )  # fmt: skip
  if not resident and config.finetune.sampler.name == "prioritised":
    raise UserError(
      "expected videos on the device with finetune.sampler.name = 'prioritised', because the host "
      "draws batches ahead, before their errors are known, got "
      f"{padded_megabytes(videos):.0f} MiB for data.resident_mb = {config.data.resident_mb}; raise "
      "it or choose another sampler."
    )
  devices = step_devices(frames_per_step(settings, len(found)))
  return _Data(settings, videos, len(found), resident, devices)


def _named(videos: list[Video]) -> list[str]:
  """Names what an encoder is trained on: the source of each video, or the tasks of many videos."""
  if len(videos) <= _NAMED_VIDEOS:
    return [video.source for video in videos]
  return sorted({video.task or video.source for video in videos})


def _teachers(config: ml_collections.ConfigDict, value: ValueFunction) -> list[ValueFunction]:
  """The encoders to distil; raises UserError where they do not suit the loss or the encoder."""
  if (config.loss == "distillation") != bool(config.teachers):
    raise UserError(
      "expected encoders in config.finetune.teachers with config.finetune.loss = 'distillation', "
      f"and with no other loss, got {tuple(config.teachers)} with {config.loss!r}; change "
      "one of the two."
    )
  teachers = [encoder.load(name) for name in config.teachers]
  for name, teacher in zip(config.teachers, teachers, strict=True):
    if teacher.preprocessing.crop != value.preprocessing.crop:
      raise UserError(
        f"expected teachers that see {value.preprocessing.crop} pixels as the encoder does, got "
        f"{name} with {teacher.preprocessing.crop}; change config.encoder.size or the teacher."
      )
    teacher.require_l2("config.finetune.teachers")
  return teachers


def _find_background(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[LazyVideo]:
  """The videos of random motion, where the config asks for clips of them."""
  if not config.finetune.background_clips:
    return []
  folder = workdir / "background"
  if not folder.exists():
    raise UserError(
      f"expected videos of random motion in {folder} for finetune.background_clips = "
      f"{config.finetune.background_clips}, got none; record with record.random_episodes above 0 "
      "or set background_clips to 0."
    )
  return open_videos(folder)


def _run_steps(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data: _Data,
  dispatches: Mapping[int, Callable],
  checkpoints: Checkpointer,
  state: TrainState,
  facts: dict[str, Any],
  resumed: bool,
) -> tuple[TrainState, dict[str, Any]]:
  """Takes steps until config.steps.

  Args:
    config: the `finetune` section.
    workdir: the run folder, for the metrics.
    data: feeds the steps.
    dispatches: compiled steps, whose metrics are [count], by how many of them each takes at once; 1
      is among them.
    checkpoints: where to save.
    state: where to start.
    facts: what this returned when `state` was saved.
    resumed: whether `state` is that of a checkpoint.

  Returns:
    The state, replicated, and {"seconds": of all legs, "loss": the last, "since": [sum, number] of
    the finite losses since the last due checkpoint, minus whose mean is the score of the next}.

  Raises:
    UserError: config.max_skipped updates in a row were not finite.
    SystemExit: SIGTERM came; the state is saved.
  """
  first = done = int(state.step)
  devices = data.devices
  batches = data.batches(state.key, first, config.steps)
  check_replicas = parallel.compile_check(devices if config.check_replicas else devices[:1])
  describe = describe_batches(state.key, data.videos, data.settings, data.num_task)
  state = parallel.replicate(state, devices)
  started = time.monotonic() - facts["seconds"]
  since = np.array(facts.get("since", (0.0, 0)))
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
        advice = "lower config.finetune.learning_rate or look at the encoder and the batch's videos"
        in_a_row = int(metrics["skipped_in_a_row"])
        raise not_finite(metrics, in_a_row, step, f"{advice} ({describe(step)})")

  with (
    MetricsWriter(workdir, STAGE, first if resumed else None) as writer,
    Progress(config.steps, STAGE, initial=first) as progress,
    Preemption() as preemption,
  ):
    while done < config.steps:
      count = max(n for n in dispatches if n <= config.steps - done)
      state, new_rows = dispatches[count](state, next(batches))
      # Those of the dispatch before: fetching the new ones now would leave the device without work.
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
        # The few steps before a stop have no score: an uninterrupted run gives them none either.
        score = -since[0] / since[1] if since[1] and (due or last) else None
        if due:
          since[:] = 0
        facts = {"seconds": time.monotonic() - started, "loss": loss, "since": since.tolist()}
        checkpoints.save(done, state, facts, score)
      if stop:
        preemption.exit(STAGE, done)
  return state, facts
