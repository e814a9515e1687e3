"""How soon our agent and sbx-rl's solve tasks, by actions and by the clock, on a perfect reward."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vipjax.benchmark import peers
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.contest import Ours, PaidEnvs, Remote, compete, make_envs
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import OURS, SuiteResult
from vipjax.envs import Stream, episode_seed
from vipjax.experiments.ceiling import Contest
from vipjax.report import pictures
from vipjax.report.charts import Chart
from vipjax.report.learning import Column, Group, PolicyRun, learning_cells, learning_charts
from vipjax.runtime import files
from vipjax.runtime.versions import current_versions

ABOUT = (
  "Agents that learn the same tasks in the same environments, from the ideal potential's change "
  "over each action ([ceiling.md](../ceiling.md)); nothing is drawn. Ours is trained as "
  "launch.ceiling trains it. The peers are those of sbx-rl as the package sets them, but for the "
  "number of environments, the updates after a step of all of these, which are ours, and the "
  "replay, which holds all transitions; `1 update an action` is their own ratio instead. SimBa is "
  "its SAC with that policy and with stable-baselines3's running normalization of observations. "
  "Every policy is evaluated without noise in the same episodes by the same function. Seconds are "
  "those of acting and learning: neither of evaluations, nor of compilation, which stands beside "
  "them. Physics and learning take turns in all; a peer's environments are stepped in our process, "
  "and to pack and unpack a step of all of them takes 0.05 ms. Means over seeds [95% bootstrap "
  "interval]; (1 of 3): so many of the seeds got there."
)
AGENTS = {"sac": "sbx SAC", "crossq": "sbx CrossQ", "simba": "sbx SimBa"}
_NEEDS = ("sbx", "stable_baselines3")
_OWN_RATIO = ", 1 update an action"
_SUCCESS = {"title": "success", "range": [-0.05, 1.05]}


def run(
  bench: Bench,
  contests: Sequence[Contest] = (),
  agents: Sequence[str] = tuple(AGENTS),
  own_ratio: bool = True,
  earlier: str | os.PathLike | None = None,
) -> Iterator[SuiteResult]:
  """Lets all contenders learn, one after the other, and yields what is there after each.

  Args:
    bench: finds the peers.
    contests: what they learn.
    agents: the peers, names of AGENTS.
    own_ratio: whether each peer runs also with one update an action.
    earlier: the JSON file of an earlier call; what it has of the same contests, the same packages
      and the same commit is not run again.
  """
  if agents and peers.find_python(_NEEDS, bench.pythons) is None:
    bench.skipped["sbx-rl"] = peers.absence(_NEEDS)
    agents = ()
  versions = current_versions()
  found = files.read_json(earlier, {}) if earlier else {}
  done = found.get("facts", {}).get("runs", [])
  runs: list[dict[str, Any]] = []
  for contest in contests:
    for name, settings in _contenders(contest, agents, own_ratio):
      if name in bench.skipped:
        continue
      what = files.jsonable({
        "contender": name, "settings": settings, "contest": _plain(contest),
        "packages": versions["packages"], "commit": versions["git_commit"],
      })  # fmt: skip
      record = next((each for each in done if each["what"] == what), None)
      if record is None:
        label = f"{contest.task}, {contest.control}, seed {contest.seed}: {name}"
        print(label, file=sys.stderr, flush=True)
        evaluations = _learn(bench, contest, name, settings)
        if evaluations is None:
          continue
        record = files.jsonable({"what": what, "evaluations": evaluations})
      runs.append(record)
      yield _result(bench, runs)
  # Once more, with the reason of a peer that failed last.
  yield _result(bench, runs)


def _contenders(
  contest: Contest, agents: Sequence[str], own_ratio: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields names and settings of all contenders; ours has none of its own."""
  yield OURS, {}
  same = contest.loop.updates_per_step
  for suffix, updates in (("", same), (_OWN_RATIO, contest.num_envs)):
    if not suffix or (own_ratio and updates != same):
      for agent in agents:
        yield AGENTS[agent] + suffix, {"agent": agent, "updates": updates}


def _learn(
  bench: Bench, contest: Contest, name: str, settings: dict[str, Any]
) -> list[dict[str, Any]] | None:
  """Returns the rows of a contender's contest; None, and a reason in `skipped`, if it cannot."""

  def tell(row):
    text = f"  {row['step']:,} actions, {row['seconds']:.0f} s: {row['success']:.0%}"
    print(text, file=sys.stderr, flush=True)

  with make_envs(contest, contest.num_envs) as env:
    if name == OURS:
      return compete(contest, Ours(contest, env), tell)
    spec = PeerSpec(
      name, "agents.make", _NEEDS,
      {
        **settings, "num_envs": env.num_envs, "num_actions": env.action_space.shape[0],
        "observation_size": env.observation_space.shape[0], "seed": contest.seed,
        "capacity": max(min(contest.replay_capacity, contest.steps), env.num_envs),
      },
    )  # fmt: skip
    paid = PaidEnvs(env, contest.reward, episode_seed(Stream.TRAINING, contest.seed))
    with peers.start([spec], bench.pythons, paid) as (running, skipped):
      bench.skipped |= skipped
      try:
        if name in running:
          return compete(contest, Remote(running[name]), tell)
      except peers.PeerFailed as failure:
        bench.skipped[name] = str(failure)
  return None


def _plain(contest: Contest) -> dict[str, Any]:
  made = contest._asdict()
  for name in ("reward", "sac", "loop"):
    made[name] = dataclasses.asdict(made[name])
  return made


def _result(bench: Bench, runs: Sequence[dict[str, Any]]) -> SuiteResult:
  """Returns tables, curves and picture of runs, by task, control and contender."""
  records: dict[Group, list[PolicyRun]] = {}
  for each in runs:
    contest, rows = each["what"]["contest"], each["evaluations"]
    task = f"{contest['task']}, {contest['control'].replace('_', ' ')}"
    policy = PolicyRun(pathlib.Path(), rows, rows[-1], rows[-1]["seconds"])
    records.setdefault(Group(task, each["what"]["contender"], ()), []).append(policy)
  # Those of a task stand together, whichever seed came first.
  tasks = list(dict.fromkeys(group.task for group in records))
  records = dict(sorted(records.items(), key=lambda item: tasks.index(item[0].task)))
  tables = {
    "How soon": _rows(records, _COLUMNS),
    "The median task": _medians(records),
    "Success on the way, by actions": _rows(records, _success_columns(records)),
  }
  rows = [_charts(records), _charts(_by_seconds(records), "seconds of acting and learning")]
  picture = pictures.draw(rows) if records else None
  facts = {"runs": list(runs)}
  return SuiteResult("agent", ABOUT, [], bench.skipped, bench.peak, tables, facts, picture)


def _seconds_to_solve(run: PolicyRun) -> float | None:
  """Returns the seconds up to the first evaluation with a success of 80%; None if none has."""
  solved = run.actions_to_solve()
  return next((row["seconds"] for row in run.evaluations if row["step"] == solved), None)


_COLUMNS = (
  Column("actions to 80%", PolicyRun.actions_to_solve, "{:,.0f}".format),
  Column("seconds to 80%", _seconds_to_solve, "{:,.0f}".format),
  Column("success at the end", PolicyRun.at_last, "{:.0%}".format),
  Column("actions/s", lambda run: run.evaluations[-1]["step"] / run.seconds, "{:,.0f}".format),
  Column("updates", lambda run: run.result["updates"], "{:,.0f}".format, interval=False),
  Column("compilation, s", lambda run: run.result["compile_seconds"], "{:.0f}".format, False),
)


def _success_columns(records: dict[Group, list[PolicyRun]]) -> list[Column]:
  def column(step):
    def success(run):
      return next((row["success"] for row in run.evaluations if row["step"] == step), None)

    return Column(f"{step:,}", success, "{:.0%}".format, interval=False)

  steps = {row["step"] for runs in records.values() for run in runs for row in run.evaluations}
  return [column(step) for step in sorted(steps)]


def _rows(records: dict[Group, list[PolicyRun]], columns: Sequence[Column]) -> list[dict[str, str]]:
  header, rows = learning_cells(records, "who", columns)
  return [dict(zip(header, row, strict=True)) for row in rows]


def _medians(records: dict[Group, list[PolicyRun]]) -> list[dict[str, str]]:
  """Returns rows of the median over tasks of the median over seeds; never is the greatest."""
  rows = []
  for name in dict.fromkeys(group.name for group in records):
    of_name = [runs for group, runs in records.items() if group.name == name]
    row = {"who": name, "tasks": str(len(of_name))}
    for column in _COLUMNS[:2]:
      known = [[column.number(run) for run in runs] for runs in of_name]
      each = [np.median([np.inf if n is None else n for n in numbers]) for numbers in known]
      middle = float(np.median(each))
      row[column.title] = column.text(middle) if np.isfinite(middle) else "never"
    rows.append(row)
  return rows


def _by_seconds(records: dict[Group, list[PolicyRun]]) -> dict[Group, list[PolicyRun]]:
  """Returns the runs with the seeds' mean seconds at each evaluation in the place of its step."""
  return {
    group: [
      run._replace(evaluations=[
        {**row, "step": float(np.mean([other.evaluations[i]["seconds"] for other in runs]))}
        for i, row in enumerate(run.evaluations)
      ])
      for run in runs
    ]
    for group, runs in records.items()
  }  # fmt: skip


def _charts(records: dict[Group, list[PolicyRun]], xaxis: str = "environment steps") -> list[Chart]:
  """Returns a chart for each task; at its own ratio a contender has its colour, dashed."""
  names = list(dict.fromkeys(group.name.removesuffix(_OWN_RATIO) for group in records))

  def look(trace):
    base = trace["name"].removesuffix(_OWN_RATIO)
    line = {**trace["plotly"].get("line", {}), "dash": "solid" if base == trace["name"] else "dash"}
    plotly = {**trace["plotly"], "line": line}
    return {**trace, "colour": names.index(base), "plotly": plotly}

  return [
    dataclasses.replace(
      each,
      traces=[look(trace) for trace in each.traces],
      layout={**each.layout, "xaxis": {"title": xaxis}},
    )
    for each in learning_charts(records, "success", _SUCCESS)
  ]
