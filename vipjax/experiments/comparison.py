"""One page that compares variants of a run: means over seeds with bootstrap intervals."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.evaluation import bootstrap_interval
from vipjax.evaluation.measure_attention import finest_stage
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import Safe, element, join, note, section, small, table
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table

# Labels of keys in results.json. Higher is better, except for the numbers on the robot.
METRICS = {
  "policy_success": "policy success",
  "policy_final_success": "still solved at the end",
  "policy_success_moved_window": "success, object elsewhere",
  "rank_correlation_unseen": "rank correlation, unseen",
  "rank_correlation_recorded": "rank correlation, recorded",
  "rank_correlation_unseen_views": "rank correlation, unseen views",
  "kendall_correlation_unseen": "Kendall's tau, unseen",
  "alignment_unseen": "alignment, unseen",
  "off_path.reward.progress": "reward vs progress off the path",
  "off_path.reward.hand": "reward vs hand, off the path",
  "off_path.reward.object": "reward vs object, off the path",
  "hack_price": "hack price",
  "attention.fine.object_over_area": "Grad-CAM on object ÷ area",
  "attention.fine.robot_over_area": "Grad-CAM on robot ÷ area",
  "attention.fine.frames_with_map": "frames with a map",
  "attention.occlusion.object": "change of V, object hidden",
  "attention.occlusion.robot": "change of V, robot hidden",
}
# These get a chart if any run has them.
_DRAWN = (
  "policy_success", "rank_correlation_unseen", "off_path.reward.progress",
  "attention.fine.object_over_area",
)  # fmt: skip


def collect(workdir: pathlib.Path) -> dict[str, dict[int, dict[str, float]]]:
  """Numbers of every run that has been evaluated, by variant and seed, with the keys of METRICS.

  "attention.fine" is the finest stage that the run has maps of.
  """
  found: dict[str, dict[int, dict[str, float]]] = {}
  for path in sorted(workdir.glob("*/seed*/results.json")):
    results = files.read_json(path)
    attention = dict(results.get("attention") or {})
    if attention:
      attention["fine"] = attention[finest_stage(attention)]
    flat = files.flatten({**results, "attention": attention})
    numbers = {
      key: float(flat[key]) for key in METRICS if isinstance(flat.get(key), int | float)
    }  # fmt: skip
    seed = int(path.parent.name.removeprefix("seed"))
    found.setdefault(path.parent.parent.name, {})[seed] = numbers
  return found


def summarise(runs: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
  """Each metric of one variant: "mean", "low", "high" (95% bootstrap) and its values by "seeds".

  With one seed there is no interval: "low" and "high" are None.
  """
  result = {}
  for key in METRICS:
    values = {seed: numbers[key] for seed, numbers in runs.items() if key in numbers}
    if values:
      several = len(values) > 1
      low, high = bootstrap_interval(list(values.values())) if several else (None, None)
      mean = float(np.mean(list(values.values())))
      result[key] = {"mean": mean, "low": low, "high": high, "seeds": values}
  return result


def write_comparison(
  workdir: str | os.PathLike,
  order: Sequence[str] = (),
  problems: Sequence[str] = (),
  stem: str = "ablation",
  title: str = "What each part of the method is worth",
) -> pathlib.Path:
  """Writes `<stem>.html`, `.json` and `table.md` from all runs in <workdir>/<variant>/seed<n>.

  Args:
    workdir: the folder of all runs.
    order: variants in the order to show them; others follow.
    problems: why runs are missing, in words.
    stem: names the files.
    title: of the page.

  Returns:
    The page's path.

  Raises:
    UserError: not one run has been evaluated.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  runs = collect(workdir)
  if not runs:
    reasons = f" ({'; '.join(problems)})" if problems else ""
    raise UserError(
      f"expected evaluated runs in {workdir}/<variant>/seed<n>, got none{reasons}; finish one "
      "first."
    )
  names = [name for name in order if name in runs] + [name for name in runs if name not in order]
  summaries = {name: summarise(runs[name]) for name in names}
  files.write_json(workdir / f"{stem}.json", {"variants": summaries, "problems": problems})
  header, rows = _cells(summaries, lambda name, seeds: f"{name.replace('_', ' ')} ({len(seeds)})")
  files.write_text(workdir / "table.md", markdown_table(header, rows) + "\n")
  path = workdir / f"{stem}.html"
  files.write_text(path, chart_document(title, *_parts(title, summaries, problems)))
  return path


def format_comparison(workdir: str | os.PathLike) -> str:
  """The table in plain text, one line for each variant, of `ablation.json`'s drawn metrics."""
  summaries = files.read_json(pathlib.Path(workdir) / "ablation.json")["variants"]
  width = max(map(len, summaries))
  lines = []
  for name, made in summaries.items():
    parts = [f"{METRICS[key]} {_text(made[key])}" for key in _DRAWN if key in made]
    lines.append(f"{name:<{width}}  {'; '.join(parts)}")
  return "\n".join(lines)


def _parts(title: str, summaries, problems: Sequence[str]) -> list[Safe]:
  header, rows = _cells(summaries, _links)
  caption = (
    "Bars are 95% bootstrap intervals of the mean over seeds (dots). With few seeds they are too "
    "narrow: no interval of three seeds is wider than from the least to the greatest of them."
  )
  notes = [note(f"Left out: {text}") for text in problems]
  charts = grid(_charts(summaries), "charts broad")
  return [
    element("header", element("h1", title), *notes),
    section("At a glance", charts, small(caption)),
    section("All numbers", table(header, rows, range(1, len(header)))),
  ]


def _charts(summaries: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Chart]:
  """A chart for each of the main metrics: mean and interval of each variant, every seed a dot."""
  made = []
  for key in _DRAWN:
    cells = {name.replace("_", " "): each[key] for name, each in summaries.items() if key in each}
    if not cells:
      continue
    ends = {
      name: [0.0 if cell[end] is None else abs(cell[end] - cell["mean"]) for cell in cells.values()]
      for name, end in (("array", "high"), ("arrayminus", "low"))
    }
    means = {
      "x": [cell["mean"] for cell in cells.values()], "y": [*cells], "name": "mean", "colour": 0,
      "plotly": {"mode": "markers", "marker": {"size": 9}, "customdata": [*map(_text,
                 cells.values())], "hovertemplate": "%{y}: %{customdata}<extra></extra>",
                 "error_x": {"type": "data", "symmetric": False, "thickness": 3, **ends}},
    }  # fmt: skip
    seeds = [(name, *pair) for name, cell in cells.items() for pair in cell["seeds"].items()]
    dots = {
      "x": [number for *_, number in seeds], "y": [name for name, *_ in seeds], "name": "seeds",
      "colour": "faint",
      "plotly": {"mode": "markers", "marker": {"size": 6, "symbol": "circle-open"},
                 "text": [seed for _, seed, _ in seeds],
                 "hovertemplate": "%{y}, seed %{text}: %{x:.3f}<extra></extra>"},
    }  # fmt: skip
    yaxis = {"autorange": "reversed", "type": "category"}
    layout = {"height": 130 + 26 * len(summaries), "yaxis": yaxis}
    made.append(Chart(METRICS[key], [dots, means], layout))
  return made


def _cells(summaries, first: Callable[[str, list], Any]) -> tuple[list[str], list[list[Any]]]:
  """Header and rows of all numbers; `first` turns a name and its seeds into a row's first cell."""
  used = [key for key in METRICS if any(key in made for made in summaries.values())]
  rows = []
  for name, made in summaries.items():
    seeds = sorted({seed for cell in made.values() for seed in cell["seeds"]}, key=int)
    rows.append([first(name, seeds), *(_text(made[key]) if key in made else "–" for key in used)])
  return ["variant and its runs", *(METRICS[key] for key in used)], rows


def _links(name: str, seeds: list) -> Safe:
  links = [element("a", str(seed), href=f"{name}/seed{seed}/report.html") for seed in seeds]
  spaced = [part for link in links for part in (" ", link)]
  return join([name.replace("_", " "), *spaced])


def _text(cell: Mapping[str, Any]) -> str:
  interval = "" if cell["low"] is None else f" [{cell['low']:.2f}, {cell['high']:.2f}]"
  return f"{cell['mean']:.2f}{interval}"
