"""How often the scripted experts solve Meta-World's tasks, by arm and control. Physics only."""

from __future__ import annotations

import multiprocessing
import pathlib
from typing import Any

import ml_collections

from vipjax.envs.expert import steps_to_success
from vipjax.envs.metaworld_task import task_names
from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.seeds import Stream, episode_seed
from vipjax.runtime import files, shared
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.progress import Progress

FILE = "expert_success.json"
# The environments' own time limit, within which a task counts as solved.
_HORIZON = 200


def measure(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Runs the experts, one process per core; what was measured before stays.

  Writes `expert_success.json` after every task.

  Args:
    config: keys as declared in configs/tasks.py.
    workdir: the run folder.

  Returns:
    {"<robot>/<control>": {task: [control steps to success, or None, of each episode]}}.

  Raises:
    UserError: an unknown task, robot or control, or fewer than 1 episode.
  """
  settings = config.tasks
  unknown = sorted(set(settings.names) - set(task_names()))
  if unknown:
    raise UserError(
      f"expected names of Meta-World tasks in config.tasks.names, got {unknown}; the tasks are "
      f"{', '.join(task_names())}."
    )
  if settings.episodes < 1:
    raise UserError(f"expected at least 1 episode of each task, got {settings.episodes}.")
  file = workdir / FILE
  results = files.read_json(file) if file.exists() else {}
  jobs = [
    (task, robot, control, settings.episodes, settings.horizon, config.seed)
    for robot in settings.robots
    for control in settings.controls
    for task in settings.names or task_names()
    if task not in results.get(f"{robot}/{control}", {})
  ]
  shared.require(1)  # the pool's locks lie there
  context = multiprocessing.get_context("spawn")
  with (
    context.Pool(usable_cores(), maxtasksperchild=8) as pool,
    Progress(len(jobs), "experts", unit="task") as progress,
  ):
    for (task, robot, control, *_), steps in pool.imap_unordered(_episodes, jobs):
      results.setdefault(f"{robot}/{control}", {})[task] = steps
      files.write_json(file, results)
      progress.update()
  return results


def table(results: dict[str, Any]) -> str:
  """The results in Markdown, a row for each task.

  A cell is the share of episodes solved within 200 steps and, where it is more, within the
  horizon in brackets.
  """
  columns = list(results)
  header = ["task", *(name.replace("/", ", ") for name in columns)]
  tasks = sorted({task for of_column in results.values() for task in of_column})
  rows = [[task, *(_cell(results[name].get(task)) for name in columns)] for task in tasks]
  counts = (sum(solved(steps) for steps in results[name].values()) for name in columns)
  return markdown_table(header, [*rows, ["solved in more than 80%", *map(str, counts)]])


def solved(steps: list[int | None]) -> bool:
  """Whether more than 80% of the episodes succeeded within 200 steps."""
  return _share(steps, _HORIZON) > 0.8


def _share(steps: list[int | None], limit: float) -> float:
  return sum(step is not None and step <= limit for step in steps) / len(steps)


def _cell(steps: list[int | None] | None) -> str:
  if steps is None:
    return "-"
  soon, late = (_share(steps, limit) for limit in (_HORIZON, float("inf")))
  return f"{soon:.0%} ({late:.0%})" if late > soon else f"{soon:.0%}"


def _episodes(job: tuple) -> tuple[tuple, list[int | None]]:
  """The job, and after how many steps each of its episodes succeeded."""
  task, robot, control, episodes, horizon, run_seed = job
  results = []
  with RobotEnv(task, robot, control, horizon=horizon, render_mode=None) as env:
    for episode in range(episodes):
      results.append(steps_to_success(env, episode_seed(Stream.UNSEEN, run_seed, episode)))
  return job, results
