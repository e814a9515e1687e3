"""Pictures of a run as PNG bytes: distance curves, learning curves, frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from vipjax.report.canvas import LIGHT, WIDTH, Theme, make_figure, own_look, png, style_axes
from vipjax.runtime.errors import UserError
from vipjax.types import Video

# Metrics that are drawn, in words.
LEARNING = {
  "success": "success rate",
  "return": "return (embedding reward)",
  "distance": "distance to the goal",
}
LOSSES = {"loss": "total loss", "vip_loss": "VIP loss", "tcc_loss": "TCC loss"}
# Groups of videos that were never trained on.
_GROUPS = {
  "unseen": "Episodes from seeds never recorded",
  "unseen_views": "The same from viewpoints never recorded",
  "other_robots": "The same by other robots",
  "failed": "Episodes that failed, and random motion; goals are those of successful ones",
}
_MOST_PANELS = 8
_FRAMES_PER_VIDEO = 7
# Points from which on a line is drawn faint, with its running mean on top.
MANY_POINTS = 60


@own_look
def plot_curves(
  before: Mapping[str, Sequence[Mapping]] | None,
  after: Mapping[str, Sequence[Mapping]] | None,
  last_frames: Mapping[str, np.ndarray] | None = None,
  theme: Theme = LIGHT,
) -> bytes:
  """Distance to the goal over time, before fine-tuning (dashed) and after it.

  A panel for each recorded video (the first 8) with its last frame, and one with all videos of each
  other group, their mean drawn strong. Distances are divided by each curve's first (a curve that
  starts at 0 is drawn undivided).

  Args:
    before: {"recorded": [curve, ...], "unseen": [curve, ...], ...} with curves as
      `vipjax.evaluation.DistanceCurve.record` makes them; None or missing keys for none.
    after: the same after fine-tuning.
    last_frames: uint8 [H, W, 3] by the name of the recorded video.
    theme: colours.

  Returns:
    A PNG.

  Raises:
    UserError: not one curve.
  """
  before, after, last_frames = before or {}, after or {}, last_frames or {}
  names = _names(before.get("recorded"), after.get("recorded"))[:_MOST_PANELS]
  groups = [group for group in _GROUPS if before.get(group) or after.get(group)]
  if not names and not groups:
    raise UserError("Expected at least one distance curve to plot, but none came: evaluate first.")
  columns = min(4, max(len(names), 1))
  rows = math.ceil(len(names) / columns)
  heights = [2.35] * rows + [2.9] * len(groups)
  figure = make_figure(sum(heights), theme)
  grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
  ceiling = _ceiling(before, after)
  for index, name in enumerate(names):
    ax = figure.add_subplot(grid[index // columns, index % columns])
    pair = [_find(curves.get("recorded"), name) for curves in (before, after)]
    _draw_recorded(ax, pair, name, last_frames.get(name), theme.colours[index % 4], theme)
    ax.set_ylim(0, ceiling)
    if index % columns == 0:
      ax.set_ylabel("distance ÷ first frame's")
  for row, group in enumerate(groups, rows):
    ax = figure.add_subplot(grid[row, :])
    _draw_group(ax, before.get(group) or [], after.get(group) or [], theme)
    ax.set_title(_GROUPS[group], loc="left", size=8.5, color=theme.text)
    ax.set_ylim(0, ceiling)
    ax.set_ylabel("distance ÷ first frame's")
  return png(figure)


def plot_learning(rows: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
  """Success rate, return and distance to the goal against environment steps.

  Args:
    rows: metrics of the stage "policy", each with "step" and any of "success" (0 to 1),
      "return" and "distance" of evaluation, and the same behind "train_" while exploring; None
      and missing values are left out.
    theme: colours.

  Returns:
    A PNG with a panel for each metric that has values.

  Raises:
    UserError: no row has any of them.
  """
  return _plot_metrics(rows, LEARNING, "environment steps", theme)


def plot_losses(rows: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
  """The losses of fine-tuning against its steps.

  Args:
    rows: metrics of the stage "finetune", each with "step" and any of "loss", "vip_loss" and
      "tcc_loss"; None and missing values are left out.
    theme: colours.

  Returns:
    A PNG with a panel for each loss that has values.

  Raises:
    UserError: no row has any of them.
  """
  return _plot_metrics(rows, LOSSES, "training steps", theme)


@own_look
def plot_frames(videos: Mapping[str, Video], theme: Theme = LIGHT) -> bytes:
  """A strip of frames of each video, evenly spaced from its first to its last, with their times.

  Args:
    videos: by name, the name being written beside the strip; the first 8 are drawn.
    theme: colours.

  Returns:
    A PNG.

  Raises:
    UserError: no videos.
  """
  if not videos:
    raise UserError("Expected at least one video to show, but none came: record some first.")
  shown = list(videos.items())[:_MOST_PANELS]
  strips = [_strip(video) for _, video in shown]
  heights = [WIDTH * strip.shape[0] / strip.shape[1] + 0.26 for strip, _, _ in strips]
  figure = make_figure(sum(heights), theme)
  axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
  figure.get_layout_engine().set(w_pad=0.0, h_pad=0.02, wspace=0.0, hspace=0.0)
  for ax, (name, _), (strip, ends, times) in zip(axes, shown, strips, strict=True):
    ax.imshow(strip, interpolation="antialiased")
    ax.set_axis_off()
    ax.set_title(name, loc="left", size=8.5, color=theme.text, pad=3)
    # The first frame is at 0 s, and the name stands above it.
    for end, time in zip(ends[1:], times[1:], strict=True):
      ax.annotate(
        f"{time:.2f} s", (end - 1, 0), (0, 3), textcoords="offset points", ha="right", size=7.5,
        color=theme.faint,
      )  # fmt: skip
  return png(figure)


def _strip(video: Video) -> tuple[np.ndarray, list[int], list[float]]:
  """Frames side by side, RGBA with clear gaps; the right edge of each in pixels, its time in s."""
  picks = np.linspace(0, len(video.frames) - 1, _FRAMES_PER_VIDEO).round().astype(int)
  height, width = video.frames.shape[1:3]
  gap = max(1, width // 50)
  strip = np.zeros((height, len(picks) * (width + gap) - gap, 4), np.uint8)
  ends = [width + position * (width + gap) for position in range(len(picks))]
  for end, index in zip(ends, picks, strict=True):
    strip[:, end - width : end, :3] = video.frames[index]
    strip[:, end - width : end, 3] = 255
  return strip, ends, video.seconds[picks].tolist()


def _draw_recorded(ax: Axes, pair, name: str, last_frame, colour: str, theme: Theme) -> None:
  """One recorded video: dashed before, solid after, its last frame beside the title."""
  old, new = pair
  if old is not None:
    ax.plot(old["times"], _scaled(old), color=theme.faint, lw=1.2, ls=(0, (4, 2)))
  if new is not None:
    ax.plot(new["times"], _scaled(new), color=colour, lw=2)
  # In two lines, to leave room for the frame beside it.
  ax.set_title(name.replace(", ", "\n", 1), loc="left", size=8.5, color=theme.text, y=1.03)
  style_axes(ax, theme)
  ax.set_xlabel("time [s]")
  numbers = [f"{curve['rank_correlation']:.2f}" for curve in pair if curve is not None]
  ax.text(0.04, 0.06, "ρ  " + " → ".join(numbers), transform=ax.transAxes, size=8, color=theme.text)
  if last_frame is not None:
    inset = ax.inset_axes((0.7, 1.04, 0.3, 0.36))
    inset.imshow(last_frame)
    inset.set_anchor("SE")
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set_color(theme.grid)


def _draw_group(ax: Axes, before, after, theme: Theme) -> None:
  """All videos of a group: thin lines, and their mean over the times that all of them have."""
  styles = (
    (before, "before", theme.faint, (0, (4, 2))),
    (after, "after", theme.colours[0], "solid"),
  )
  for curves, word, colour, dashes in styles:
    for curve in curves:
      ax.plot(curve["times"], _scaled(curve), color=colour, lw=0.7, alpha=0.45, ls=dashes)
    if curves:
      correlation = np.mean([curve["rank_correlation"] for curve in curves])
      times, mean = _mean_curve(curves)
      label = f"{word} fine-tuning, mean of {len(curves)} (rank correlation {correlation:.2f})"
      ax.plot(times, mean, color=colour, lw=2.4, ls=dashes, label=label)
  ax.set_xlabel("time [s]")
  style_axes(ax, theme)
  ax.legend(frameon=False, labelcolor=theme.text, fontsize=8, loc="upper right")


def _mean_curve(curves) -> tuple[np.ndarray, np.ndarray]:
  """The mean of the scaled curves up to the end of the shortest."""
  end = min(curve["times"][-1] for curve in curves)
  times = np.linspace(0, end, 200)
  scaled = [np.interp(times, curve["times"], _scaled(curve)) for curve in curves]
  return times, np.mean(scaled, axis=0)


@own_look
def _plot_metrics(rows, labels: Mapping[str, str], xlabel: str, theme: Theme) -> bytes:
  series = {key: (_points(rows, key), _points(rows, f"train_{key}")) for key in labels}
  series = {key: pair for key, pair in series.items() if any(each is not None for each in pair)}
  if not series:
    raise UserError(
      f"Expected metrics with {' or '.join(labels)} to plot, but none came: train first."
    )
  figure = make_figure(2.5, theme)
  axes = figure.subplots(1, len(series), squeeze=False)[0]
  for ax, (key, (measured, training)) in zip(axes, series.items(), strict=True):
    if training is not None:
      ax.plot(*training, color=theme.faint, lw=1.2, ls=(0, (4, 2)), label="while exploring")
    if measured is not None:
      _draw_metric(ax, *measured, theme.colours[list(labels).index(key)])
    ax.set_title(labels[key], loc="left", size=8.5, color=theme.text)
    ax.set_xlabel(xlabel)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    if key == "success":
      ax.set_ylim(-0.04, 1.04)
      ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    style_axes(ax, theme)
    if training is not None:
      ax.legend(frameon=False, labelcolor=theme.text, fontsize=7.5)
  return png(figure)


def _draw_metric(ax: Axes, steps: np.ndarray, values: np.ndarray, colour: str) -> None:
  """Few points as they are, many as a faint line under their running mean."""
  if len(values) < MANY_POINTS:
    ax.plot(steps, values, color=colour, lw=1.8, marker="o", ms=3, label="evaluation")
    return
  ax.plot(steps, values, color=colour, lw=0.6, alpha=0.35)
  ax.plot(steps, running_mean(values, len(values) // 30), color=colour, lw=2, label="evaluation")


def _points(rows, key: str) -> np.ndarray | None:
  """float [2, N]: steps and values of the rows that have the metric; None where none has."""
  points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
  return np.array(points, float).T if points else None


def running_mean(values: np.ndarray, radius: int) -> np.ndarray:
  """The mean of up to `radius` values on either side, fewer at the ends."""
  sums = np.concatenate([[0.0], np.cumsum(values)])
  index = np.arange(len(values))
  low, high = np.maximum(index - radius, 0), np.minimum(index + radius + 1, len(values))
  return (sums[high] - sums[low]) / (high - low)


def _scaled(curve: Mapping[str, Any]) -> np.ndarray:
  distances = np.asarray(curve["distances"], float)
  return distances / distances[0] if distances[0] > 0 else distances


def _ceiling(before, after) -> float:
  """One upper end for all panels; a wild curve from before may leave the picture."""
  tops = [
    _scaled(curve).max() for curves in (before, after) for kind in curves.values() for curve in kind
  ]
  return 1.08 * (min(max(tops, default=1.0), 2.0) or 1.0)  # 0: the pictures do not change


def _names(*lists) -> list[str]:
  """The names of all curves, each once, in order."""
  return list(dict.fromkeys(curve["name"] for curves in lists for curve in curves or []))


def _find(curves, name: str) -> Mapping[str, Any] | None:
  return next((curve for curve in curves or [] if curve["name"] == name), None)
