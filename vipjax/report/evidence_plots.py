"""Pictures of the evidence as PNG bytes: alignment, attention, states off the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.evaluation.measure_attention import finest_stage
from vipjax.report.canvas import LIGHT, WIDTH, Theme, make_figure, own_look, png, style_axes
from vipjax.runtime.errors import UserError
from vipjax.types import Video

_STRIP_FRAMES, _STRIP_VIDEOS = 8, 4
_MOST_CURVES = 4
_LABELS = ("background", "object", "robot")


@own_look
def plot_neighbours(
  videos: Mapping[str, Video],
  nearest: Mapping[str, Sequence[int]],
  theme: Theme = LIGHT,
  consistent: Mapping[str, Sequence[bool]] | None = None,
) -> bytes:
  """Frames of the first video, and below each the nearest frame, by embedding, of other videos.

  Args:
    videos: by name, the first being the one whose frames are looked up.
    nearest: by name of another video, the nearest frame there of each frame of the first.
    theme: colours.
    consistent: by name of another video, whether that frame leads back to where it came from;
      such frames have a border.

  Returns:
    A PNG; the number over a frame is how far into its video it lies, in percent.

  Raises:
    UserError: no other video to show.
  """
  query, *_ = videos
  others = [name for name in nearest if name in videos and name != query][:_STRIP_VIDEOS]
  if not others:
    raise UserError("Expected at least one video beside the first, but none came: align some.")
  picks = np.linspace(0, len(videos[query].frames) - 1, _STRIP_FRAMES).round().astype(int)
  rows = {query: picks} | {name: np.asarray(nearest[name])[picks] for name in others}
  side = WIDTH / _STRIP_FRAMES
  height = len(rows) * (side + 0.4)
  figure = make_figure(height, theme)
  # Names stand above their row, outside the layout: a long one would widen its column.
  room = (0, 0, 1, 1 - 0.15 / height)
  figure.get_layout_engine().set(w_pad=0.01, h_pad=0.1, wspace=0.01, hspace=0.01, rect=room)
  axes = figure.subplots(len(rows), _STRIP_FRAMES, squeeze=False)
  for line, (name, indices) in zip(axes, rows.items(), strict=True):
    for column, (ax, index) in enumerate(zip(line, indices, strict=True)):
      ax.imshow(videos[name].frames[index])
      ax.set(xticks=[], yticks=[])
      marked = consistent is not None and name in consistent and consistent[name][picks[column]]
      ax.spines[:].set(visible=marked, color=theme.colours[2], linewidth=3)
      place = f"{index / (len(videos[name].frames) - 1):.0%}"
      ax.set_title(place, size=7.5, color=theme.faint, pad=2, loc="right")
      if column == 0:
        ax.annotate(
          name, (0, 1), (0, 13), xycoords="axes fraction", textcoords="offset points", size=8,
          color=theme.text,
        ).set_in_layout(False)  # fmt: skip
  return png(figure)


@own_look
def plot_attention(records: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
  """Grad-CAM's share on object and robot over time, and the change of the value by occlusion.

  Args:
    records: `attention.json`'s "videos" after fine-tuning, at least one; the first 4 are drawn, of
      each the finest stage.
    theme: colours.

  Returns:
    A PNG: above, the share of the energy (solid) and of the area (dashed) of object and robot;
    below, |change of V| over the first frame's distance with object or robot hidden.
  """
  shown = records[:_MOST_CURVES]
  figure = make_figure(4.2, theme)
  axes = figure.subplots(2, len(shown), squeeze=False, sharey="row")
  for column, record in enumerate(shown):
    stage = finest_stage(record["stages"])
    times = np.arange(len(record["distance"])) / record["fps"]
    share, area = (np.array(record["stages"][stage][key], float) for key in ("share", "area"))
    top, bottom = axes[:, column]
    for label, colour in ((1, theme.colours[2]), (2, theme.colours[1])):
      top.plot(times, share[:, label], color=colour, lw=1.8, label=f"map on {_LABELS[label]}")
      top.plot(times, area[:, label], color=colour, lw=1, ls=(0, (4, 2)), label="its area")
    for name, colour, dashes in (
      ("object", theme.colours[2], "solid"), ("robot", theme.colours[1], "solid"),
      ("robot_removed", theme.colours[1], (0, (1, 1.5))),
    ):  # fmt: skip
      if name in record["occlusion"]:
        change = np.abs(record["occlusion"][name]) / max(record["distance"][0], 1e-9)
        label = {"robot_removed": "robot removed"}.get(name, f"{name} painted over")
        bottom.plot(times, change, color=colour, lw=1.5, ls=dashes, label=label)
    top.set_title(record["name"], loc="left", size=8.5, color=theme.text)
    bottom.set_xlabel("time [s]")
    for ax in (top, bottom):
      style_axes(ax, theme)
  axes[0, 0].set_ylabel(f"share of the map ({stage.replace('stage', 'stage ')})")
  axes[1, 0].set_ylabel("|change of V| ÷ first distance")
  for row in axes:
    row[-1].legend(frameon=False, labelcolor=theme.text, fontsize=7)
    row[0].set_ylim(bottom=0)  # of all, which share it; earlier it would forget the later curves
  return png(figure)


@own_look
def plot_off_path(states: Mapping[str, Any], hacks: Sequence[int], theme: Theme = LIGHT) -> bytes:
  """Every state: its potential against the simulator's progress, coloured by kind of rollout.

  Args:
    states: as `vipjax.evaluation.off_path.record` makes them.
    hacks: places of states to ring.
    theme: colours.
  """
  figure = make_figure(3.4, theme)
  names = list(states["potentials"])[:3]
  axes = figure.subplots(1, len(names), squeeze=False)[0]
  kinds, progress = np.array(states["kind"]), np.array(states["progress"])
  for ax, name in zip(axes, names, strict=True):
    potential = np.array(states["potentials"][name])
    for number, kind in enumerate(dict.fromkeys(kinds.tolist())):
      where = kinds == kind
      ax.scatter(
        progress[where], potential[where], s=5, alpha=0.35, lw=0, color=theme.colours[number % 4],
        label=kind,
      )  # fmt: skip
    if name == "reward":
      chosen = np.array(hacks, int)
      ax.scatter(
        progress[chosen], potential[chosen], s=60, facecolor="none", edgecolor=theme.text, lw=1.2,
        label="below",
      )  # fmt: skip
    title = "the reward's potential" if name == "reward" else f"value, {name}"
    ax.set_title(title, loc="left", size=8.5, color=theme.text)
    ax.set_xlabel("progress in the simulator")
    style_axes(ax, theme)
  legend = axes[0].legend(frameon=False, labelcolor=theme.text, fontsize=7.5, markerscale=2)
  for handle in legend.legend_handles:
    handle.set_alpha(1)
  return png(figure)


@own_look
def plot_hacks(
  pictures: Sequence[np.ndarray], captions: Sequence[str], theme: Theme = LIGHT
) -> bytes:
  """Frames uint8 [H, W, 3] in rows of four, each with its caption.

  Raises:
    UserError: none.
  """
  if not pictures:
    raise UserError("Expected at least one frame to show, but none came: search for some.")
  columns, side = 4, WIDTH / 4
  rows = -(-len(pictures) // columns)
  figure = make_figure(rows * (side + 0.45), theme)
  axes = figure.subplots(rows, columns, squeeze=False).flatten()
  for ax in axes:
    ax.set_axis_off()
  for ax, picture, caption in zip(axes, pictures, captions, strict=False):
    ax.imshow(picture)
    ax.set_title(caption, size=7.5, color=theme.text, loc="left", pad=3)
  return png(figure)
