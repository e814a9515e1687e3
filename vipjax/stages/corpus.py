"""The pretraining corpus: many tasks, random viewpoints, experts good and bad, random motion."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import pathlib
import time
from typing import Any

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
from vipjax.runtime import files, run_folder, shared
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.scene import View
from vipjax.types import Video
from vipjax.videos.write import write_videos

STAGE = "corpus"
# Of an episode, in control steps; a recovering expert has lost time before its film begins.
_HORIZON = 200
# Control steps; shorter films show nothing: the task was solved as good as at their beginning.
_SHORTEST = 13


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
  """What is recorded of each task.

  Attributes:
    controls: the episodes take turns among these, "torque" and "end_effector".
    expert_episodes: of the scripted expert, with action noise drawn from `noise`.
    recovering_episodes: of experts led astray, filmed from where they take up the task again: what
      is far from the goal off the expert's path is learnt from these.
    astray: range of the control steps of random motion that lead them there; before these, every
      other expert goes the right way for as many steps as `approach`, a range, says.
    noisy_episodes: of the expert with `heavy_noise`, most of which fail.
    random_episodes: of random motion.
    noise: deviations of the Gaussian noise on the expert's actions.
    heavy_noise: that of the noisy episodes.
    size: pixels.
    frame_stride: control steps from frame to frame.
    max_frames: failed episodes are cut to so many.
    azimuth, elevation: range of the random viewpoint of each episode, degrees.
    distance: range, metres.
    close_azimuths: each episode is filmed once more from near one of these; () for not.
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


def record_corpus(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records every task that is not held out, one process per core; finished tasks are kept.

  Writes `videos/<task>/`. Successful episodes of experts, recovering ones too, are also filmed
  without the robot; failed, noisy and random ones are kept and marked by `success`.

  Args:
    config: `config.corpus` and `config.seed`, as declared in configs/pretrain.py.
    workdir: the run folder.

  Returns:
    "tasks", "videos", "frames", "expert_success" (of each control of each task) and
    "frames_per_second".

  Raises:
    UserError: held_out or only names a task that there is not, or there is no shared memory.
  """
  if run_folder.stage_done(workdir, STAGE):
    return run_folder.stage_result(workdir, STAGE)
  started = time.monotonic()
  options = dict(config.corpus)
  held_out, only = set(options.pop("held_out")), set(options.pop("only"))
  unknown = (held_out | only) - set(task_names())
  if unknown:
    raise UserError(
      f"expected names of Meta-World tasks in config.corpus, got {sorted(unknown)}; the tasks are "
      f"{', '.join(task_names())}."
    )
  tasks = [name for name in task_names() if name not in held_out and (not only or name in only)]
  settings = CorpusSettings(**options)
  jobs = [(name, settings, config.seed, str(workdir / "videos" / name)) for name in tasks]
  facts = []
  shared.require(1)  # the pool's locks lie there
  context = multiprocessing.get_context("spawn")
  with (
    context.Pool(usable_cores(), maxtasksperchild=4) as pool,
    Progress(len(jobs), STAGE, unit="task") as progress,
  ):
    for fact in pool.imap_unordered(_record_task, jobs):
      facts.append(fact)
      progress.update(1, frames=sum(each["frames"] for each in facts))
  seconds = time.monotonic() - started
  frames = sum(fact["frames"] for fact in facts)
  result = {
    "tasks": len(facts),
    "videos": sum(fact["videos"] for fact in facts),
    "frames": frames,
    "expert_success": {fact["task"]: fact["expert_success"] for fact in facts},
    "frames_per_second": frames / seconds,
  }
  run_folder.mark_done(workdir, STAGE, result, seconds)
  return result


def _record_task(job) -> dict[str, Any]:
  """One task in a worker process: records it, or finds that an earlier run has."""
  task, settings, seed, folder = job
  facts_file = pathlib.Path(folder) / "facts.json"
  if facts_file.exists():
    return files.read_json(facts_file)
  videos, successes = [], {control: [] for control in settings.controls}
  kinds = (
    ["expert"] * settings.expert_episodes
    + ["recovering"] * settings.recovering_episodes
    + ["noisy"] * settings.noisy_episodes
    + ["random"] * settings.random_episodes
  )
  # The same numbers for a task whichever other tasks are recorded beside it.
  number = task_names().index(task)
  with contextlib.ExitStack() as stack:
    envs = [
      stack.enter_context(
        RobotEnv(task, control=control, placement=None, joint_noise=0.05, size=settings.size)
      )
      for control in settings.controls
    ]
    for episode, kind in enumerate(kinds):
      rng = np.random.default_rng([seed, number, episode])
      env = envs[episode % len(envs)]
      made = _record_episode(env, kind, episode, rng, settings)
      if kind == "expert" and made:
        successes[env.control].append(bool(made[0].success))
      videos += made
  # Learnt from, never a goal that an agent is measured to: films alone will do.
  write_videos(folder, videos, crf=18, stills=False, overwrite=True)
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


def _record_episode(env: RobotEnv, kind: str, episode: int, rng, settings) -> list[Video]:
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
  videos = record_episode(
    env, views, seed, robot_free=kind in ("expert", "recovering"), hold=6,
    frame_stride=settings.frame_stride, act=act, episode=episode, begin=begin,
  )  # fmt: skip
  if len(videos[0].frames) - 1 < math.ceil(_SHORTEST / settings.frame_stride):
    return []
  if videos[0].success:
    return videos
  # Failed and random episodes say nothing of a goal: their first part, with the robot, will do.
  return [
    dataclasses.replace(video, frames=video.frames[: settings.max_frames])
    for video in videos
    if video.robot_visible
  ]


def _random_view(env: RobotEnv, rng, settings) -> View:
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


def _close_view(rng, settings) -> View:
  """Where people put a camera: near one of a few places that see the table's middle."""
  return View(
    azimuth=float(rng.choice(settings.close_azimuths) + rng.uniform(-5, 5)),
    elevation=-35.0 + float(rng.uniform(-5, 5)),
    distance=float(rng.uniform(0.9, 1.1)),
  )
