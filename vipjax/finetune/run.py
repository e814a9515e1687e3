"""The fine-tuning run: videos in, an encoder artefact out, resumable in between."""

from __future__ import annotations

import functools
import itertools
import pathlib
import time
from typing import Any

import jax
import ml_collections

from vipjax import encoder, sampling
from vipjax.encoder import Preprocessing, ResNetConfig, ValueFunction
from vipjax.finetune.feed import describe_batches, feed
from vipjax.finetune.loop import STAGE, run_steps
from vipjax.finetune.settings import Settings, TccSettings
from vipjax.finetune.shares import padded_megabytes, read_shares
from vipjax.finetune.step import (
  FED_AXES,
  Fed,
  TrainState,
  frames_per_step,
  init_state,
  make_train_step,
  repeat,
)
from vipjax.runtime import hosts, parallel, run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.numbers import require_at_least
from vipjax.runtime.platform import on_cpu
from vipjax.runtime.settings import from_section
from vipjax.types import Video
from vipjax.videos import (
  LazyVideo,
  make_video_set,
  open_videos,
  reading_options,
  require_frames,
)

_ACCELERATOR_STEPS = 10
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
  found, size = _find_videos(config, workdir)
  num_task = len(found)
  check_cycles(settings.tcc, num_task)
  reads = [functools.partial(_read, video, size) for video in found]
  background = _find_background(config, workdir)
  everything, resident = read_shares(
    [*found, *background], [*reads, *(video.read for video in background)],
    config.data.resident_mb, config.data.cache_mb, jax.process_index(), jax.process_count(),
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
  step = make_train_step(value, settings, num_task, len(devices), teachers)
  # A batch that the host feeds is for one step.
  counts = {1, steps_per_dispatch()} if resident else {1}
  axes = None if resident else FED_AXES
  dispatches = {
    count: parallel.compile_step(repeat(step, count), devices, axes) for count in counts
  }
  with Checkpointer(workdir / "checkpoints" / STAGE, keep_best=True) as checkpoints:
    restored = checkpoints.restore_latest(state)
    if restored:
      state = restored[1]
    first, earlier = int(state.step), restored[2] if restored else {"seconds": 0.0, "loss": None}
    if resident:
      batches = itertools.repeat(parallel.replicate(make_video_set(everything), devices))
    else:
      fed = feed(
        state.key, everything, settings, num_task, first, config.finetune.steps,
        parallel.own_share(frames, devices),
      )  # fmt: skip
      batches = (placed(batch, devices) for batch in fed)
    preparing = time.monotonic() - started
    state, facts = run_steps(
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


def load_videos(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[Video]:
  """The run's videos: config.data.path, else what `record` wrote into the run folder.

  Raises:
    UserError: there are none, or one has a single frame.
  """
  found, size = _find_videos(config, workdir)
  videos = [_read(video, size) for video in found]
  require_frames(videos, minimum=2)
  return videos


def _find_videos(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> tuple[list[LazyVideo], int]:
  """The run's videos, not yet decoded, and the size they are brought to (0: their own)."""
  folder = pathlib.Path(workdir) / "videos"
  if config.data.size and not config.data.path:
    raise UserError(
      f"expected config.data.path with config.data.size = {config.data.size}, got none; recorded "
      "videos take their size from config.record.size."
    )
  if not config.data.path and not folder.exists():
    raise UserError(
      f"expected videos in {folder} or config.data.path, got neither; run launch.record with this "
      "config and workdir first, or give --config.data.path=FOLDER."
    )
  if config.data.path:
    return open_videos(config.data.path, **reading_options(config.data)), config.data.size
  # A corpus has a folder for each task.
  parts = sorted(file.parent for file in folder.glob("*/videos.json")) or [folder]
  return [video for part in parts for video in open_videos(part)], 0


def _read(video: LazyVideo, size: int) -> Video:
  return video.fitted(size) if size else video.read()


def placed(batch: Fed, devices: list[jax.Device]) -> Fed:
  """The batch on the devices, of which each gets its share of the frames."""
  rest = parallel.replicate(batch._replace(pixels=None), devices)
  return rest._replace(pixels=parallel.split(batch.pixels, devices))


def with_state(value: ValueFunction, state: TrainState) -> ValueFunction:
  """The value function with what training has made of its variables."""
  variables = {"params": state.params}
  if state.batch_stats:
    variables["batch_stats"] = state.batch_stats
  return value.replace(variables=jax.device_get(variables))


def _named(videos: list[Video]) -> list[str]:
  """What an encoder was trained on: the source of each video, or the tasks where there are many."""
  if len(videos) <= _NAMED_VIDEOS:
    return [video.source for video in videos]
  return sorted({video.task or video.source for video in videos})


def make_settings(config: ml_collections.ConfigDict) -> Settings:
  """The step's settings from the `finetune` section of a config; raises UserError for bad ones."""
  for name in ("steps", "batch_size", "checkpoint_every", "max_skipped"):
    require_at_least(f"config.finetune.{name}", config[name], 1)
  if config.loss not in ("vip", "triplet", "distillation"):
    raise UserError(
      f"expected config.finetune.loss 'vip', 'triplet' or 'distillation', got {config.loss!r}."
    )
  if config.artefact not in ("last", "best"):
    raise UserError(f"expected config.finetune.artefact 'last' or 'best', got {config.artefact!r}.")
  if config.loss != "vip" and config.sampler.name == "prioritised":
    raise UserError(
      f"expected config.finetune.loss 'vip' with the sampler 'prioritised', which learns from its "
      f"errors, got {config.loss!r}; choose another sampler."
    )
  sampler = sampling.make_sampler(**config.sampler)
  return from_section(
    Settings,
    config,
    sampler=sampler,
    decay_steps=config.steps if config.decay else 0,
    anneal_steps=config.steps if sampler.kind == "prioritised" else 0,
    tcc=TccSettings(**config.tcc),
  )


def check_cycles(tcc: TccSettings, num_videos: int) -> None:
  """Raises UserError when TCC's cycles need more videos than there are."""
  if tcc.weight and tcc.num_cycles:
    # Draws nothing: it checks the sizes as the step will, before the encoder is compiled.
    sampling.sample_cycles(jax.random.key(0), num_videos, tcc.num_cycles, tcc.videos_per_cycle)


def make_encoder(config: ml_collections.ConfigDict, key: jax.Array) -> ValueFunction:
  """The encoder that fine-tuning starts from: fresh weights, or what `vipjax.load` finds."""
  if config.init != "scratch":
    return encoder.load(config.init)
  architecture = from_section(ResNetConfig, config)
  preprocessing = Preprocessing(resize=config.resize, crop=config.size)
  metadata = {"name": config.name, "licence": config.licence}
  value = encoder.init_value(key, architecture, preprocessing, metadata)
  params = value.variables["params"]
  head = {**params["fc"], "kernel": params["fc"]["kernel"] * config.init_scale}
  return value.replace(variables={**value.variables, "params": {**params, "fc": head}})


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


def steps_per_dispatch() -> int:
  """How many steps one program does: 1 on a CPU, where convolutions in a loop crawl; else 10."""
  return 1 if on_cpu() else _ACCELERATOR_STEPS


def step_devices(frames: int) -> list[jax.Device]:
  """The devices that share a batch of so many frames: as many as divide, of all processes.

  Where none divide, all: the step says which numbers of frames would.
  """
  return parallel.dividing(jax.devices(), frames, "frames of a batch (4 per clip and TCC's)")


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
