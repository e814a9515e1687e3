"""What all pictures share: size, colours, the look of their axes. No display, no pyplot state."""

from __future__ import annotations

import dataclasses
import io

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 150
WIDTH = 9.6  # inches


@dataclasses.dataclass(frozen=True)
class Theme:
  """Colours of a picture; lines have those of Okabe and Ito, which the colour-blind tell apart.

  Attributes:
    background, text, faint, grid: hexadecimal colours; faint is for what came before.
    colours: of the lines.
  """

  background: str
  text: str
  faint: str
  grid: str
  colours: tuple[str, ...]


LIGHT = Theme(
  "#ffffff", "#1f2328", "#8b929a", "#e6e8eb", ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
)
DARK = Theme(
  "#1b1f24", "#e6e8eb", "#8b929a", "#32383f", ("#56b4e9", "#e69f00", "#2fc79a", "#e39ac2")
)


# Decorates all that draws: pictures look alike whatever the reader's matplotlibrc or notebook says
# (text.usetex, a backend), and names of files are text, not formulas between dollar signs.
own_look = style.context(["default", {"text.parse_math": False}])


def make_figure(height: float, theme: Theme) -> Figure:
  """An empty picture of a height in inches; WIDTH wide, like all of them."""
  return Figure(figsize=(WIDTH, height), layout="constrained", facecolor=theme.background)


def style_axes(ax: Axes, theme: Theme) -> None:
  """A quiet frame for data: a faint grid, no box."""
  ax.set_facecolor(theme.background)
  ax.grid(color=theme.grid, lw=0.8)
  ax.set_axisbelow(True)
  ax.spines[:].set_visible(False)
  ax.tick_params(length=0, labelsize=7.5, colors=theme.text)
  ax.xaxis.label.set(color=theme.text, size=8)
  ax.yaxis.label.set(color=theme.text, size=8)


def png(figure: Figure) -> bytes:
  """The picture as a PNG."""
  buffer = io.BytesIO()
  FigureCanvasAgg(figure)
  figure.savefig(buffer, format="png", dpi=_DPI)
  return buffer.getvalue()
