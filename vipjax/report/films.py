"""A video beside its distance curve, the two moving together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from vipjax.report.canvas import LIGHT, Theme, style_axes
from vipjax.types import Video
from vipjax.videos import fit_square

_SIZE, _PLOT_WIDTH, _DPI = 256, 384, 100


def curve_film(video: Video, curve: Mapping[str, Any], theme: Theme = LIGHT) -> np.ndarray:
  """Frames of a film: the video on the left, on the right its curve as far as it has come.

  Args:
    video: the video.
    curve: its curve, as `DistanceCurve.record` makes it.
    theme: colours.

  Returns:
    uint8 [T, 256, 640, 3].
  """
  plot, points = _empty_plot(curve, theme)
  pictures = []
  for step, frame in enumerate(fit_square(video.frames, _SIZE)):
    picture = Image.fromarray(np.concatenate([frame, plot], axis=1))
    draw = ImageDraw.Draw(picture)
    come = [(_SIZE + x, y) for x, y in points[: step + 1]]
    if step:
      draw.line(come, fill=theme.colours[0], width=3, joint="curve")
    x, y = come[-1]
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=theme.colours[1])
    pictures.append(np.asarray(picture))
  return np.stack(pictures)


def _empty_plot(curve: Mapping[str, Any], theme: Theme) -> tuple[np.ndarray, list]:
  """Axes with the whole curve drawn faint, and the pixel of each of its points."""
  distances = np.array(curve["distances"], float)
  scaled = distances / distances[0] if distances[0] > 0 else distances
  figure = Figure(
    figsize=(_PLOT_WIDTH / _DPI, _SIZE / _DPI), dpi=_DPI, layout="constrained",
    facecolor=theme.background,
  )  # fmt: skip
  canvas = FigureCanvasAgg(figure)
  ax = figure.subplots()
  ax.plot(curve["times"], scaled, color=theme.grid, lw=2)
  ax.set_ylim(0, max(1.05, 1.05 * scaled.max()))
  ax.set_xlabel("time [s]")
  ax.set_ylabel("distance ÷ first frame's")
  style_axes(ax, theme)
  canvas.draw()
  pixels = ax.transData.transform(np.column_stack([curve["times"], scaled]))
  plot = np.asarray(canvas.buffer_rgba())[..., :3]
  return plot, [(float(x), float(_SIZE - y)) for x, y in pixels]
