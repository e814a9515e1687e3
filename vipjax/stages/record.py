"""The record stage: expert episodes of the configured environment as videos in the run folder."""

from __future__ import annotations

import pathlib
from typing import Any

import ml_collections

from vipjax.envs import RobotEnv, Stream, episode_seed, random_motion
from vipjax.envs.expert import steps_to_success
from vipjax.reward.settings import PREDICTED
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.agent import policy_views
from vipjax.stages.filming import film_episodes, open_env, unseen_seeds
from vipjax.stages.inputs import views_from_config
from vipjax.stages.stage import stage
from vipjax.stages.task import LONGEST, candidate_seeds, fit_to_task
from vipjax.videos.export import write_dataset
from vipjax.videos.formats.folders import write_videos

ROBOTS = "robots"  # folder in a run folder
_ROBOT_FRAMES = 50  # of a film in it, at most


@stage("record")
def record(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records the videos that the config asks for, once.

  Writes `videos/` (the expert), `unseen/` (the expert at placements never recorded, for evaluation
  alone), `background/` (random motion, where asked for) and, for the robot-free encoder, `robots/`
  (random motion, with and without the robot). Where config.record.format names a
  format of other people, the expert's videos are also written in it, to `dataset/`.

  Returns:
    JSON-able facts: "videos" and "frames" (those in `videos/`), "expert_success_unseen" (share of
    the unseen episodes, None without any).

  Raises:
    UserError: the expert fails, or needs a longer horizon; no views, or bad settings.
  """
  config = fit_to_task(config, workdir)
  settings, views = config.record, views_from_config(config.views)
  recorded = _solved_seeds(config)
  background = [
    episode_seed(Stream.BACKGROUND, config.seed, episode)
    for episode in range(settings.random_episodes)
  ]
  waving = config.robot_free.random_episodes if config.reward.robot_free == PREDICTED else 0
  robots = [episode_seed(Stream.ROBOTS, config.seed, episode) for episode in range(waving)]
  unseen = unseen_seeds(config.evaluate.unseen_episodes)
  total = len(recorded) + len(background) + len(robots) + len(unseen)
  with Progress(total, "record", unit="episode") as progress:
    with open_env(config) as env:
      seen = film_episodes(
        env, settings, views, recorded, progress=progress, robot_free=settings.robot_free,
        retreat=settings.retreat,
      )  # fmt: skip
      write_videos(workdir / "videos", seen, overwrite=True)
      if settings.format != "mp4":
        write_dataset(workdir / "dataset", seen, settings.format, overwrite=True)
      # As ever, whatever config.record.hold is; random motion hardly ever succeeds.
      moving = film_episodes(env, settings, views, background, _move, progress, hold=5)
      if moving:
        write_videos(workdir / "background", moving, overwrite=True)
      if robots:
        stride = -(-config.env.horizon // _ROBOT_FRAMES)
        films = film_episodes(
          env, settings, policy_views(config), robots, _move, progress, hold=5, robot_free=True,
          frame_stride=stride,
        )  # fmt: skip
        write_videos(workdir / ROBOTS, films, overwrite=True)
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


def _solved_seeds(config: ml_collections.ConfigDict) -> list[int]:
  """The first candidate seeds in which the expert succeeds, as many as episodes to record.

  Raises:
    UserError: it succeeds in fewer; says which horizon would do, if any.
  """
  count, horizon = config.record.episodes, config.env.horizon
  solved, longer, seeds = [], [], candidate_seeds(config)
  with open_env(config, horizon=max(LONGEST, horizon), render_mode=None) as env:
    for number, seed in enumerate(seeds):
      steps = steps_to_success(env, seed)
      if steps is not None:
        (solved if steps <= horizon else longer).append((steps, number))
      if len(solved) == count:
        break
  if len(solved) < count <= len(solved) + len(longer):
    needed = sorted(longer)[count - len(solved) - 1][0]
    raise UserError(
      f"expected config.env.horizon of at least {needed} steps, which the scripted expert needs at "
      f"{config.env.task}, got {horizon}; raise it."
    )
  if len(solved) < count:
    raise UserError(
      f"expected the scripted expert to succeed at {config.env.task} in {count} of {len(seeds)} "
      f"episodes, got {len(solved)}; choose another seed, task or control."
    )
  numbers = [number for _, number in solved]
  if numbers != list(range(count)):
    print(f"the scripted expert fails in others: recorded are the episodes {numbers}", flush=True)
  return [seeds[number] for number in numbers]
