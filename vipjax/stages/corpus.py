"""The pretraining corpus: many tasks, random viewpoints, experts good and bad, random motion."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib
import time
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from vipjax.envs import (
  RobotEnv,
  noisy_expert,
  random_motion,
  record_episode,
  recovering_expert,
  task_names,
)
from vipjax.runtime import files
from vipjax.runtime.processes import share_out
from vipjax.runtime.progress import Progress
from vipjax.runtime.settings import from_section
from vipjax.scene import View
from vipjax.stages.filming import Act, require_tasks
from vipjax.stages.stage import stage
from vipjax.types import Video
from vipjax.videos.formats.folders import write_videos

# Control steps of an episode; a recovering expert's film begins after as many as it has lost.
_HORIZON = 200
# Control steps; a shorter film shows nothing, for the task is all but solved when it begins.
SHORTEST = 13
HOLD = 6  # control steps filmed after success
_JOINT_NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
  """What is recorded of each task, as configs/pretrain.py declares it.

  Attributes:
    controls: "torque" and "end_effector", or one of them; the episodes take turns.
    expert_episodes: episodes of the scripted expert with action noise drawn from `noise`.
    recovering_episodes: episodes of experts that were led astray, filmed from where they take up
      the task again; they teach how far from the goal states off the expert's path are.
    astray: range of the control steps of random motion that lead them there.
    approach: range of the control steps that every other one of them first goes the right way.
    noisy_episodes: episodes of the expert with `heavy_noise`, most of which fail.
    random_episodes: episodes of random motion.
    noise: deviations of the Gaussian noise on the expert's actions.
    heavy_noise: the deviation in noisy episodes.
    size: pixels.
    frame_stride: control steps from frame to frame.
    max_frames: frames that are kept of an episode that fails.
    azimuth, elevation: ranges of the random viewpoint of each episode, degrees.
    distance: its range, metres.
    close_azimuths: each episode is filmed a second time from near one of these; () for not.
  """

  controls: tuple[str, ...]
  expert_episodes: int
  recovering_episodes: int
  astray: tuple[int, int]
  approach: tuple[int, int]
  noisy_episodes: int
  random_episodes: int
  noise: tuple[float, ...]
  heavy_noise: float
  size: int
  frame_stride: int
  max_frames: int
  azimuth: tuple[float, float]
  elevation: tuple[float, float]
  distance: tuple[float, float]
  close_azimuths: tuple[float, ...]


class Plan(NamedTuple):
  """An episode of the corpus that is about to be played.

  Attributes:
    kind: "expert", "recovering", "noisy" or "random".
    seed: of the episode.
    views: the viewpoints by name that the corpus films it from.
    act: its policy.
    begin: control steps before the film begins.
  """

  kind: str
  seed: int
  views: dict[str, View]
  act: Act
  begin: int


@stage("corpus")
def record_corpus(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records every task that is not held out, one process per core; finished tasks are kept.

  Writes `videos/<task>/`. Successful episodes of experts, recovering ones too, are also filmed
  without the robot; failed, noisy and random ones are kept and marked by `success`.

  Returns:
    "tasks", "videos", "frames", "expert_success" (of each control of each task) and
    "frames_per_second".

  Raises:
    UserError: held_out or only names a task that there is not, or there is no shared memory.
  """
  started = time.monotonic()
  held_out, only = config.corpus.held_out, config.corpus.only
  require_tasks("corpus.held_out", held_out)
  require_tasks("corpus.only", only)
  tasks = [name for name in task_names() if name not in held_out and (not only or name in only)]
  settings = from_section(CorpusSettings, config.corpus, "corpus")
  record = functools.partial(_record_task, settings, config.seed, workdir / "videos")
  facts, frames = [], 0
  with Progress(len(tasks), "corpus", unit="task") as progress:
    for fact in share_out(record, tasks, per_process=4):
      facts.append(fact)
      frames += fact["frames"]
      progress.update(1, frames=frames)
  return {
    "tasks": len(facts),
    "videos": sum(fact["videos"] for fact in facts),
    "frames": frames,
    "expert_success": {fact["task"]: fact["expert_success"] for fact in facts},
    "frames_per_second": frames / (time.monotonic() - started),
  }


def _record_task(
  settings: CorpusSettings, seed: int, parent: pathlib.Path, task: str
) -> dict[str, Any]:
  """Records one task in a worker process, unless an earlier run has; returns facts of it."""
  folder = parent / task
  facts_file = folder / "facts.json"
  if facts_file.exists():
    return files.read_json(facts_file)
  videos, successes = [], {control: [] for control in settings.controls}
  with contextlib.ExitStack() as stack:
    envs = [
      stack.enter_context(
        RobotEnv(
          task, control=control, placement=None, joint_noise=_JOINT_NOISE, size=settings.size
        )
      )
      for control in settings.controls
    ]
    for episode, kind in enumerate(episode_kinds(settings)):
      env = envs[episode % len(envs)]
      made = _record_episode(
        env, plan_episode(env, kind, episode, seed, settings), episode, settings
      )
      if kind == "expert" and made:
        successes[env.control].append(bool(made[0].success))
      videos += made
  # Stills serve as an agent's goals, which these videos never are: films alone will do.
  write_videos(folder, videos, crf=18, keep="none", overwrite=True)
  facts = {
    "task": task,
    "videos": len(videos),
    "frames": sum(len(video.frames) for video in videos),
    "expert_success": {
      control: float(np.mean(seen)) if seen else None for control, seen in successes.items()
    },
  }
  files.write_json(facts_file, facts)
  return facts


def episode_kinds(settings: CorpusSettings) -> list[str]:
  """The kind of each episode of a task, in their order."""
  return (
    ["expert"] * settings.expert_episodes
    + ["recovering"] * settings.recovering_episodes
    + ["noisy"] * settings.noisy_episodes
    + ["random"] * settings.random_episodes
  )


def plan_episode(
  env: RobotEnv, kind: str, episode: int, run_seed: int, settings: CorpusSettings
) -> Plan:
  """Plans an episode of a kind and sets the horizon that it needs.

  Its random numbers do not depend on which other tasks are recorded beside it.

  Args:
    env: the environment, which is reset.
    kind: one of `episode_kinds`.
    episode: its number in the task.
    run_seed: config.seed.
    settings: of the corpus.
  """
  rng = np.random.default_rng([run_seed, task_names().index(env.task_name), episode])
  seed = int(rng.integers(2**31))
  env.reset(seed=seed)
  views = {f"{kind}-any": _random_view(env, rng, settings)}
  if settings.close_azimuths:
    views[f"{kind}-close"] = _close_view(rng, settings)
  begin = 0
  if kind == "random":
    act = random_motion(seed, env.action_space.shape[0])
  elif kind == "recovering":
    toward = int(rng.integers(*settings.approach)) if rng.random() < 0.5 else 0
    away = int(rng.integers(*settings.astray))
    act, begin = recovering_expert(env, toward, away, seed), toward + away
  else:
    noise = settings.heavy_noise if kind == "noisy" else float(rng.choice(settings.noise))
    act = noisy_expert(env, noise, rng)
  env.horizon = _HORIZON + begin
  return Plan(kind, seed, views, act, begin)


def _record_episode(
  env: RobotEnv, plan: Plan, episode: int, settings: CorpusSettings
) -> list[Video]:
  """Films a planned episode; [] where the film would show nothing."""
  videos = record_episode(
    env, plan.views, plan.seed, robot_free=plan.kind in ("expert", "recovering"), hold=HOLD,
    frame_stride=settings.frame_stride, act=plan.act, episode=episode, begin=plan.begin,
  )  # fmt: skip
  if len(videos[0].frames) - 1 < math.ceil(SHORTEST / settings.frame_stride):
    return []
  if videos[0].success:
    return videos
  # Failed and random episodes show no goal: their first part, with the robot, will do.
  return [
    dataclasses.replace(video, frames=video.frames[: settings.max_frames])
    for video in videos
    if video.robot_visible
  ]


def _random_view(env: RobotEnv, rng: np.random.Generator, settings: CorpusSettings) -> View:
  """A viewpoint around the first object of the present placement."""
  position = env.task._get_pos_objects()[:3]
  lookat = (
    float(np.clip(0.5 * position[0] + rng.uniform(-0.05, 0.05), -0.3, 0.3)),
    float(np.clip(position[1], 0.55, 0.8)),
    0.15 + float(rng.uniform(-0.03, 0.05)),
  )
  return View(
    lookat=lookat,
    azimuth=float(rng.uniform(*settings.azimuth)),
    elevation=float(rng.uniform(*settings.elevation)),
    distance=float(rng.uniform(*settings.distance)),
  )


def _close_view(rng: np.random.Generator, settings: CorpusSettings) -> View:
  """A viewpoint where people put cameras: near one of a few that see the table's middle."""
  return View(
    azimuth=float(rng.choice(settings.close_azimuths) + rng.uniform(-5, 5)),
    elevation=-35.0 + float(rng.uniform(-5, 5)),
    distance=float(rng.uniform(0.9, 1.1)),
  )
