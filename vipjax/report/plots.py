"""What the charts of a run show: learning curves, distance curves, the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.evaluation.measure_attention import finest_stage
from vipjax.report.charts import Chart, player
from vipjax.report.html import Safe, element, small, small_video_url, table, video_url
from vipjax.report.run import Run
from vipjax.report.tables import value_text
from vipjax.runtime.metrics import split_parts
from vipjax.videos import evenly

# Labels of the metrics that are drawn.
LEARNING = {
  "success": "success rate",
  "return": "return (embedding reward)",
  "distance": "distance to the goal",
}
LOSSES = {
  "loss": "total loss",
  "vip_loss": "VIP loss",
  "expectile_loss": "expectile loss",
  "icvf_loss": "ICVF loss",
  "tcc_loss": "TCC loss",
  "progress_loss": "progress loss",
}
# A line of this many points or more is drawn faint, with its running mean on top.
_MANY_POINTS = 60
_ROWS_WITHOUT_SCRIPTS = 12
# Groups of videos, and titles of those that were never trained on.
GROUPS = ("recorded", "unseen", "unseen_views", "other_robots", "failed")
_UNSEEN = {
  "unseen": "Episodes from seeds never recorded",
  "unseen_views": "The same from viewpoints never recorded",
  "other_robots": "The same by other robots",
  "failed": "Episodes that failed, and random motion; goals are those of successful ones",
}
# Short names of groups, and the indices of their colours.
_KINDS = {
  "recorded": ("recorded", 0),
  "robot_free": ("recorded, robot-free", 2),
  "unseen": ("unseen episodes", 1),
  "unseen_views": ("unseen viewpoints", 3),
  "other_robots": ("other robots", 4),
  "failed": ("failed or random", 5),
}
_BEFORE = "the chosen one before fine-tuning"
_MOST_OF_A_GROUP, _IN_A_ROW = 8, 4
_LABELS = ("background", "object", "robot")
_TIME = {"title": "time [s]"}


def distances(run: Run) -> Safe | None:
  """A player of all evaluated videos and their distances to the goal."""
  items: list[dict[str, Any]] = []
  curves: list[dict[str, Any]] = []
  for group in GROUPS:
    earlier = {curve["name"]: curve for curve in run.curves("before", group)}
    for curve in run.curves("after", group)[:_MOST_OF_A_GROUP]:
      path = run.films.get(group, {}).get(curve["name"])
      kind = "robot_free" if group == "recorded" and "robot-free" in curve["name"] else group
      words, colour = _KINDS[kind]
      film = path and small_video_url(path, run.pictures)
      facts = (
        f"Rank correlation with time {curve['rank_correlation']:.3f}; "
        f"{curve['falling_fraction']:.0%} of the steps come closer."
      )
      items.append({"name": curve["name"], "group": words, "film": film, "facts": facts})
      shown = {"item": len(items) - 1, "name": f"{words}: {curve['name']}"}
      curves.append(shown | {"x": curve["times"], "y": curve["distances"], "group": words,
                             "colour": colour})  # fmt: skip
      if before := earlier.get(curve["name"]):
        curves.append(shown | {"x": before["times"], "y": before["distances"], "group": _BEFORE,
                               "colour": "faint", "dash": "dash"})  # fmt: skip
  return distance_player(items, curves) if curves else None


def distance_player(
  items: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]
) -> Safe:
  """A player of distances to the goal, with a hint on its use."""
  made = player(
    "Distance to the goal of every video over time", items, curves, "distance to the goal",
    "distance ÷ first frame's",
  )  # fmt: skip
  hint = (
    "Play a video and the cursor follows; click a curve to see that video at that moment. Click in "
    "the legend to hide curves, twice to see some alone. A useful value falls all the way."
  )
  return element("div", small(hint), made)


def metric_charts(
  rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], xlabel: str
) -> list[Chart]:
  """A chart of each metric that has values; "train_" metrics share the chart of the evaluation.

  Seeds that were trained at once are thin lines beside their mean.

  Args:
    rows: metrics of a stage, each with "step"; None and missing values are left out.
    labels: titles of the metrics.
    xlabel: names the steps.
  """
  charts, parts = [], split_parts(rows)
  mean = f"mean of {len(parts)}" if parts else "evaluation"
  for name, title in labels.items():
    traces: list[dict[str, Any]] = []
    sources = [(rows, f"train_{name}", "while exploring", "faint"), (rows, name, mean, 0)]
    each = [(of, name, part, 1 + place % 5) for place, (part, of) in enumerate(parts.items())]
    for of, key, words, colour in (*each, *sources):
      known = [(row["step"], row[key]) for row in of if row.get(key) is not None]
      if not known:
        continue
      x, y = np.array(known, float).T
      trace = {"x": x, "y": y, "name": words, "colour": colour}
      if of is not rows:
        traces.append(trace | {"plotly": {"line": {"width": 1}}})
        continue
      if len(x) < _MANY_POINTS:
        traces.append(trace | {"plotly": {"mode": "lines+markers"}})
        continue
      thin = {"line": {"width": 1}, "opacity": 0.45}
      thick = {"line": {"width": 3}}
      mean = {"y": running_mean(y, len(x) // 30), "name": "running mean"}
      traces += [trace | {"name": "as it is", "plotly": thin}, trace | mean | {"plotly": thick}]
    if traces:
      layout = {"xaxis": {"title": xlabel}, "showlegend": len(traces) > 1}
      charts.append(Chart(title, traces, layout))
  return charts


def metric_table(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], xlabel: str) -> Safe:
  """The numbers of `metric_charts` at up to twelve steps."""
  known = [row for row in rows if any(row.get(key) is not None for key in labels)]
  picks = evenly(len(known), _ROWS_WITHOUT_SCRIPTS)
  keys = [key for key in labels if any(row.get(key) is not None for row in known)]
  lines = [
    [str(known[pick]["step"])]
    + [value_text(v, key) if (v := known[pick].get(key)) is not None else "–" for key in keys]
    for pick in picks
  ]
  return table((xlabel, *(labels[key] for key in keys)), lines, range(1 + len(keys)))


def running_mean(values: np.ndarray, radius: int) -> np.ndarray:
  """The mean of up to `radius` values on either side, fewer at the ends."""
  window = np.ones(2 * radius + 1)
  return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def curve_charts(run: Run) -> list[list[Chart]]:
  """Distance to the goal over time, before fine-tuning (dashed) and after it, in rows of charts.

  There is a chart for each recorded video (the first 8), and one with all videos of each other
  group, their mean drawn strong. Distances are divided by each curve's first (a curve that starts
  at 0 is drawn undivided).
  """
  # Curves above twice their start are cut off.
  pairs = {group: [run.curves(when, group) for when in ("before", "after")] for group in GROUPS}
  tops = [_scaled(curve).max() for pair in pairs.values() for each in pair for curve in each]
  top = 1.08 * (min(max(tops, default=1.0), 2.0) or 1.0)  # 0: the pictures do not change
  layout = {
    "xaxis": _TIME, "yaxis": {"title": "distance ÷ first frame's", "range": [0, top]},
  }  # fmt: skip
  named = [{curve["name"]: curve for curve in each} for each in pairs["recorded"]]
  recorded = []
  for index, name in enumerate(list(named[0] | named[1])[:_MOST_OF_A_GROUP]):
    known = [(when, each[name]) for when, each in enumerate(named) if name in each]
    ranks = " → ".join(f"{curve['rank_correlation']:.2f}" for _, curve in known)
    traces = [
      _line(curve["times"], _scaled(curve), ("before", "after")[when], index % 4, when, 2)
      for when, curve in known
    ]
    small = layout | {"showlegend": False, "height": 270}
    recorded.append(Chart(f"{name}\nρ {ranks}", traces, small))
  rows = [recorded[i : i + _IN_A_ROW] for i in range(0, len(recorded), _IN_A_ROW)]
  for group, title in _UNSEEN.items():
    traces = []
    for when, curves in enumerate(pairs[group]):
      for curve in curves:
        line = _line(curve["times"], _scaled(curve), curve["name"], 0, when, 0.8)
        traces.append(line | {"plotly": line["plotly"] | {"opacity": 0.45, "showlegend": False}})
      if curves:
        rank = np.mean([curve["rank_correlation"] for curve in curves])
        words = f"{('before', 'after')[when]} fine-tuning, mean of {len(curves)} (ρ {rank:.2f})"
        traces.append(_line(*mean_curve(curves), words, 0, when, 3))
    if traces:
      rows.append([Chart(title, traces, layout | {"height": 360})])
  return rows


def mean_curve(curves: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
  """Times and mean of the scaled curves up to the end of the shortest."""
  end = min(curve["times"][-1] for curve in curves)
  times = np.linspace(0, end, 100)
  scaled = [np.interp(times, curve["times"], _scaled(curve)) for curve in curves]
  return times, np.mean(scaled, axis=0)


def _scaled(curve: Mapping[str, Any]) -> np.ndarray:
  distances = np.asarray(curve["distances"], float)
  return distances / distances[0] if distances[0] > 0 else distances


def _line(x, y, name: str, colour: int, after: int, width: float) -> dict[str, Any]:
  """A solid coloured line, or a dashed faint one for before fine-tuning."""
  line = {"width": width} if after else {"width": width, "dash": "dash"}
  return {
    "x": x, "y": np.asarray(y).round(5), "name": name, "colour": colour if after else "faint",
    "plotly": {"line": line},
  }  # fmt: skip


def attended(run: Run) -> list[Mapping[str, Any]]:
  """The videos of `attention.json` after fine-tuning."""
  return [record for record in run.attention.get("videos", []) if record["when"] == "after"]


def attention(run: Run) -> Safe | None:
  """A player of Grad-CAM films and the shares of the maps on object, robot and background."""
  items, curves = [], []
  for number, record in enumerate(attended(run)):
    names = [name for name in record["stages"] if "robot_free" not in name]
    stages = " and ".join(name.replace("stage", "stage ") for name in sorted(names, reverse=True))
    path = run.workdir / "attention" / str(record["film"])
    items.append({
      "name": record["name"], "group": "films",
      "film": video_url(path) if record["film"] and path.is_file() else None,
      "facts": f"Left to right: the frame, and Grad-CAM of {stages}.",
    })  # fmt: skip
    curves += [{**line, "item": number} for line in _shares(record)]
  if not items:
    return None
  label = "Share of the Grad-CAM map on object, robot and background over time"
  made = player(label, items, curves, "share of map or picture")
  hint = (
    "Above its dotted line (the share of the picture that it takes), a part draws more attention "
    "than its size alone would; the object is the whole thing, frame and all. Dots: on which of "
    "them the map has its maximum. Gaps are frames in which nothing raises the value."
  )
  return element("div", made, small(hint))


def _shares(record: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Curves of each part's share of the map and of the picture."""
  seen = record["stages"][finest_stage(record["stages"])]
  lines = []
  for label, colour in ((1, 2), (2, 1), (0, 5)):
    # Dots are where the maximum of the map lies.
    sizes = np.where(np.array(seen["peak"]) == label, 8, 0)
    dots = {"mode": "lines+markers", "marker": {"size": sizes}}
    for key, extra, group in (
      ("share", {"plotly": dots}, f"map on {_LABELS[label]}"),
      ("area", {"dash": "dot"}, f"{_LABELS[label]}'s area"),
    ):
      lines.append({
        "x": _times(record), "y": np.array(seen[key], float)[:, label], "colour": colour,
        "name": f"{key} of the {_LABELS[label]}", "group": group, **extra,
      })  # fmt: skip
  return lines


def occlusion_charts(run: Run) -> list[Chart]:
  """The change of the value over time when object or robot is hidden, in the first 4 videos."""
  charts = []
  for record in attended(run)[:_IN_A_ROW]:
    traces = []
    for key, name, colour, dash in (
      ("object", "object painted over", 2, "solid"), ("robot", "robot painted over", 1, "solid"),
      ("robot_removed", "robot removed", 1, "dot"),
    ):  # fmt: skip
      if key in record["occlusion"]:
        change = np.abs(record["occlusion"][key]) / max(record["distance"][0], 1e-9)
        traces.append({
          "x": _times(record), "y": change, "name": name, "colour": colour,
          "plotly": {"line": {"dash": dash}},
        })  # fmt: skip
    yaxis = {"title": "|change of V| ÷ first distance", "rangemode": "tozero"}
    charts.append(Chart(record["name"], traces, {"xaxis": _TIME, "yaxis": yaxis}))
  return charts


def _times(record: Mapping[str, Any]) -> np.ndarray:
  return np.arange(len(record["distance"])) / record["fps"]


def off_path_charts(run: Run) -> list[Chart]:
  """States off the path by progress and potential; hovering describes a state."""
  if not run.off_path:
    return []
  states = run.off_path["states"]
  hacks = np.array([hack["state"] for hack in run.off_path["hacks"]], int)
  kinds, progress = np.array(states["kind"]), np.array(states["progress"])
  texts = np.array([
    f"{kind}, rollout {rollout}, {time:.2f} s<br>hand {100 * hand:.0f} cm away, object "
    f"{100 * thing:.0f} cm short of its target"
    for kind, rollout, time, hand, thing in zip(
      *(states[name] for name in ("kind", "rollout", "time", "hand", "object")), strict=True
    )
  ])  # fmt: skip

  def trace(potential, name, where, colour, **marker):
    return {
      "x": progress[where], "y": potential[where], "name": name, "colour": colour,
      "plotly": {"mode": "markers", "marker": {"size": 5, "opacity": 0.5, **marker},
                 "text": texts[where], "hovertemplate": "%{text}<extra></extra>"},
    }  # fmt: skip

  charts = []
  for name in list(states["potentials"])[:3]:
    potential = np.array(states["potentials"][name])
    traces = [
      trace(potential, kind, kinds == kind, place)
      for place, kind in enumerate(dict.fromkeys(kinds.tolist()))
    ]
    if name == "reward":
      ring = {"size": 13, "symbol": "circle-open", "opacity": 1}
      traces.append(trace(potential, "shown below", hacks, "text", **ring))
    title = "the reward's potential" if name == "reward" else f"value, {name}"
    axes = {"xaxis": {"title": "progress in the simulator"}, "yaxis": {"title": title}}
    charts.append(Chart(title, traces, {"height": 400, **axes}))
  return charts
