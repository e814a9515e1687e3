"""Pictures without a browser, for documents and TensorBoard: charts, strips of frames, films."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from vipjax.report.charts import DARK, LIGHT, Chart, Theme
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import resize_frames

_DPI, _WIDTH = 150, 9.6  # inches
_PIXELS_PER_INCH = 120  # of a chart's height
_DASHES = {"dash": (0, (4, 2)), "dot": (0, (1, 1.5)), "solid": "solid"}
_ON_BOTH = "#737b84"  # text that can be read on white and on near black
_MOST_STRIPS = 8
_FRAMES_OF_A_VIDEO, _FRAMES_OF_A_MATCH, _MOST_MATCHES = 7, 8, 4
# Sizes in films, in pixels.
_HEIGHT, _WIDEST, _PANEL, _DOT = 256, 480, 448, 5
_GOALS_SHOWN = 3

# Decorates every function that draws, so that the user's matplotlibrc (text.usetex, say) changes
# nothing and names of files with dollar signs are not parsed as formulas.
_own_look = style.context(["default", {"text.parse_math": False}])


@_own_look
def draw(rows: Sequence[Sequence[Chart]]) -> bytes:
  """A PNG of charts in rows.

  It understands the part of Plotly's vocabulary that our charts use: lines, markers, fills and heat
  maps. Charts of a row with equal settings of the y axis share one.

  Raises:
    UserError: not one chart.
  """
  rows = [row for row in rows if row]
  if not rows:
    raise UserError("expected at least one chart to draw, got none; run the stage first.")
  heights = [max(each.layout.get("height", 320) for each in row) / _PIXELS_PER_INCH for row in rows]
  figure = _figure(sum(heights), LIGHT.background)
  parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
  for part, row in zip(parts, rows, strict=True):
    part.set_facecolor(LIGHT.background)
    first, *others = (each.layout.get("yaxis") for each in row)
    shared = first is not None and all(other == first for other in others)
    axes = part.subplots(1, len(row), squeeze=False, sharey=shared)[0]
    for ax, each in zip(axes, row, strict=True):
      _draw_chart(ax, each)
      if shared:
        ax.label_outer()
  return _png(figure)


def _draw_chart(ax: Axes, made: Chart) -> None:
  _style_axes(ax, LIGHT)
  layout = made.layout
  if any(trace.get("plotly", {}).get("type") == "heatmap" for trace in made.traces):
    _draw_heatmap(ax, made.traces[0])
  else:
    for trace in made.traces:
      _draw_trace(ax, trace)
    labels = ax.get_legend_handles_labels()[1]
    if layout.get("showlegend", len(labels) > 1):
      ax.legend(frameon=False, labelcolor=LIGHT.text, fontsize=7.5)
  ax.set_title(made.title, loc="left", size=8.5, color=LIGHT.text)
  xaxis, yaxis = layout.get("xaxis", {}), layout.get("yaxis", {})
  ax.set(xlabel=xaxis.get("title", ""), ylabel=yaxis.get("title", ""), ylim=yaxis.get("range"))
  if yaxis.get("rangemode") == "tozero":
    ax.set_ylim(bottom=0)
  if str(xaxis.get("title")).endswith("steps"):
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))


def _draw_trace(ax: Axes, trace: Mapping[str, Any]) -> None:
  plotly = trace.get("plotly", {})
  line, mark, mode = plotly.get("line", {}), plotly.get("marker", {}), plotly.get("mode", "lines")
  colour = trace["colour"]
  shade = getattr(LIGHT, colour) if isinstance(colour, str) else LIGHT.colours[colour % 6]
  name = trace["name"] if plotly.get("showlegend", True) else None
  alpha = plotly.get("opacity", mark.get("opacity", 1.0))
  if "fill" in plotly:
    # Plotly fills with half of the line's opacity.
    ax.fill(trace["x"], trace["y"], color=shade, alpha=0.5 * alpha, lw=0, label=name)
    return
  if "lines" in mode:
    dash = _DASHES[line.get("dash") or trace.get("dash") or "solid"]
    width = 0.75 * line.get("width", 2)
    ax.plot(trace["x"], trace["y"], color=shade, lw=width, ls=dash, alpha=alpha, label=name)
    name = None
  if "markers" in mode:
    ring = str(mark.get("symbol")).endswith("open")
    ax.scatter(
      trace["x"], trace["y"], s=0.5 * np.square(mark.get("size", 5)), alpha=alpha, label=name,
      facecolor="none" if ring else shade, edgecolor=shade if ring else "none", zorder=3,
    )  # fmt: skip


def _draw_heatmap(ax: Axes, trace: Mapping[str, Any]) -> None:
  values, plotly = np.array(trace["z"], float), trace["plotly"]
  ax.grid(False)
  ax.set_facecolor(LIGHT.grid)
  ax.imshow(values, cmap="RdBu", vmin=plotly["zmin"], vmax=plotly["zmax"], aspect="auto")
  for i, j in np.argwhere(np.isfinite(values)):
    colour = "black" if abs(values[i, j]) < 0.6 else "white"
    ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", size=7, color=colour)
  ax.set_xticks(range(len(trace["x"])), trace["x"])
  ax.set_yticks(range(len(trace["y"])), trace["y"])


def draw_frames(videos: Mapping[str, Video]) -> bytes:
  """A PNG with a strip of frames of each video, evenly spaced from first to last, with their times.

  It has no background of its own.

  Args:
    videos: by name, the name being written above the strip; the first 8 are drawn.

  Raises:
    UserError: no videos.
  """
  if not videos:
    raise UserError("expected at least one video to show, got none; record some first.")
  strips = []
  for name, video in list(videos.items())[:_MOST_STRIPS]:
    picks = _evenly(video, _FRAMES_OF_A_VIDEO)
    labels = [f"{time:.2f} s" for time in video.seconds[picks]]
    strips.append(_Strip(name, video.frames[picks], labels))
  return _draw_strips(strips)


def draw_neighbours(
  videos: Mapping[str, Video],
  nearest: Mapping[str, Sequence[int]],
  consistent: Mapping[str, Sequence[bool]] | None = None,
) -> bytes:
  """Frames of the first video, and below each the nearest frame, by embedding, of other videos.

  Args:
    videos: by name, the first being the one whose frames are looked up.
    nearest: by name of another video, the nearest frame there of each frame of the first.
    consistent: by name of another video, whether that frame leads back to where it came from;
      such frames have a border.

  Returns:
    A PNG without a background; the number over a frame is how far into its video it lies, in
    percent.

  Raises:
    UserError: no other video to show.
  """
  query, *_ = videos
  others = [name for name in nearest if name in videos and name != query][:_MOST_MATCHES]
  if not others:
    raise UserError("expected at least one video beside the first, got none; align some.")
  picks = _evenly(videos[query], _FRAMES_OF_A_MATCH)
  rows = {query: picks} | {name: np.asarray(nearest[name])[picks] for name in others}
  strips = []
  for name, indices in rows.items():
    frames, marked = videos[name].frames, (consistent or {}).get(name)
    labels = [f"{index / (len(frames) - 1):.0%}" for index in indices]
    framed = [] if marked is None else np.flatnonzero(np.asarray(marked)[picks])
    strips.append(_Strip(name, frames[indices], labels, framed))
  return _draw_strips(strips)


def _evenly(video: Video, count: int) -> np.ndarray:
  return np.linspace(0, len(video.frames) - 1, count).round().astype(int)


@dataclasses.dataclass(frozen=True)
class _Strip:
  """Frames uint8 [N, H, W, 3], their labels, and the indices of those with a border."""

  name: str
  frames: np.ndarray
  labels: Sequence[str]
  framed: Sequence[int] = ()

  @property
  def gap(self) -> int:
    return max(1, self.frames.shape[2] // 50)

  def image(self) -> np.ndarray:
    """The frames side by side, uint8 [H, W', 4], with transparent gaps."""
    count, height, width = self.frames.shape[:3]
    image = np.zeros((height, count, width + self.gap, 4), np.uint8)
    image[:, :, :width, :3] = self.frames.transpose(1, 0, 2, 3)
    image[:, :, :width, 3] = 255
    return image.reshape(height, -1, 4)[:, : -self.gap]


@_own_look
def _draw_strips(strips: Sequence[_Strip]) -> bytes:
  images = [strip.image() for strip in strips]
  heights = [_WIDTH * image.shape[0] / image.shape[1] + 0.42 for image in images]
  figure = _figure(sum(heights), "none")
  axes = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
  figure.get_layout_engine().set(w_pad=0.0, h_pad=0.02, wspace=0.0, hspace=0.0)
  for ax, strip, image in zip(axes, strips, images, strict=True):
    ax.imshow(image, interpolation="antialiased")
    ax.set_axis_off()
    ax.set_title(strip.name, loc="left", size=8.5, color=_ON_BOTH, pad=15)
    height, width = strip.frames.shape[1:3]
    for number, label in enumerate(strip.labels):
      left = number * (width + strip.gap)
      ax.annotate(
        label, (left + width - 1, 0), (0, 3), textcoords="offset points", ha="right", size=7.5,
        color=_ON_BOTH,
      )  # fmt: skip
      if number in strip.framed:
        corner = (left - 0.5, -0.5)
        ax.add_patch(Rectangle(corner, width, height, fill=False, color=LIGHT.colours[2], lw=3))
  return _png(figure)


def curve_film(
  frames: np.ndarray, distances: np.ndarray, times: np.ndarray, goals: Sequence[np.ndarray] = ()
) -> np.ndarray:
  """A film of one video beside its distance curve, bright up to the frame that is shown.

  Args:
    frames: uint8 [T, H, W, 3].
    distances: float [T], of each frame to the goal.
    times: float [T], seconds, ascending.
    goals: each uint8 [h, w, 3]; the first three are shown small beside the curve.

  Returns:
    uint8 [T, 256, W', 3], for `vipjax.videos.write_video`.
  """
  height, width = frames.shape[1:3]
  # mp4 needs even sizes; very wide frames are squeezed.
  size = _HEIGHT, min(_WIDEST, max(2, round(_HEIGHT * width / height / 2) * 2))
  pictures = resize_frames(frames, size)
  faint, _ = _panel(distances, times, goals, DARK.faint)
  bright, places = _panel(distances, times, goals, DARK.colours[0])
  film = np.empty((len(pictures), _HEIGHT, size[1] + _PANEL, 3), np.uint8)
  y, x = np.mgrid[:_HEIGHT, :_PANEL]
  dot = np.array([int(DARK.colours[1][i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
  for shown, picture, (column, row) in zip(film, pictures, places, strict=True):
    panel = np.where((x <= column)[..., None], bright, faint)
    panel[(x - column) ** 2 + (y - row) ** 2 <= _DOT**2] = dot
    shown[:, : size[1]] = picture
    shown[:, size[1] :] = panel
  return film


@_own_look
def _panel(distances, times, goals, colour: str) -> tuple[np.ndarray, np.ndarray]:
  """The curve, uint8 [256, 448, 3], and the pixels of its points, [T, 2] (column, row)."""
  figure = Figure(figsize=(_PANEL / 100, _HEIGHT / 100), dpi=100, facecolor=DARK.background)
  canvas = FigureCanvasAgg(figure)
  ax = figure.add_axes((0.13, 0.19, 0.65 if goals else 0.83, 0.74))
  ax.plot(times, distances, color=colour, lw=2)
  _style_axes(ax, DARK)
  top: Any = float(np.max(distances)) or 1.0
  ax.set(xlabel="time [s]", ylabel="distance to the goal", ylim=(-0.03 * top, 1.08 * top))
  shown = goals[:_GOALS_SHOWN]
  for index, goal in enumerate(shown):
    corner = figure.add_axes((0.81, 0.68 - 0.25 * index, 0.17, 0.25))
    corner.imshow(goal)
    corner.set(xticks=[], yticks=[], anchor="N")
    corner.spines[:].set_color(DARK.grid)
  if shown:
    more = f"{len(shown)} of {len(goals)} goals" if len(goals) > len(shown) else "the goals"
    corner.set_xlabel("the goal" if len(goals) == 1 else more, size=8, color=DARK.text)
  canvas.draw()
  picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
  points = ax.transData.transform(np.column_stack([times, distances]))
  return picture, np.rint(np.column_stack([points[:, 0], _HEIGHT - 1 - points[:, 1]])).astype(int)


def _figure(height: float, background: str) -> Figure:
  """An empty figure, `height` inches high."""
  return Figure(figsize=(_WIDTH, height), layout="constrained", facecolor=background)


def _style_axes(ax: Axes, theme: Theme) -> None:
  """Sets a faint grid and no box."""
  ax.set_facecolor(theme.background)
  ax.grid(color=theme.grid, lw=0.8)
  ax.set_axisbelow(True)
  ax.spines[:].set_visible(False)
  ax.tick_params(length=0, labelsize=7.5, colors=theme.text)
  ax.xaxis.label.set(color=theme.text, size=8)
  ax.yaxis.label.set(color=theme.text, size=8)


def _png(figure: Figure) -> bytes:
  """The figure as a PNG."""
  buffer = io.BytesIO()
  FigureCanvasAgg(figure)
  figure.savefig(buffer, format="png", dpi=_DPI)
  return buffer.getvalue()
