"""Run folders become something to look at: one HTML page, its pictures, a table of results."""

from vipjax.report.page import write_report
from vipjax.report.tables import format_results

__all__ = ["format_results", "write_report"]
