"""What came of learning from other arms: a matrix, a table, aligned pictures."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vipjax import encoder
from vipjax.evaluation.alignment import leads_back, nearest_frames
from vipjax.experiments.cross_embodiment import ATTENTION, Cell, encoder_run
from vipjax.report import elements
from vipjax.report.canvas import DARK, LIGHT, Theme, make_figure, own_look, png
from vipjax.report.evidence_plots import plot_neighbours
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
_GROUP = ("learnt_from", "target", "tcc", "robot_free")


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
  (workdir / "matrix.png").write_bytes(plot_matrix(rows))
  files.write_text(workdir / "summary.md", markdown_table(*_summary(rows)) + "\n")
  text = table(rows)
  files.write_text(workdir / "table.md", text + "\n")
  fields = ("target", "tcc", "robot_free", "seed")
  cells = [Cell(tuple(row["learnt_from"]), *(row[name] for name in fields)) for row in rows]
  shown: dict[tuple[str, str, str], list[Cell]] = {}
  for cell in cells:
    if (cell.robot_free, cell.seed) == _first(cells):
      # Where two arms were learnt from, TCC walked between their videos.
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
    elements.picture(
      *[(workdir / f"aligned_{query}_{answer}{ending}.png").read_bytes()] * 2,
      f"Frames of {query} above their nearest neighbours in {answer}",
      f"A video of {query}, and the frames of {answer} nearest to each by two encoders that learnt "
      f"from {'both' if ending else answer}. Aligned videos show the same moment in a column; "
      "frames whose nearest neighbour leads back to them are framed.",
    )
    for query, answer, ending in shown
  ]
  matrix = elements.picture(
    *(plot_matrix(rows, theme) for theme in (LIGHT, DARK)),
    "Matrices of rank correlations, arms learnt from against arms judged on",
    "Rank correlation of the value with time in unseen episodes of an arm (columns) that the "
    "encoder never saw, after fine-tuning on others (rows); in the first column before it. 1 is "
    "best, 0 says nothing. Films are the same for all seeds, so what is before has no spread.",
  )
  numbers = elements.table(header, lines, numbers=range(4, len(header)))
  return elements.document(
    "Cross-embodiment",
    elements.element("header", elements.element("h1", "What other arms teach")),
    elements.section(
      "At a glance", matrix, elements.table(means, by_option, numbers=range(1, len(means)))
    ),
    elements.section("All numbers", numbers),
    elements.section("Alignment", *aligned) if aligned else None,
  )


def _summary(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
  """Header and a row for each pair of options: means over all their cells.

  "better" counts the cells in which the rank correlation beside it is higher than before
  fine-tuning, which is the first row.
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
  """A row in Markdown for each choice of videos, target and options: means over the seeds.

  Where seeds differ a number is followed by the least and the greatest.
  """
  header, *cells = _cells(rows)
  return markdown_table(header, cells)


def _cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
  """The header of the table and its lines."""
  header = ["learnt from", "judged on", "TCC", "robot-free", "seeds"]
  lines = [header + [_words(name) for name in _COLUMNS]]
  for key, group in _grouped(rows).items():
    arms, target, tcc, robot_free = key
    words = ["+".join(arms), target, "yes" if tcc else "no", "yes" if robot_free else "no"]
    words += [str(len(group)), *(_spread(group, name) for name in _COLUMNS)]
    lines.append(words)
  return lines


@own_look
def plot_matrix(rows: Sequence[dict[str, Any]], theme: Theme = LIGHT) -> bytes:
  """A matrix of arms learnt from and arms judged on, for each measure and each pair of options.

  Returns:
    A PNG: the means over the seeds, 1 being best; the first column is before any fine-tuning.
  """
  groups = _grouped(rows)
  sources = sorted({key[0] for key in groups}, key=lambda arms: (len(arms), arms))
  targets = sorted({key[1] for key in groups})
  options = _options(rows)
  panels = [("before fine-tuning", options[0], "_before")]
  panels += [(_option_words(*option), option, "") for option in options]
  height = 0.9 + 0.32 * len(sources)
  figure = make_figure(len(_MEASURES) * height, theme)
  axes = figure.subplots(len(_MEASURES), len(panels), squeeze=False)
  for line, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
    for ax, (title, option, ending) in zip(line, panels, strict=True):
      means = np.full((len(sources), len(targets)), np.nan)
      for (i, arms), (j, target) in itertools.product(enumerate(sources), enumerate(targets)):
        if (arms, target, *option) in groups:
          means[i, j] = _mean(groups[(arms, target, *option)], measure + ending)
      ax.imshow(means, cmap="RdYlBu", vmin=-1.0, vmax=1.0, aspect="auto")
      for i, j in np.argwhere(np.isfinite(means)):
        colour = "black" if abs(means[i, j]) < 0.75 else "white"
        ax.text(j, i, f"{means[i, j]:.2f}", ha="center", va="center", size=7, color=colour)
      first = ax is line[0]
      ax.set_xticks(range(len(targets)), targets, size=8, color=theme.text)
      ax.set_yticks(range(len(sources)), ["+".join(arms) if first else "" for arms in sources])
      ax.tick_params(length=0, labelsize=8, colors=theme.text)
      ax.spines[:].set_visible(False)
      ax.set_facecolor(theme.grid)
      ax.set_title(title, size=8, color=theme.text)
    line[0].set_ylabel(label, size=8.5, color=theme.text)
  seeds = len({row["seed"] for row in rows})
  figure.supxlabel(
    f"columns: judged on; rows: learnt from; means over {seeds} seed{'s' * (seeds > 1)}",
    size=8.5, color=theme.text,
  )  # fmt: skip
  return png(figure)


def _options(rows: Sequence[dict[str, Any]]) -> list[tuple[bool, bool]]:
  return sorted({(row["tcc"], row["robot_free"]) for row in rows}, reverse=True)


def _option_words(tcc: bool, robot_free: bool) -> str:
  return f"{'TCC' if tcc else 'no TCC'}, {'robot-free too' if robot_free else 'robot only'}"


def _words(name: str) -> str:
  return name.replace("_", " ")


def _text(group: Sequence[dict[str, Any]], name: str) -> str:
  mean = _mean(group, name)
  return "-" if np.isnan(mean) else f"{mean:.2f}"


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple, list[dict[str, Any]]]:
  groups: dict[tuple, list[dict[str, Any]]] = {}
  for row in rows:
    key = (tuple(row["learnt_from"]), *(row[name] for name in _GROUP[1:]))
    groups.setdefault(key, []).append(row)
  return groups


def _numbers(group: Sequence[dict[str, Any]], name: str) -> list[float]:
  return [row[name] for row in group if row.get(name) is not None]


def _mean(group: Sequence[dict[str, Any]], name: str) -> float:
  numbers = _numbers(group, name)
  return float(np.mean(numbers)) if numbers else float("nan")


def _spread(group: Sequence[dict[str, Any]], name: str) -> str:
  numbers = _numbers(group, name)
  if not numbers:
    return "-"
  least, most = min(numbers), max(numbers)
  return f"{np.mean(numbers):.2f}" + (f" ({least:.2f} to {most:.2f})" if least < most else "")


def _first(cells: Sequence[Cell]) -> tuple[bool, int]:
  return cells[0].robot_free, cells[0].seed


def _aligned(workdir: pathlib.Path, query: str, answer: str, pair: Sequence[Cell]) -> bytes:
  """Frames of one arm, and what each encoder takes for the same moments of the other.

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
  return plot_neighbours(videos, nearest, consistent=consistent)


def _film(folder: pathlib.Path) -> Video:
  return next(video for video in read_videos(folder) if video.robot_visible)
