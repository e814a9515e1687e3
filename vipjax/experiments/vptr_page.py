"""One page and one table of V-PTR's rows: success, what each was given, and the critics' health."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.evaluation import bootstrap_interval
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import element, note, section, small, table, video
from vipjax.report.tables import duration_text
from vipjax.runtime import files, run_folder
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.metrics import read_metrics
from vipjax.stages.vptr import ROBOT, TARGET

VIDEO = "video"  # the folder of all phases 1
FROZEN = (
  "The encoder is frozen here. In V-PTR's publication frozen rows fail (VIP's frozen encoder with "
  "CQL: 0 of 48 trials) and the encoder learns with actor and critic, which is for a GPU and is "
  "not built: a row that fails here says little about V-PTR."
)
_LEGEND = (
  "Success is that of the last policy, without choice, in the target task; [95% bootstrap "
  "interval] over seeds, too narrow for few of them. Videos are those of phase 1, without actions, "
  "or the encoder's name. Actions and labels are those of the robot data and the target's; no row "
  "takes an environment step to learn. Wall clock: of phase 1, where the row has it, and of "
  "learning from data."
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


def write_page(
  workdir: pathlib.Path, order: Sequence[str], problems: Sequence[str] = ()
) -> pathlib.Path | None:
  """Writes `vptr.html` and `table.md` of all rows that have learned anything.

  Args:
    workdir: the folder of all runs.
    order: rows in the order to show them.
    problems: why runs are missing, in words.
  """
  found = {name: _results(workdir / name) for name in order}
  found = {name: runs for name, runs in found.items() if runs}
  if not found and not problems:
    return None
  header, rows = _given(workdir, found)
  files.write_text(workdir / "table.md", markdown_table(header, rows) + f"\n\n{FROZEN}\n")
  health = [[_words(name), *_health(runs)] for name, runs in found.items()]
  films = [
    video(film, f"{_words(name)}, {folder.name}", workdir)
    for name, runs in found.items()
    for folder, _ in runs
    if (film := folder / "policy" / "final.mp4").exists()
  ]
  path = workdir / "vptr.html"
  files.write_text(path, chart_document(
    "V-PTR",
    element("header", element("h1", "V-PTR and its ablations"), note(FROZEN),
            *(note(f"Left out: {text}") for text in problems)),
    section("Success, and what each row was given", table(header, rows, range(1, len(header))),
            small(_LEGEND)),
    section("The critics", table(["row", *_HEALTH_KEYS.values()], health, range(1, 8)),
            grid(_charts(found), "charts broad"), small(_HEALTH)),
    section("Films", element("div", *films, class_="charts four")) if films else None,
  ))  # fmt: skip
  return path


def _words(name: str) -> str:
  return name.replace("_", " ")


def _results(row: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, dict[str, Any]]]]:
  """The runs of a row with the results of their finished phases."""
  found = []
  for folder in sorted(row.glob("seed*")):
    done = [name for name in (ROBOT, TARGET) if run_folder.stage_done(folder, name)]
    if done:
      found.append((folder, {name: run_folder.stage_result(folder, name) for name in done}))
  return found


def _given(workdir: pathlib.Path, found: Mapping[str, list]) -> tuple[list[str], list[list[str]]]:
  """Header and rows of the main table."""
  header = [
    "row", "seeds", "success", "at the end", "videos", "actions", "success labels",
    "environment steps", "wall clock",
  ]  # fmt: skip
  rows = []
  for name, runs in found.items():
    options = run_folder.stored_config(runs[0][0])["vptr"]
    videos = {"": "-", "scratch": "0"}.get(options["encoder"], options["encoder"])
    phase = workdir / VIDEO / options["video_run"]
    before = 0.0
    if not options["encoder"] and run_folder.stage_done(phase, "finetune"):
      videos = f"{run_folder.stage_result(phase, 'finetune')['videos']:,}"
      before = run_folder.stage_seconds(phase, "finetune")
    parts = list(runs[0][1].values())
    seconds = [
      sum(run_folder.stage_seconds(folder, each) for each in done) for folder, done in runs
    ]
    labels = sum(part["trajectories"] for part in parts)
    rows.append([
      _words(name), str(len(runs)), _share(runs, "success"), _share(runs, "final_success"), videos,
      f"{sum(part['steps'] for part in parts):,}",
      f"{labels:,} ({sum(part['successes'] for part in parts):,} succeed)", "0",
      duration_text(before + float(np.mean(seconds))),
    ])  # fmt: skip
  return header, rows


def _share(runs: Sequence[tuple[pathlib.Path, dict]], key: str) -> str:
  """The mean of a share over the seeds that were evaluated."""
  known = [done[TARGET][key] for _, done in runs if TARGET in done]
  if not known:
    return "-"
  text = f"{np.mean(known):.0%}"
  if len(known) > 1:
    text += " [{:.0%}, {:.0%}]".format(*bootstrap_interval(known))
  return text


def _health(runs: Sequence[tuple[pathlib.Path, dict]]) -> list[str]:
  """The means of the critics' numbers in each run's last phase."""
  last = [list(done.values())[-1] for _, done in runs]
  cells = []
  for key in _HEALTH_KEYS:
    known = [each[key] for each in last if each.get(key) is not None]
    cells.append(f"{np.mean(known):.2f}" if known else "-")
  return cells


def _charts(found: Mapping[str, list]) -> list[Chart]:
  """Q-values over the updates of each row's first run."""
  charts = []
  for name, runs in found.items():
    lines = [line for line in read_metrics(runs[0][0]) if line["stage"] in (ROBOT, TARGET)]
    traces = [
      {"x": [line["step"] for line in lines], "y": [line[key] for line in lines],
       "name": _HEALTH_KEYS[key], "colour": colour, "plotly": {"mode": "lines"}}
      for colour, key in enumerate(("q_data", "q_pi", "q_random", "return"))
    ]  # fmt: skip
    charts.append(Chart(_words(name), traces, {"xaxis": {"title": "updates"}, "showlegend": True}))
  return charts
