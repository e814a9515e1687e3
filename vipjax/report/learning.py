"""One page of many policies by task: learning curves and a table, means over seeds."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.evaluation import bootstrap_interval
from vipjax.report import pictures
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import Safe, element, section, small, table
from vipjax.report.tables import duration_text
from vipjax.runtime import files, run_folder
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.metrics import read_metrics, split_parts

_STAGE = "policy"
_SOLVED = 0.8  # success of an evaluation
_IN_A_ROW = 2
_CAPTION = (
  "Each line is the mean over seeds of the evaluations on the way, its band the 95% bootstrap "
  "interval where there are several. With few seeds bands are too narrow: none of three seeds is "
  "wider than from the least to the greatest of them."
)
_LEGEND = (
  "Success and return are those of the policy kept, in episodes that it was not chosen by. Numbers "
  "are means over seeds [95% bootstrap interval]; (1 of 3) says how many of the seeds have such a "
  "number. Actions to 80% end at the first evaluation with a success of 80%."
)


class Group(NamedTuple):
  """Runs that differ in their seed alone: one line of a chart, one row of the table.

  Attributes:
    task: the task, which has a chart.
    name: of the line and the row, in words.
    folders: the run folders.
    reward: what its returns are sums of; returns of one reward share a chart.
  """

  task: str
  name: str
  folders: tuple[pathlib.Path, ...]
  reward: str = "embedding reward"


class PolicyRun(NamedTuple):
  """The policy of a run folder, or one of several that learned there at once.

  Attributes:
    folder: the run folder.
    evaluations: those rows of its metrics that have a success, in order.
    result: of the stage "policy"; {} while it is not finished.
    seconds: of the stage; None while it is not finished.
    agent: the name, such as "seed1", of one of several that learned at once; else "".
  """

  folder: pathlib.Path
  evaluations: list[dict[str, Any]]
  result: dict[str, Any]
  seconds: float | None
  agent: str = ""

  def of_kept(self, name: str) -> float | None:
    """Returns the result "policy_<name>", or "<name>" in a run that has nothing but a policy."""
    return self.result.get(f"policy_{name}", self.result.get(name))

  def at_last(self) -> float | None:
    """Returns the success at the last evaluation so far."""
    return self.evaluations[-1]["success"] if self.evaluations else None

  def actions_to_solve(self) -> int | None:
    """Returns the actions up to the first evaluation with a success of 80%; None if none has."""
    solved = (row["step"] for row in self.evaluations if row["success"] >= _SOLVED)
    return next(solved, None)


class Column(NamedTuple):
  """A column of the table.

  Attributes:
    title: in words.
    number: takes a run and returns its number, or None where it has none.
    text: formats a number.
    interval: whether an interval stands beside the mean.
  """

  title: str
  number: Callable[[PolicyRun], float | None]
  text: Callable[[float], str]
  interval: bool = True


COLUMNS = (
  Column("success", lambda run: run.of_kept("success"), "{:.0%}".format),
  Column("at the last evaluation", PolicyRun.at_last, "{:.0%}".format, interval=False),
  Column("actions to 80%", PolicyRun.actions_to_solve, "{:,.0f}".format),
  Column("return", lambda run: run.of_kept("return"), "{:.3g}".format, interval=False),
  Column("wall clock", lambda run: run.seconds, duration_text, interval=False),
)


def read_policies(group: Group) -> list[PolicyRun]:
  """Reads the runs of a group, finished or not; those that were never evaluated are left out.

  Agents that learned at once are a run each, and each took the time of all.
  """
  runs = []
  for folder in group.folders:
    every = read_metrics(folder, _STAGE)
    done = run_folder.stage_done(folder, _STAGE)
    result = run_folder.stage_result(folder, _STAGE) if done else {}
    seconds = run_folder.stage_seconds(folder, _STAGE) if done else None
    results = {f"seed{agent['seed']}": agent for agent in result.get("agents", [])}
    for agent, of_agent in (split_parts(every) or {"": every}).items():
      rows = [row for row in of_agent if row.get("success") is not None]
      if rows or done:
        runs.append(PolicyRun(folder, rows, results.get(agent, result), seconds, agent))
  return runs


def learning_cells(
  policies: Mapping[Group, Sequence[PolicyRun]], name: str, columns: Sequence[Column] = COLUMNS
) -> tuple[list[str], list[list[str]]]:
  """Returns header and rows of the table, a row for each group.

  Args:
    policies: the runs of each group, at least one.
    name: title of the groups' names.
    columns: what follows task, name and the number of seeds.
  """
  rows = []
  for group, runs in policies.items():
    done = sum(bool(run.result) for run in runs)
    seeds = str(done) if done == len(runs) else f"{done} of {len(runs)} done"
    rows.append([group.task, group.name, seeds, *(_cell(column, runs) for column in columns)])
  return ["task", name, "seeds", *(column.title for column in columns)], rows


def _cell(column: Column, runs: Sequence[PolicyRun]) -> str:
  found = [column.number(run) for run in runs]
  known = [number for number in found if number is not None]
  if not known:
    return "-"
  text = column.text(float(np.mean(known)))
  if column.interval and len(known) > 1:
    text += " [{}, {}]".format(*map(column.text, bootstrap_interval(known)))
  return text if len(known) == len(runs) else f"{text} ({len(known)} of {len(runs)})"


def learning_charts(
  policies: Mapping[Group, Sequence[PolicyRun]], key: str, yaxis: Mapping[str, Any]
) -> list[Chart]:
  """Returns a chart for each task of a metric against actions: a line and a band for each group.

  Args:
    policies: the runs of each group.
    key: of the metric.
    yaxis: Plotly's settings of the axis.
  """
  names = list(dict.fromkeys(group.name for group in policies))
  traces: dict[str, list[dict[str, Any]]] = {}
  for group, runs in policies.items():
    colour = names.index(group.name)
    traces.setdefault(group.task, []).extend(_line(runs, key, group.name, colour))
  layout = {"xaxis": {"title": "environment steps"}, "yaxis": yaxis, "showlegend": len(names) > 1}
  return [Chart(task, lines, layout) for task, lines in traces.items() if lines]


def _line(runs: Sequence[PolicyRun], key: str, name: str, colour: int) -> list[dict[str, Any]]:
  """The band, where several seeds were evaluated at the same step, and the line upon it."""
  by_step: dict[int, list[float]] = {}
  for run in runs:
    for row in run.evaluations:
      if row.get(key) is not None:
        by_step.setdefault(row["step"], []).append(row[key])
  steps = sorted(by_step)
  if not steps:
    return []
  mean = [float(np.mean(by_step[step])) for step in steps]
  several = [step for step in steps if len(by_step[step]) > 1]
  made = {"x": steps, "y": mean, "name": name, "colour": colour, "plotly": {"mode": "lines"}}
  if not several:
    return [made]
  low, high = zip(*(bootstrap_interval(by_step[step]) for step in several), strict=True)
  band = {
    "x": [*several, *reversed(several)], "y": [*low, *reversed(high)], "name": name,
    "colour": colour, "plotly": {"fill": "toself", "line": {"width": 0}, "opacity": 0.4,
                                 "hoverinfo": "skip", "showlegend": False},
  }  # fmt: skip
  return [band, made]


def write_learning(
  workdir: pathlib.Path,
  file: str,
  title: str,
  groups: Sequence[Group],
  name: str,
  columns: Sequence[Column] = COLUMNS,
  extra: Sequence[Safe] = (),
) -> pathlib.Path | None:
  """Writes `<file>.html`, `<file>.png` (success against actions) and `table.md` of what is there.

  Args:
    workdir: the folder to write into.
    file: name of the page, without its ending.
    title: of the page.
    groups: the runs, finished or not, in the order to show them.
    name: title of the groups' names.
    columns: of the table.
    extra: further sections of the page, at its end.

  Returns:
    The page's path; None, and nothing is written, where no run has been evaluated yet.
  """
  policies = {group: runs for group in groups if (runs := read_policies(group))}
  if not policies:
    return None
  success = learning_charts(policies, "success", {"title": "success", "range": [-0.05, 1.05]})
  if success:
    rows = [success[i : i + _IN_A_ROW] for i in range(0, len(success), _IN_A_ROW)]
    files.write_bytes(workdir / f"{file}.png", pictures.draw(rows))
  parts = [section("Success", grid(success, "charts broad"), small(_CAPTION))]
  for reward in dict.fromkeys(group.reward for group in policies):
    of_reward = {group: runs for group, runs in policies.items() if group.reward == reward}
    charts = learning_charts(of_reward, "return", {"title": "return"})
    parts.append(section(f"Return: {reward}", grid(charts, "charts broad")))
  header, rows = learning_cells(policies, name, columns)
  files.write_text(workdir / "table.md", markdown_table(header, rows) + "\n")
  numbers = table(header, rows, range(2, len(header)))
  parts.append(section("All numbers", numbers, small(_LEGEND)))
  path = workdir / f"{file}.html"
  heading = element("header", element("h1", title))
  files.write_text(path, chart_document(title, heading, *parts, *extra))
  return path
