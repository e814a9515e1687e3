"""One page and one table of V-PTR's rows: success, what each was given, and the critics' health."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.evaluation import bootstrap_interval
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import element, note, section, small, table, video
from vipjax.report.tables import duration_text
from vipjax.runtime import files, run_folder
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.metrics import read_metrics
from vipjax.stages.offline import ONLINE, ROBOT, TARGET
from vipjax.stages.training import STAGE as POLICY

VIDEO, ROW = "video", "row"  # the folder of all phases 1; the stage that ends a row's run
_LEARNS = "encoder learns"
FROZEN = (
  f"The encoder of V-PTR's rows is frozen unless a row says '{_LEARNS}' beside its videos. In "
  "V-PTR's publication frozen rows fail (VIP's frozen encoder with CQL: 0 of 48 trials) and the "
  "encoder learns with actor and critic: a frozen row that fails here says little about V-PTR."
)
_LEGEND = (
  "Success of the rows that learn from data is that of the last policy, of those that learn a "
  "reward that of the policy of the highest return by this reward: no success chooses one. [95% "
  "bootstrap interval] over seeds, too narrow for few of them. Videos are without actions: films "
  "of the target's episodes and those, or the encoder, that the row starts from; mini was trained "
  "on phase 1's corpus. Actions and labels are those of the robot data and the target's; "
  "environment steps are control steps to learn by, and an action may be held for several. Wall "
  "clock: of recording and learning, phase 1's with it where the row has that phase; that of mini "
  "is not counted."
)
_HEALTH = (
  "Means over seeds in the last updates. Q-values of the policy's actions far above those of the "
  "data's, or of the data's far above their returns, tell of a critic that is wrong off the data; "
  "bounded: share of the policy's samples whose Q-value the returns hold up."
)
_HEALTH_KEYS = {
  "q_data": "Q(data)", "q_pi": "Q(policy)", "q_random": "Q(random)", "bounded": "bounded",
  "return": "return", "q_above_return": "Q(data) - return",
  "q_return_correlation": "correlation with the return",
}  # fmt: skip
_HEADER = (
  "task", "target episodes", "row", "seeds", "success", "at the end", "videos", "actions",
  "success labels", "environment steps", "wall clock",
)  # fmt: skip


class _Given(NamedTuple):
  """What came of a run, and what it was given.

  Attributes:
    success, final_success: of its policy.
    videos: in words.
    actions, labels, successes: of the data, with their success labels and how many are successes.
    env_steps: control steps.
    seconds: of recording and learning.
  """

  success: float
  final_success: float
  videos: str
  actions: int
  labels: int
  successes: int
  env_steps: int
  seconds: float


def write_page(
  workdir: pathlib.Path, order: Sequence[str], problems: Sequence[str] = ()
) -> pathlib.Path | None:
  """Writes `vptr.html` and `table.md` of all rows that have learned anything.

  Args:
    workdir: the folder of all runs.
    order: rows in the order to show them.
    problems: why runs are missing, in words.
  """
  learned = [
    ((target.name, int(episodes)), name, folders)
    for target in workdir.glob("*_*")
    if (episodes := target.name.rpartition("_")[2]).isdigit()
    for name in order
    if (folders := _finished(target / name, ROW))
  ]
  # Tasks in the alphabet's order, fewer episodes first.
  learned.sort(key=lambda each: (each[0][0].rpartition("_")[0], each[0][1], order.index(each[1])))
  before = [(name, found) for name in order if (found := _finished(workdir / ROBOT / name, ROBOT))]
  if not learned and not before and not problems:
    return None
  rows = [_cells(workdir, *each) for each in learned]
  files.write_text(workdir / "table.md", markdown_table(_HEADER, rows) + f"\n\n{FROZEN}\n")
  health = [[f"{_words(name)}: robot data", *_health(found, ROBOT)] for name, found in before]
  health += [
    [f"{_words(name)}: {target[: target.rindex('_')]}, {episodes} episodes{', then own' * own}",
     *_health(folders, ONLINE if own else TARGET)]
    for (target, episodes), name, folders in learned
    for own in [run_folder.stage_done(folders[0], ONLINE)]
    if run_folder.stage_done(folders[0], TARGET)
  ]  # fmt: skip
  films = [
    video(film, f"{_words(name)}, {target}, {folders[0].name}", workdir)
    for (target, _), name, folders in learned
    if (film := folders[0] / "policy" / "final.mp4").exists()
  ]
  path = workdir / "vptr.html"
  files.write_text(path, chart_document(
    "V-PTR",
    element("header", element("h1", "V-PTR, and rewards of videos"), note(FROZEN),
            *(note(f"Left out: {text}") for text in problems)),
    section("Success, and what each row was given", table(_HEADER, rows, range(3, len(_HEADER))),
            small(_LEGEND)),
    section("The critics of robot data",
            table(["row", *_HEALTH_KEYS.values()], health, range(1, 8)),
            grid(_charts(before), "charts broad"), small(_HEALTH)) if health else None,
    section("Films", element("div", *films, class_="charts four")) if films else None,
  ))  # fmt: skip
  return path


def _words(name: str) -> str:
  return name.replace("_", " ")


def _finished(row: pathlib.Path, stage: str) -> list[pathlib.Path]:
  """The runs of a row in which a stage has finished."""
  return [each for each in sorted(row.glob("seed*")) if run_folder.stage_done(each, stage)]


def _cells(
  workdir: pathlib.Path, target: tuple[str, int], name: str, folders: Sequence[pathlib.Path]
) -> list[str]:
  """A line of the main table."""
  task, episodes = target[0].rpartition("_")[0], target[1]
  runs = [(_of_data if run_folder.stage_done(folder, TARGET) else _of_reward)(workdir, folder)
          for folder in folders]  # fmt: skip
  mean = _Given(*map(_first_or_mean, zip(*runs, strict=True)))
  labels = f"{mean.labels:,.0f} ({mean.successes:,.0f} succeed)" if mean.labels else "0"
  return [
    task, str(episodes), _words(name), str(len(runs)), _share(each.success for each in runs),
    _share(each.final_success for each in runs), mean.videos, f"{mean.actions:,.0f}", labels,
    f"{mean.env_steps:,.0f}", duration_text(mean.seconds),
  ]  # fmt: skip


def _first_or_mean(values: Sequence[Any]) -> Any:
  return values[0] if isinstance(values[0], str) else float(np.mean(values))


def _of_data(workdir: pathlib.Path, folder: pathlib.Path) -> _Given:
  """Of a run that learned from robot data, and then perhaps from own episodes."""
  config = run_folder.stored_config(folder)
  options, stages = config["vptr"], [(folder, TARGET)]
  videos = {"": "-", "scratch": "0"}.get(options["encoder"], options["encoder"])
  seconds = _seconds(workdir / "target" / folder.parents[1].name, "robot_data")
  if not options["encoder"]:
    films, before = _phase_1(workdir, options["video_run"])
    videos, seconds = films or videos, seconds + before
  if options.get("encoder_learns"):  # absent from runs of before
    videos += f", {_LEARNS}"
  if options["robot_updates"]:
    stages.append((workdir / ROBOT / options["robot_run"] / folder.name, ROBOT))
    seconds += _seconds(workdir / "data", "robot_data")
  if online := run_folder.stage_done(folder, ONLINE):
    stages.insert(0, (folder, ONLINE))
  results = [run_folder.stage_result(*each) for each in stages]
  seconds += sum(_seconds(*each) for each in stages)
  counts = [sum(each[key] for each in results) for key in ("steps", "trajectories", "successes")]
  last = results[0]
  steps = last["steps"] if online else 0
  return _Given(last["success"], last["final_success"], videos, *counts, steps, seconds)


def _of_reward(workdir: pathlib.Path, folder: pathlib.Path) -> _Given:
  """Of a run that learned on a reward; that of the ideal potential has no videos."""
  config, result = run_folder.stored_config(folder), run_folder.stage_result(folder, POLICY)
  seconds, videos = _seconds(folder, "record", "finetune", POLICY), "0"
  if run_folder.stage_done(folder, "finetune"):
    init, films = config["encoder"]["init"], run_folder.stage_result(folder, "record")["videos"]
    if (phase := pathlib.Path(init).parent).parent == workdir / VIDEO:
      init, before = _phase_1(workdir, phase.name)
      seconds += before
    videos = f"{films:,} + {init}"
  success, final = (
    result.get(f"policy_{key}", result.get(key)) for key in ("success", "final_success")
  )
  steps = result["env_steps"] * config["policy"]["action_repeat"]
  return _Given(success, final, videos, 0, 0, 0, steps, seconds)


def _phase_1(workdir: pathlib.Path, name: str) -> tuple[str, float]:
  """How many films a phase 1 learned from, in words, and its seconds; "", 0 of none."""
  folder = workdir / VIDEO / name
  if not run_folder.stage_done(folder, "finetune"):
    return "", 0.0
  films = run_folder.stage_result(folder, "finetune")["videos"]
  return f"{films:,}", _seconds(folder, "corpus", "finetune")


def _seconds(folder: pathlib.Path, *stages: str) -> float:
  """What those of the stages that have finished took."""
  done = [stage for stage in stages if run_folder.stage_done(folder, stage)]
  return sum(run_folder.stage_seconds(folder, stage) for stage in done)


def _share(values: Iterable[float]) -> str:
  """The mean of a share over the seeds."""
  known = list(values)
  text = f"{np.mean(known):.0%}"
  if len(known) > 1:
    text += " [{:.0%}, {:.0%}]".format(*bootstrap_interval(known))
  return text


def _health(folders: Sequence[pathlib.Path], stage: str) -> list[str]:
  """The means of the critics' numbers at the end of a phase."""
  last, cells = [run_folder.stage_result(folder, stage) for folder in folders], []
  for key in _HEALTH_KEYS:
    known = [each[key] for each in last if each.get(key) is not None]
    cells.append(f"{np.mean(known):.2f}" if known else "-")
  return cells


def _charts(found: Sequence[tuple[str, Sequence[pathlib.Path]]]) -> list[Chart]:
  """Q-values over the updates of phase 2 of each row's first run."""
  charts = []
  for name, folders in found:
    lines = read_metrics(folders[0], ROBOT)
    traces = [
      {"x": [line["step"] for line in lines], "y": [line[key] for line in lines],
       "name": _HEALTH_KEYS[key], "colour": colour, "plotly": {"mode": "lines"}}
      for colour, key in enumerate(("q_data", "q_pi", "q_random", "return"))
    ]  # fmt: skip
    charts.append(Chart(_words(name), traces, {"xaxis": {"title": "updates"}, "showlegend": True}))
  return charts
