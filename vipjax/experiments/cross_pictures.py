"""Pictures and tables of encoders that learn from other arms: a matrix, means, aligned frames."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vipjax import encoder
from vipjax.evaluation.alignment import leads_back, nearest_frames
from vipjax.experiments.cross_embodiment import ATTENTION, Cell, encoder_run
from vipjax.report import html, pictures
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.pictures import draw_neighbours
from vipjax.runtime import files
from vipjax.runtime.markdown import markdown_table
from vipjax.types import Video
from vipjax.videos import read_videos

_MEASURES = {
  "rank_correlation": "ρ, own goal",
  "rank_correlation_theirs": "ρ, goal of arms learnt from",
}
_OTHERS = ("tau", *ATTENTION, "policy_success")
_COLUMNS = (*_MEASURES, *(f"{name}_before" for name in _MEASURES), *_OTHERS)


def write_pictures(rows: Sequence[dict[str, Any]], workdir: pathlib.Path) -> str:
  """Writes `matrix.png`, `table.md`, `summary.md`, aligned pictures and a page of them all.

  `aligned_<target>_<arm>.png` has frames of the target beside those of the one arm learnt from, and
  `aligned_<arm>_<arm>_both.png` those of two arms learnt from together. The page is
  `cross_embodiment.html`.

  Args:
    rows: what `judge_cells` or `train_policies` of `vipjax.experiments.cross_embodiment` returned.
    workdir: its run folder.

  Returns:
    The table.
  """
  (workdir / "matrix.png").write_bytes(pictures.draw(matrix_charts(rows)))
  files.write_text(workdir / "summary.md", markdown_table(*_summary(rows)) + "\n")
  text = table(rows)
  files.write_text(workdir / "table.md", text + "\n")
  first, *_ = cells = [Cell.of_row(row) for row in rows]
  shown: dict[tuple[str, str, str], list[Cell]] = {}
  for cell in cells:
    if (cell.robot_free, cell.seed) == (first.robot_free, first.seed):
      # Of two arms that were learnt from, TCC has aligned the videos.
      both = len(cell.learnt_from) == 2
      query, answer = cell.learnt_from if both else (cell.target, *cell.learnt_from)
      shown.setdefault((query, answer, "_both" if both else ""), []).append(cell)
  for (query, answer, ending), pair in shown.items():
    picture = _aligned(workdir, query, answer, pair)
    (workdir / f"aligned_{query}_{answer}{ending}.png").write_bytes(picture)
  files.write_text(workdir / "cross_embodiment.html", _page(rows, workdir, shown))
  return text


def _page(rows: Sequence[dict[str, Any]], workdir: pathlib.Path, shown: Iterable[tuple]) -> str:
  header, *lines = _cells(rows)
  means, by_option = _summary(rows)
  aligned = [
    html.picture(
      (workdir / f"aligned_{query}_{answer}{ending}.png").read_bytes(),
      f"Frames of {query} above their nearest neighbours in {answer}",
      f"A video of {query}, and the frames of {answer} nearest to each by two encoders that learnt "
      f"from {'both' if ending else answer}. Aligned videos show the same moment in a column; "
      "frames whose nearest neighbour leads back to them are framed.",
    )
    for query, answer, ending in shown
  ]
  matrix = [grid(row) for row in matrix_charts(rows)]
  caption = (
    "Rank correlation of the value with time in unseen episodes of an arm (columns) that the "
    "encoder never saw, after fine-tuning on others (rows); in the first column before it. 1 is "
    "best, 0 says nothing. Films are the same for all seeds, so what is before has no spread."
  )
  numbers = html.table(header, lines, numbers=range(4, len(header)))
  return chart_document(
    "Cross-embodiment",
    html.element("header", html.element("h1", "What other arms teach")),
    html.section(
      "At a glance",
      *matrix,
      html.element("p", caption, class_="sub"),
      html.table(means, by_option, numbers=range(1, len(means))),
    ),
    html.section("All numbers", numbers),
    html.section("Alignment", *aligned) if aligned else None,
  )


def _summary(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
  """The header and a row for each pair of options, with means over all their cells.

  "better" counts the cells in which the rank correlation beside it is higher than before
  fine-tuning; the first row has the means before.
  """
  header = ["fine-tuned", "cells"]
  for label in _MEASURES.values():
    header += [label, "better"]
  header += [_words(name) for name in _OTHERS]
  before = ["not at all", str(len(rows))]
  for name in _MEASURES:
    before += [_text(rows, f"{name}_before"), ""]
  lines = [[*before, *[""] * len(_OTHERS)]]
  for option in _options(rows):
    group = [row for row in rows if (row["tcc"], row["robot_free"]) == option]
    line = [_option_words(*option), str(len(group))]
    for name in _MEASURES:
      better = sum(row[name] > row.get(f"{name}_before", np.inf) for row in group)
      line += [_text(group, name), str(better)]
    lines.append([*line, *(_text(group, name) for name in _OTHERS)])
  return header, lines


def table(rows: Sequence[dict[str, Any]]) -> str:
  """A table in Markdown: a row for each choice of videos, target and options, means over the seeds.

  Where seeds differ, the least and the greatest number follow the mean.
  """
  header, *lines = _cells(rows)
  return markdown_table(header, lines)


def _cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
  """The header of the table and its lines."""
  header = ["learnt from", "judged on", "TCC", "robot-free", "seeds"]
  lines = [header + [_words(name) for name in _COLUMNS]]
  for key, group in _grouped(rows).items():
    arms, target, tcc, robot_free = key
    words = ["+".join(arms), target, "yes" if tcc else "no", "yes" if robot_free else "no"]
    words += [str(len(group)), *(_text(group, name, spread=True) for name in _COLUMNS)]
    lines.append(words)
  return lines


def matrix_charts(rows: Sequence[dict[str, Any]]) -> list[list[Chart]]:
  """Matrices of arms learnt from and arms judged on: means over the seeds, 1 being best.

  A row of them for each measure, in it one for each pair of options; the first is before any
  fine-tuning.
  """
  groups = _grouped(rows)
  sources = sorted({key[0] for key in groups}, key=lambda arms: (len(arms), arms))
  targets = sorted({key[1] for key in groups})
  options = _options(rows)
  panels = [("before fine-tuning", options[0], "_before")]
  panels += [(_option_words(*option), option, "") for option in options]
  charts = []
  for measure, label in _MEASURES.items():
    charts.append([])
    for title, option, ending in panels:
      means = np.full((len(sources), len(targets)), np.nan)
      for (i, arms), (j, target) in itertools.product(enumerate(sources), enumerate(targets)):
        if (arms, target, *option) in groups:
          means[i, j] = _mean(groups[(arms, target, *option)], measure + ending)
      heatmap = {
        "type": "heatmap", "colorscale": "RdBu", "reversescale": True, "zmin": -1, "zmax": 1,
        "showscale": False, "texttemplate": "%{z:.2f}",
        "hovertemplate": "learnt from %{y}, judged on %{x}: %{z:.2f}<extra></extra>",
      }  # fmt: skip
      names = ["+".join(arms) for arms in sources]
      trace = {
        "x": targets, "y": names, "z": means, "name": label, "colour": 0, "plotly": heatmap,
      }  # fmt: skip
      layout = {
        "height": 140 + 40 * len(sources), "yaxis": {"autorange": "reversed", "title": label},
        "xaxis": {"title": "judged on"}, "showlegend": False,
      }  # fmt: skip
      charts[-1].append(Chart(title, [trace], layout))
  return charts


def _options(rows: Sequence[dict[str, Any]]) -> list[tuple[bool, bool]]:
  return sorted({(row["tcc"], row["robot_free"]) for row in rows}, reverse=True)


def _option_words(tcc: bool, robot_free: bool) -> str:
  return f"{'TCC' if tcc else 'no TCC'}, {'robot-free too' if robot_free else 'robot only'}"


def _words(name: str) -> str:
  return name.replace("_", " ")


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple, list[dict[str, Any]]]:
  groups: dict[tuple, list[dict[str, Any]]] = {}
  for row in rows:
    key = (tuple(row["learnt_from"]), row["target"], row["tcc"], row["robot_free"])
    groups.setdefault(key, []).append(row)
  return groups


def _numbers(group: Sequence[dict[str, Any]], name: str) -> list[float]:
  return [row[name] for row in group if row.get(name) is not None]


def _mean(group: Sequence[dict[str, Any]], name: str) -> float:
  numbers = _numbers(group, name)
  return float(np.mean(numbers)) if numbers else float("nan")


def _text(group: Sequence[dict[str, Any]], name: str, spread: bool = False) -> str:
  numbers = _numbers(group, name)
  if not numbers:
    return "-"
  least, most = min(numbers), max(numbers)
  ends = f" ({least:.2f} to {most:.2f})" if spread and least < most else ""
  return f"{np.mean(numbers):.2f}{ends}"


def _aligned(workdir: pathlib.Path, query: str, answer: str, pair: Sequence[Cell]) -> bytes:
  """Draws frames of one arm and, for each encoder, the nearest frames of another arm.

  A match that leads back to within 5% of where it came from has a border.
  """
  asked, answered = (_film(workdir / "arms" / arm / "videos") for arm in (query, answer))
  videos, nearest, consistent = {query: asked}, {}, {}
  for cell in pair:
    value = encoder.load(encoder_run(workdir, cell) / "encoder")
    embeddings = value.embed(asked.frames), value.embed(answered.frames)
    back = leads_back(*embeddings)
    how, taught = "with" if cell.tcc else "without", " and ".join(cell.learnt_from)
    name = f"{answer}, matched {how} TCC (learnt from {taught}; {back.mean():.0%} lead back)"
    videos[name], nearest[name], consistent[name] = answered, nearest_frames(*embeddings), back
  return draw_neighbours(videos, nearest, consistent=consistent)


def _film(folder: pathlib.Path) -> Video:
  return next(video for video in read_videos(folder) if video.robot_visible)
