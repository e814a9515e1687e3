"""A film of one video beside its distance curve, which is drawn as the video plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vipjax.report.canvas import DARK, Theme, own_look, style_axes
from vipjax.videos import resize_frames

_HEIGHT = 256  # pixels
_WIDEST = 480
_PANEL = 448
_DOT = 5  # pixels, radius
_GOALS_SHOWN = 3


def curve_film(
  frames: np.ndarray,
  distances: np.ndarray,
  times: np.ndarray,
  goals: Sequence[np.ndarray] = (),
  theme: Theme = DARK,
) -> np.ndarray:
  """Frames on the left, the curve on the right: bright up to the frame that is shown.

  Args:
    frames: uint8 [T, H, W, 3].
    distances: float [T], of each frame to the goal.
    times: float [T], seconds, ascending.
    goals: each uint8 [h, w, 3]; the first three are shown small beside the curve.
    theme: colours.

  Returns:
    uint8 [T, 256, W', 3], for `vipjax.videos.write_video`.
  """
  pictures = resize_frames(frames, _film_size(frames))
  faint, _ = _panel(distances, times, goals, theme, theme.faint)
  bright, places = _panel(distances, times, goals, theme, theme.colours[0])
  film = np.empty((len(pictures), _HEIGHT, pictures.shape[2] + _PANEL, 3), np.uint8)
  y, x = np.mgrid[:_HEIGHT, :_PANEL]
  dot = np.array([int(theme.colours[1][i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
  for shown, picture, (column, row) in zip(film, pictures, places, strict=True):
    panel = np.where((x <= column)[..., None], bright, faint)
    panel[(x - column) ** 2 + (y - row) ** 2 <= _DOT**2] = dot
    shown[:, : picture.shape[1]] = picture
    shown[:, picture.shape[1] :] = panel
  return film


def _film_size(frames: np.ndarray) -> tuple[int, int]:
  """Height and width of the pictures: even, as mp4 wants it; very wide ones are squeezed."""
  height, width = frames.shape[1:3]
  return _HEIGHT, min(_WIDEST, max(2, round(_HEIGHT * width / height / 2) * 2))


@own_look
def _panel(distances, times, goals, theme: Theme, colour: str) -> tuple[np.ndarray, np.ndarray]:
  """The curve in a colour, uint8 [256, 448, 3], and where its points are, [T, 2] (column, row)."""
  figure = Figure(figsize=(_PANEL / 100, _HEIGHT / 100), dpi=100, facecolor=theme.background)
  canvas = FigureCanvasAgg(figure)
  ax = figure.add_axes((0.13, 0.19, 0.65 if goals else 0.83, 0.74))
  ax.plot(times, distances, color=colour, lw=2)
  style_axes(ax, theme)
  top: Any = float(np.max(distances)) or 1.0
  ax.set(xlabel="time [s]", ylabel="distance to the goal", ylim=(-0.03 * top, 1.08 * top))
  shown = goals[:_GOALS_SHOWN]
  for index, goal in enumerate(shown):
    corner = figure.add_axes((0.81, 0.68 - 0.25 * index, 0.17, 0.25))
    corner.imshow(goal)
    corner.set(xticks=[], yticks=[], anchor="N")
    corner.spines[:].set_color(theme.grid)
  if shown:
    more = f"{len(shown)} of {len(goals)} goals" if len(goals) > len(shown) else "the goals"
    corner.set_xlabel("the goal" if len(goals) == 1 else more, size=8, color=theme.text)
  canvas.draw()
  picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
  points = ax.transData.transform(np.column_stack([times, distances]))
  return picture, np.rint(np.column_stack([points[:, 0], _HEIGHT - 1 - points[:, 1]])).astype(int)
