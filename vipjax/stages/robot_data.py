"""The robot_data stage: the corpus's episodes with what the robot did in them, as data sets."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from vipjax.envs import RobotEnv, record_trajectories
from vipjax.ids import SOLVED
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.processes import share_out
from vipjax.runtime.progress import Progress
from vipjax.runtime.settings import from_section
from vipjax.scene import View
from vipjax.stages.corpus import HOLD, SHORTEST, CorpusSettings, episode_kinds, plan_episode
from vipjax.stages.filming import require_tasks
from vipjax.stages.inputs import views_from_config
from vipjax.stages.stage import stage
from vipjax.types import Trajectory
from vipjax.videos.trajectories import FORMATS, write_trajectories

# The folder of all tasks' data sets in a run folder.
FOLDER = "robot"
_ROBOT = "sawyer"  # the corpus's
_PER_STEP = ("actions", "rewards", "discounts")


@dataclasses.dataclass(frozen=True)
class _Recording:
  """What a worker records; picklable.

  Attributes:
    settings: of the corpus.
    views: by name.
    formats: each gets a data set of its own.
    seed: config.seed.
    control: the environments'.
    placement: of the objects; None: at random.
    joint_noise: of the arm at reset, radians.
    parent: gets a folder for each task.
  """

  settings: CorpusSettings
  views: Mapping[str, View]
  formats: tuple[str, ...]
  seed: int
  control: str
  placement: int | None
  joint_noise: float
  parent: pathlib.Path


@stage("robot_data")
def record_robot_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Plays the corpus's episodes of config.robot_data.tasks again and writes all that is known.

  The episodes are those of the corpus of the same seed and config.corpus, whose control is one, at
  every control step and from config.views: failures are kept, up to as many control steps as the
  corpus films.
  Writes `robot/<task>/<format>/`; finished tasks are kept. One process per core.

  Returns:
    "tasks", "trajectories", "successes" and "steps".

  Raises:
    UserError: an unknown task or format, no views, several controls, or there is no shared memory.
  """
  options = config.robot_data
  require_tasks("robot_data.tasks", options.tasks)
  tasks = list(options.tasks) or robot_tasks(config)
  unknown = sorted(set(options.formats) - set(FORMATS))
  if unknown or not options.formats:
    raise UserError(
      f"expected config.robot_data.formats among {', '.join(FORMATS)}, got "
      f"{list(options.formats)}; choose one or both."
    )
  recording = _Recording(
    from_section(CorpusSettings, config.corpus, "corpus"),
    views_from_config(config.views),
    tuple(options.formats),
    config.seed,
    _control(config),
    None if options.placement < 0 else options.placement,
    options.joint_noise,
    workdir / FOLDER,
  )
  facts = []
  with Progress(len(tasks), "robot_data", unit="task") as progress:
    for fact in share_out(functools.partial(_record_task, recording), tasks, per_process=4):
      facts.append(fact)
      progress.update()
  names = ("trajectories", "successes", "steps")
  return {"tasks": sorted(fact["task"] for fact in facts)} | {
    name: sum(fact[name] for fact in facts) for name in names
  }


def robot_tasks(config: ml_collections.ConfigDict) -> list[str]:
  """The tasks that the expert solves by the corpus's control and that are not held out of it."""
  solved = SOLVED[_ROBOT, _control(config)]
  return [task for task in solved if task not in config.corpus.held_out]


def _control(config: ml_collections.ConfigDict) -> str:
  controls = config.corpus.controls
  if len(controls) != 1:
    raise UserError(
      "expected one control in config.corpus.controls, because the actions of one data set are of "
      f"one size, got {list(controls)}; choose 'torque' or 'end_effector'."
    )
  return controls[0]


def _record_task(recording: _Recording, task: str) -> dict[str, Any]:
  """Records one task in a worker process, unless an earlier run has; returns facts of it."""
  folder, settings = recording.parent / task, recording.settings
  facts_file = folder / "facts.json"
  if facts_file.exists():
    return files.read_json(facts_file)
  made: list[Trajectory] = []
  with RobotEnv(
    task, _ROBOT, recording.control, placement=recording.placement,
    joint_noise=recording.joint_noise, size=settings.size,
  ) as env:  # fmt: skip
    for episode, kind in enumerate(episode_kinds(settings)):
      plan = plan_episode(env, kind, episode, recording.seed, settings)
      found = record_trajectories(
        env, recording.views, plan.seed, plan.act, hold=HOLD, episode=episode, begin=plan.begin
      )
      if found and len(found[0]) >= SHORTEST:
        made += [_cut(each, settings) for each in found]
  if not made:
    raise UserError(
      f"expected episodes of at least {SHORTEST} control steps at {task}, got none; raise "
      "config.corpus.expert_episodes or choose other tasks."
    )
  for form in recording.formats:
    write_trajectories(folder / form, made, form, overwrite=True)
  of_one_view = [each for each in made if each.view == made[0].view]
  facts = {
    "task": task,
    "trajectories": len(of_one_view),
    "successes": sum(bool(each.success) for each in of_one_view),
    "steps": sum(len(each) for each in of_one_view),
  }
  files.write_json(facts_file, facts)
  return facts


def _cut(trajectory: Trajectory, settings: CorpusSettings) -> Trajectory:
  """Of a failure the part that the corpus films."""
  steps = settings.max_frames * settings.frame_stride
  if trajectory.success or len(trajectory) <= steps:
    return trajectory
  per_frame = {name: getattr(trajectory, name)[: steps + 1] for name in ("observations", "frames")}
  per_step = {name: getattr(trajectory, name)[:steps] for name in _PER_STEP}
  return dataclasses.replace(trajectory, **per_frame, **per_step)
