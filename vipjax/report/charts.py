"""The charts of pages, drawn by Plotly and our script, which the page itself holds."""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import hashlib
import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vipjax.report.html import Safe, document, element
from vipjax.runtime import files

_CHART = '<div class="chart'


@dataclasses.dataclass(frozen=True)
class Theme:
  """Colours of a page. The first lines use the palette of Okabe and Ito, safe for the colour-blind.

  Attributes:
    background, text, faint, grid: hexadecimal colours; faint marks what came before.
    colours: the colours of lines, hexadecimal.
  """

  background: str
  text: str
  faint: str
  grid: str
  colours: tuple[str, ...]


LIGHT = Theme(
  "#ffffff", "#1f2328", "#8b929a", "#e6e8eb",
  ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f5fb0", "#a0522d"),
)  # fmt: skip
DARK = Theme(
  "#1b1f24", "#e6e8eb", "#8b929a", "#32383f",
  ("#56b4e9", "#e69f00", "#2fc79a", "#e39ac2", "#b39ddb", "#d2a679"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Chart:
  """The contents of one chart. `chart` puts it into a page; `pictures.draw` turns it into a PNG.

  Attributes:
    title: plain text, one line or two.
    traces: each {"x", "y", "name", "colour"} and, optionally, "plotly", a dict of further
      keys of Plotly's trace. A colour is a place in the themes' list, or the name of another of its
      colours ("text", "faint").
    layout: Plotly's, with the titles of axes as texts.
  """

  title: str
  traces: Sequence[Mapping[str, Any]]
  layout: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def chart(made: Chart, instead: str | None = None) -> Safe:
  """An interactive chart; browsers without scripts show `instead`."""
  title = escape(made.title, quote=False).replace("\n", "<br>")
  layout = {"height": 320, "title": title, **made.layout}
  return _chart({"traces": _plain(made.traces), "layout": layout}, made.title, instead)


def grid(charts: Iterable[Chart], class_: str = "charts", instead: Safe | None = None) -> Safe:
  """Charts side by side; browsers without scripts show `instead`, or a remark, once for all."""
  made = [chart(each, Safe() if number else instead) for number, each in enumerate(charts)]
  return element("div", *made, class_=class_)


def player(
  label: str,
  items: Sequence[Mapping[str, Any]],
  curves: Sequence[Mapping[str, Any]],
  ylabel: str,
  scaled_ylabel: str | None = None,
) -> Safe:
  """Videos and their curves: playing moves a cursor along them, a click on a curve seeks.

  Args:
    label: describes the chart to screen readers.
    items: the videos to choose from, at least one: {"name", "group", "film" (a URL or None),
      "facts" (a sentence or None)}.
    curves: each {"x": seconds, "y", "name", "group" (its entry in the legend), "colour", "item"
      (which of the videos) and, optionally, "dash" and "plotly". A dashed one of another video is
      not drawn.
    ylabel: title of the y axis.
    scaled_ylabel: the same when curves are divided by their first values, which a checkbox asks
      for. Without it there is no checkbox, only the chosen video's curves are drawn, and the video
      is above them: it may be a wide one.
  """
  groups: dict[str, list[Safe]] = {}
  for number, item in enumerate(items):
    option = element("option", item["name"], value=str(number))
    groups.setdefault(item["group"], []).append(option)
  choice = element(
    "select",
    *(element("optgroup", *options, label=group) for group, options in groups.items()),
    aria_label="video",
  )
  scaled = None
  if scaled_ylabel:
    box = element("input", type="checkbox", checked=True)
    scaled = element("label", box, " divide by the first frame's", class_="sub")
  film = element("video", controls=True, preload="auto", muted=True, playsinline=True)
  side = element("div", choice, film, element("p", class_="facts sub"), scaled, class_="side")
  data = {
    "items": items, "curves": _plain(curves), "scaled_ylabel": scaled_ylabel,
    "layout": {"xaxis": {"title": "time [s]"}, "yaxis": {"title": ylabel}},
  }  # fmt: skip
  return _chart(data, label, None, side, "chart wide" if scaled_ylabel else "chart tall")


def _plain(traces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Escapes names, because Plotly interprets tags and entities in them."""
  named = [key for key in ("name", "group") if traces and key in traces[0]]
  return [{**each, **{key: escape(each[key], quote=False) for key in named}} for each in traces]


def _chart(
  data: Mapping[str, Any], label: str, instead: Safe | None, side=None, class_: str = "chart"
) -> Safe:
  plot = element("div", class_="plot", role="img", aria_label=label)
  if instead is None:
    instead = element("p", "Charts need a browser that runs scripts.", class_="missing")
  return element(
    "div", element("div", instead, class_="instead"), side, plot, _data(data), class_=class_
  )


def chart_document(title: str, *children: str | None) -> str:
  """`html.document`, with Plotly and our script (two megabytes) if it has charts."""
  if not any(child and _CHART in child for child in children):
    return document(title, *children)
  themes = {"light": dataclasses.asdict(LIGHT), "dark": dataclasses.asdict(DARK)}
  scripts = (
    element("script", Safe(_packed()), type="text/plain", id="plotly"),
    element("div", _data(themes), id="themes", hidden=True),
    element("script", Safe(_ours())),
  )
  # The policy allows these two scripts and no other.
  digests = (hashlib.sha256(text.encode()).digest() for text in (_plotly(), _ours()))
  policy = " ".join(f"'sha256-{base64.b64encode(each).decode('ascii')}'" for each in digests)
  return document(title, *children, *scripts, script_policy=policy)


def _data(value: Any) -> Safe:
  """JSON in a script element; no text in it can close the element."""
  text = json.dumps(files.jsonable(value), allow_nan=False, separators=(",", ":"))
  return element("script", Safe(text.replace("<", "\\u003c")), type="application/json")


@functools.cache
def _plotly() -> str:
  # Read as a file: importing plotly would load megabytes of Python that a page does not need.
  return (
    importlib.resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf8")
  )


@functools.cache
def _packed() -> str:
  """Plotly compressed to a third; mtime 0 makes a rewritten page identical."""
  return base64.b64encode(gzip.compress(_plotly().encode(), mtime=0)).decode("ascii")


@functools.cache
def _ours() -> str:
  return importlib.resources.files("vipjax.report").joinpath("charts.js").read_text("utf8")
