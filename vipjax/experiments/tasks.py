"""How often the scripted experts solve Meta-World's tasks, by arm and control. Physics only."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import ml_collections

from vipjax.envs import RobotEnv, Stream, episode_seed, task_names
from vipjax.envs.expert import steps_to_success
from vipjax.runtime import files, ranges
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.processes import share_out
from vipjax.runtime.progress import Progress
from vipjax.stages.filming import require_tasks

FILE = "expert_success.json"
# The environments' own time limit, within which a task counts as solved.
_HORIZON = 200


def measure(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Runs the experts, one process per core; what was measured before stays.

  Writes `expert_success.json` after every task.

  Returns:
    {"<robot>/<control>": {task: [control steps to success, or None, of each episode]}}.

  Raises:
    UserError: an unknown task, robot or control, or a number out of its range.
  """
  ranges.check("", config)
  settings = config.tasks
  require_tasks("tasks.names", settings.names)
  results = files.read_json(workdir / FILE, {})
  jobs = [
    (task, robot, control)
    for robot in settings.robots
    for control in settings.controls
    for task in settings.names or task_names()
    if task not in results.get(f"{robot}/{control}", {})
  ]
  seeds = [episode_seed(Stream.UNSEEN, config.seed, number) for number in range(settings.episodes)]
  episodes = functools.partial(_episodes, seeds, settings.horizon)
  with Progress(len(jobs), "experts", unit="task") as progress:
    for (task, robot, control), steps in share_out(episodes, jobs, per_process=8):
      results.setdefault(f"{robot}/{control}", {})[task] = steps
      files.write_json(workdir / FILE, results)
      progress.update()
  return results


def table(results: dict[str, Any]) -> str:
  """The results in Markdown, a row for each task.

  A cell is the share of episodes solved within 200 steps and, in brackets, within the horizon where
  that is more.
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


def _episodes(
  seeds: list[int], horizon: int, job: tuple[str, str, str]
) -> tuple[tuple[str, str, str], list[int | None]]:
  """The job (task, robot, control), and after how many steps each of its episodes succeeds."""
  with RobotEnv(*job, horizon=horizon, render_mode=None) as env:
    return job, [steps_to_success(env, seed) for seed in seeds]
