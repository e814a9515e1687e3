"""The whole method at many tasks: four videos of each, a policy, and how near to the ceiling it is.

Every run is the pipeline's, of one task and seed; what is common to all tasks stands in one config.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax.experiments import ceiling
from vipjax.experiments.runs import require_seeds_apart, run_all
from vipjax.report.html import Safe, element, section, small, video
from vipjax.report.learning import COLUMNS, Column, Group, PolicyRun, read_policies, write_learning
from vipjax.report.page import write_report
from vipjax.report.tables import duration_text
from vipjax.runtime import files, ranges, run_folder
from vipjax.runtime.platform import on_cpu
from vipjax.stages.filming import require_tasks
from vipjax.stages.pipeline import Additions, run_stages

_LAST_STAGE = "report"
_TITLE = "Many tasks, four videos each"
_FILMS = (
  "One episode of each kept policy, from the first start of its run; of a policy that fails, most "
  "likely its failure. Each links to the run's own report."
)


def run_ten_tasks(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, additions: Additions
) -> pathlib.Path | None:
  """Runs the pipeline at every task with every seed, and writes the page that compares tasks.

  A run is a run folder, <workdir>/<task>/seed<n>, with its own report, and goes on where it
  stopped. `ten_tasks.html`, `ten_tasks.png` and `table.md` tell of all runs in the folder,
  unfinished ones among them; they are written at the start and after every run.

  Args:
    config: as configs/ten_tasks.py makes it.
    workdir: the folder of all runs.
    additions: as `run_stages` takes it.

  Returns:
    The page's path; None where no run has been evaluated yet.

  Raises:
    UserError: an unknown task, a bad setting, or another process uses the folder.
  """
  ranges.check("", config)
  settings = config.ten_tasks
  require_seeds_apart("ten_tasks.seeds", settings.seeds, config.policy.seeds)
  require_tasks("ten_tasks.tasks", [task for task, _ in settings.tasks])
  jobs = [
    (workdir / task / f"seed{seed}", run_config(config, task, control, seed))
    for seed in settings.seeds
    for task, control in settings.tasks
  ]
  page = functools.partial(write_page, workdir, settings.tasks, settings.ceiling)
  problems = run_all(
    "ten_tasks", workdir, jobs, functools.partial(_run, additions), _LAST_STAGE, page, on_cpu()
  )
  return page(problems)


def run_config(
  config: ml_collections.ConfigDict, task: str, control: str, seed: int
) -> ml_collections.ConfigDict:
  """The config of one run: the experiment's without its section `ten_tasks`, at a task."""
  made = ml_collections.ConfigDict(config.to_dict())
  del made["ten_tasks"]
  made.seed, made.env.task, made.env.control = seed, task, control
  return made


def write_page(
  workdir: pathlib.Path,
  tasks: Sequence[tuple[str, str]],
  ceilings: str = "",
  problems: Sequence[str] = (),
) -> pathlib.Path | None:
  """Writes the page, its picture and the table of all runs in the folder, as `write_learning`.

  Args:
    workdir: the folder of all runs.
    tasks: (task, control), in the order to show them.
    ceilings: the folder of `launch.ceiling`'s runs; "" for none.
    problems: why runs are missing, in words.
  """
  groups = [
    Group(task, control.replace("_", " "), folders)
    for task, control in tasks
    if (folders := tuple(sorted((workdir / task).glob("seed*"))))
  ]
  best = _ceilings(ceilings, tasks) if ceilings else {}
  columns = (*COLUMNS[:3], *_columns(best), Column("wall clock", _seconds, duration_text, False))
  films = [film for group in groups for film in _films(workdir, group)]
  extra = [section("Films", element("div", *films, class_="charts four"), small(_FILMS))]
  if problems:
    extra.append(section("Left out", *(element("p", text) for text in problems)))
  return write_learning(workdir, "ten_tasks", _TITLE, groups, "control", columns, extra)


def _run(additions: Additions, config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
  """Runs all stages and the report of one task and seed in a process of `run_all`."""
  results = run_stages(config, folder, additions)
  write_report(folder)
  run_folder.mark_done(folder, _LAST_STAGE, {}, 0.0)
  return f"{results['policy_success']:.0%} of {results['episodes']}"


def _columns(best: Mapping[str, float]) -> tuple[Column, ...]:
  """The columns that tell of the value, and of the ceiling where it is known."""
  named = {
    "rank correlation, unseen": "rank_correlation_unseen",
    "progress off the path": "off_path.reward.progress",
    "hand off the path": "off_path.reward.hand",
    "hack price": "hack_price",
  }
  columns = [
    Column(title, functools.partial(_result, key), "{:.2f}".format, False)
    for title, key in named.items()
  ]
  if best:
    share = Column("share of the ceiling", functools.partial(_share, best), "{:.0%}".format, False)
    columns.append(share)
  return tuple(columns)


def _results(run: PolicyRun) -> dict[str, Any]:
  return files.flatten(files.read_json(run.folder / "results.json", {}))


def _result(key: str, run: PolicyRun) -> float | None:
  return _results(run).get(key)


def _seconds(run: PolicyRun) -> float | None:
  """What all stages of a finished run took together."""
  return sum(files.read_json(run.folder / "results.json", {}).get("seconds", {}).values()) or None


def _share(best: Mapping[str, float], run: PolicyRun) -> float | None:
  """A run's success as a share of the ceiling's at its task, where that is not 0."""
  success, ceiling_success = run.of_kept("success"), best.get(run.folder.parent.name)
  return success / ceiling_success if success is not None and ceiling_success else None


def _ceilings(folder: str, tasks: Sequence[tuple[str, str]]) -> dict[str, float]:
  """The mean success of the ideal potential's kept policies, of the tasks that have some."""
  controls = dict(tasks)
  root = pathlib.Path(folder).expanduser()
  found = {}
  for group in ceiling.find_groups(root):
    if group.name != f"ideal, {controls.get(group.task, '').replace('_', ' ')}":
      continue
    known = [run.of_kept("success") for run in read_policies(group) if run.result]
    if known:
      found[group.task] = float(np.mean(known))
  return found


def _films(workdir: pathlib.Path, group: Group) -> list[Safe]:
  """The films of a task's kept policies, each with a link to the report of its run."""
  shown = []
  for run in read_policies(group):
    film = run.folder / "policy" / run.agent / "final.mp4"
    seed = (run.agent or run.folder.name).removeprefix("seed")
    success = run.of_kept("success")
    if success is None or not film.exists():
      continue
    link = element("a", "report", href=f"{run.folder.relative_to(workdir).as_posix()}/report.html")
    caption = f"{group.task}, seed {seed}: {success:.0%}"
    shown.append(element("div", video(film, caption, workdir), link))
  return shown
