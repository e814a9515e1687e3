"""The record stage: expert episodes of the configured environment as videos in the run folder."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import ml_collections

from vipjax.envs import (
  RobotEnv,
  Stream,
  episode_seed,
  random_motion,
  record_episode,
)
from vipjax.envs.expert import steps_to_success
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.inputs import env_options, views_from_config
from vipjax.types import Video
from vipjax.videos.export import FORMATS, write_dataset
from vipjax.videos.write import write_videos

STAGE = "record"
# Meta-World's own time limit.
_LONGEST = 500
# Unseen episodes are the same ones in every run, so that runs compare.
_UNSEEN_RUN = 0


def record(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records what the config asks for, once.

  Writes `videos/` (the expert's), `unseen/` (the expert at placements never recorded, for
  evaluation alone) and `background/` (random motion, where asked for); the expert's also as
  `dataset/`, where config.record.format names a format of other people.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.

  Returns:
    JSON-able facts: "videos" and "frames" (those in `videos/`), "expert_success_unseen" (share of
    the unseen episodes, None without any).

  Raises:
    UserError: the expert fails, or needs a longer horizon; no views, or bad settings.
  """
  if run_folder.stage_done(workdir, STAGE):
    return run_folder.stage_result(workdir, STAGE)
  started = time.monotonic()
  settings, views = config.record, views_from_config(config.views)
  if settings.episodes < 1:
    raise UserError(f"expected at least 1 episode to record, got {settings.episodes}.")
  if settings.format not in FORMATS:
    raise UserError(
      f"expected config.record.format among {', '.join(FORMATS)}, got {settings.format!r}."
    )
  options = env_options(config.env)
  drawing = {"size": settings.size, "quality": settings.quality}
  shared = {"frame_stride": settings.frame_stride, "robot_free": settings.robot_free}
  total = settings.episodes + config.evaluate.unseen_episodes + settings.random_episodes
  with Progress(total, STAGE, unit="episode") as progress:
    with RobotEnv(**options, **drawing) as env:
      seen = []
      for episode in range(settings.episodes):
        seed = episode_seed(Stream.RECORDED, config.seed, episode)
        seen += record_episode(env, views, seed, hold=settings.hold, episode=episode, **shared)
        progress.update()
      _require_success(seen, config)
      write_videos(workdir / "videos", seen, overwrite=True)
      if settings.format != "mp4":
        write_dataset(workdir / "dataset", seen, settings.format, overwrite=True)
      background = []
      for episode in range(settings.random_episodes):
        seed = episode_seed(Stream.BACKGROUND, config.seed, episode)
        act = random_motion(seed, env.action_space.shape[0])
        background += record_episode(
          env, views, seed, robot_free=False, frame_stride=settings.frame_stride, act=act,
          episode=episode,
        )  # fmt: skip
        progress.update()
      if background:
        write_videos(workdir / "background", background, overwrite=True)
    unseen = []
    with RobotEnv(**{**options, "placement": None}, **drawing) as env:
      for episode in range(config.evaluate.unseen_episodes):
        # Without the robot nothing moves until the window does: those say little over time.
        seed = episode_seed(Stream.UNSEEN, _UNSEEN_RUN, episode)
        unseen += record_episode(
          env, views, seed, hold=settings.hold, episode=episode, robot_free=False,
          frame_stride=settings.frame_stride,
        )  # fmt: skip
        progress.update()
    if unseen:
      write_videos(workdir / "unseen", unseen, overwrite=True)
  result = {
    "videos": len(seen),
    "frames": int(sum(len(video.frames) for video in seen)),
    "expert_success_unseen": _success(unseen),
  }
  run_folder.mark_done(workdir, STAGE, result, time.monotonic() - started)
  return result


def _success(videos: list[Video]) -> float | None:
  return sum(bool(video.success) for video in videos) / len(videos) if videos else None


def _require_success(videos: list[Video], config: ml_collections.ConfigDict) -> None:
  failed = {video.episode: video.source for video in videos if not video.success}
  if not failed:
    return
  longer = {**env_options(config.env), "horizon": max(_LONGEST, config.env.horizon)}
  with RobotEnv(**longer, render_mode=None) as env:
    seed = episode_seed(Stream.RECORDED, config.seed, next(iter(failed)))
    needed = steps_to_success(env, seed)
  if needed and needed > config.env.horizon:
    raise UserError(
      f"expected config.env.horizon of at least {needed} steps, which the scripted expert needs in "
      f"{next(iter(failed.values()))}, got {config.env.horizon}; raise it."
    )
  raise UserError(
    "expected the scripted expert to succeed, but it failed in "
    f"{'; '.join(sorted(failed.values()))}; choose another seed, task or control."
  )
