"""The record stage: expert episodes of the configured environment as videos in the run folder."""

from __future__ import annotations

import pathlib
from typing import Any

import ml_collections

from vipjax.envs import RobotEnv, Stream, episode_seed, random_motion
from vipjax.envs.expert import steps_to_success
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.filming import film_episodes, open_env, unseen_seeds
from vipjax.stages.inputs import views_from_config
from vipjax.stages.stage import stage
from vipjax.stages.task import fit_to_task
from vipjax.types import Video
from vipjax.videos.export import write_dataset
from vipjax.videos.formats.folders import write_videos

# Meta-World's own time limit.
_LONGEST = 500


@stage("record")
def record(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records the videos that the config asks for, once.

  Writes `videos/` (the expert), `unseen/` (the expert at placements never recorded, for evaluation
  alone) and `background/` (random motion, where asked for). Where config.record.format names a
  format of other people, the expert's videos are also written in it, to `dataset/`.

  Returns:
    JSON-able facts: "videos" and "frames" (those in `videos/`), "expert_success_unseen" (share of
    the unseen episodes, None without any).

  Raises:
    UserError: the expert fails, or needs a longer horizon; no views, or bad settings.
  """
  config = fit_to_task(config, workdir)
  settings, views = config.record, views_from_config(config.views)
  recorded, background = (
    [episode_seed(stream, config.seed, episode) for episode in range(count)]
    for stream, count in (
      (Stream.RECORDED, settings.episodes), (Stream.BACKGROUND, settings.random_episodes),
    )
  )  # fmt: skip
  unseen = unseen_seeds(config.evaluate.unseen_episodes)
  total = len(recorded) + len(background) + len(unseen)
  with Progress(total, "record", unit="episode") as progress:
    with open_env(config) as env:
      seen = film_episodes(
        env, settings, views, recorded, progress=progress, robot_free=settings.robot_free
      )
      _require_success(seen, config)
      write_videos(workdir / "videos", seen, overwrite=True)
      if settings.format != "mp4":
        write_dataset(workdir / "dataset", seen, settings.format, overwrite=True)
      # As ever, whatever config.record.hold is; random motion hardly ever succeeds.
      moving = film_episodes(env, settings, views, background, _move, progress, hold=5)
      if moving:
        write_videos(workdir / "background", moving, overwrite=True)
    with open_env(config, placement=None) as env:
      films = film_episodes(env, settings, views, unseen, progress=progress)
    if films:
      write_videos(workdir / "unseen", films, overwrite=True)
  succeeded = [bool(video.success) for video in films]
  return {
    "videos": len(seen),
    "frames": sum(len(video.frames) for video in seen),
    "expert_success_unseen": sum(succeeded) / len(succeeded) if succeeded else None,
  }


def _move(env: RobotEnv, seed: int):
  return random_motion(seed, env.action_space.shape[0])


def _require_success(videos: list[Video], config: ml_collections.ConfigDict) -> None:
  """Raises UserError where the expert failed in a video; says which horizon would do."""
  failed = {video.episode: video.source for video in videos if not video.success}
  if not failed:
    return
  with open_env(config, horizon=max(_LONGEST, config.env.horizon), render_mode=None) as env:
    needed = steps_to_success(env, episode_seed(Stream.RECORDED, config.seed, min(failed)))
  if needed and needed > config.env.horizon:
    raise UserError(
      f"expected config.env.horizon of at least {needed} steps, which the scripted expert needs in "
      f"{failed[min(failed)]}, got {config.env.horizon}; raise it."
    )
  raise UserError(
    "expected the scripted expert to succeed, got failures in "
    f"{', '.join(sorted(failed.values()))}; choose another seed, task or control."
  )
