"""Run folders become something to look at: one HTML page, its pictures, a table of results."""

from vipjax.report.canvas import DARK, LIGHT, Theme
from vipjax.report.page import write_report
from vipjax.report.plots import plot_curves, plot_frames, plot_learning, plot_losses
from vipjax.report.tables import format_results

__all__ = [
  "DARK",
  "LIGHT",
  "Theme",
  "format_results",
  "plot_curves",
  "plot_frames",
  "plot_learning",
  "plot_losses",
  "write_report",
]
