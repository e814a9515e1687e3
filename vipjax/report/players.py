"""The charts of a run: videos tied to their curves, learning curves, states off the path."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.evaluation.measure_attention import finest_stage
from vipjax.report import plots
from vipjax.report.elements import Safe, element, video_url
from vipjax.report.interactive import chart, player
from vipjax.report.run import Run
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, resize_frames, write_video

# Groups of curves in words, and their colours in the themes' list.
_GROUPS = {
  "recorded": ("recorded", 0),
  "robot_free": ("recorded, robot-free", 2),
  "unseen": ("unseen episodes", 1),
  "unseen_views": ("unseen viewpoints", 3),
  "other_robots": ("other robots", 4),
  "failed": ("failed or random", 5),
}
_BEFORE = "the chosen one before fine-tuning"
_MOST_OF_A_GROUP = 8
# Larger films are shrunk for the page.
_LARGEST_FILM_BYTES, _FILM_HEIGHT = 400_000, 256
_LABELS = ("background", "object", "robot")


def distances(run: Run) -> Safe | None:
  """Every video that was evaluated, and its distance to the goal, moving together."""
  items: list[dict[str, Any]] = []
  curves: list[dict[str, Any]] = []
  evaluated = {when: run.evaluation.get(when) or {} for when in ("before", "after")}
  for group in _GROUPS:
    if group == "robot_free":
      continue
    earlier = {curve["name"]: curve for curve in evaluated["before"].get(group) or []}
    for curve in (evaluated["after"].get(group) or [])[:_MOST_OF_A_GROUP]:
      path = run.films.get(group, {}).get(curve["name"])
      kind = "robot_free" if group == "recorded" and "robot-free" in curve["name"] else group
      words, colour = _GROUPS[kind]
      film = path and small_film(path, run.workdir / "pictures")
      items.append({"name": curve["name"], "group": words, "film": film, "facts": _facts(curve)})
      shown = {"item": len(items) - 1, "name": f"{words}: {curve['name']}"}
      curves.append(shown | {"x": curve["times"], "y": curve["distances"], "group": words,
                             "colour": colour})  # fmt: skip
      if before := earlier.get(curve["name"]):
        curves.append(shown | {"x": before["times"], "y": before["distances"], "group": _BEFORE,
                               "colour": "faint", "dash": "dash"})  # fmt: skip
  if not curves:
    return None
  return distance_player(items, curves)


def distance_player(
  items: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]
) -> Safe:
  """`interactive.player` of distances to the goal, with a word on how to use it."""
  made = player(
    "Distance to the goal of every video over time", items, curves,
    {"xaxis": {"title": "time [s]"}, "yaxis": {"title": "distance to the goal"}},
    scaled_title="distance ÷ first frame's",
  )  # fmt: skip
  hint = (
    "Play a video and the cursor follows; click a curve to see that video at that moment. Click in "
    "the legend to hide curves, twice to see some alone. A useful value falls all the way."
  )
  return element("div", element("p", hint, class_="sub"), made)


def attention(run: Run) -> Safe | None:
  """Films of Grad-CAM maps beside where their energy falls, moving together."""
  items, curves = [], []
  for record in (run.attention or {}).get("videos", []):
    path = run.workdir / "attention" / str(record["film"])
    if record["when"] != "after" or not (record["film"] and path.is_file()):
      continue
    stage = finest_stage(record["stages"])
    seen, times = record["stages"][stage], np.arange(len(record["distance"])) / record["fps"]
    for label, colour in ((1, 2), (2, 1), (0, 5)):
      # Dots are where the maximum of the map lies.
      sizes = np.where(np.array(seen["peak"]) == label, 8, 0)
      for key, dash in (("share", None), ("area", "dot")):
        marks = {"mode": "lines+markers", "marker": {"size": sizes}} if key == "share" else {}
        curves.append({
          "item": len(items), "x": times, "y": np.array(seen[key], float)[:, label], "dash": dash,
          "name": f"{key} of the {_LABELS[label]}", "colour": colour, "plotly": marks,
          "group": f"map on {_LABELS[label]}" if key == "share" else f"{_LABELS[label]}'s area",
        })  # fmt: skip
    facts = f"Left to right: the frame, and Grad-CAM of {_stages(record)}."
    film = video_url(path)
    items.append({"name": record["name"], "group": "films", "film": film, "facts": facts})
  if not items:
    return None
  made = player(
    "Share of the Grad-CAM map on object, robot and background over time", items, curves,
    {"xaxis": {"title": "time [s]"}, "yaxis": {"title": "share of map or picture"}}, single=True,
  )  # fmt: skip
  hint = (
    "Above its dotted line (the share of the picture that it takes), a part draws more attention "
    "than its size alone would. Dots: on which of them the map has its maximum. Gaps are frames in "
    "which nothing raises the value."
  )
  return element("div", made, element("p", hint, class_="sub"))


def off_path(run: Run) -> Safe | None:
  """States off the path by progress and the reward's potential; a label says what each is."""
  if not run.off_path:
    return None
  states, hacks = run.off_path["states"], [hack["state"] for hack in run.off_path["hacks"]]
  kinds = np.array(states["kind"])
  progress, potential = np.array(states["progress"]), np.array(states["potentials"]["reward"])
  texts = np.array([
    f"{kind}, rollout {rollout}, {time:.2f} s<br>hand {100 * hand:.0f} cm away, object "
    f"{100 * thing:.0f} cm short of its target"
    for kind, rollout, time, hand, thing in zip(
      *(states[name] for name in ("kind", "rollout", "time", "hand", "object")), strict=True
    )
  ])  # fmt: skip

  def trace(name, where, colour, **marker):
    return {
      "x": progress[where], "y": potential[where], "name": name, "colour": colour,
      "plotly": {"mode": "markers", "marker": {"size": 5, "opacity": 0.5, **marker},
                 "text": texts[where], "hovertemplate": "%{text}<extra></extra>"},
    }  # fmt: skip

  traces = [trace(kind, kinds == kind, place) for place, kind in enumerate(dict.fromkeys(kinds))]
  traces.append(
    trace("shown below", np.array(hacks, int), "text", size=13, symbol="circle-open", opacity=1)
  )
  layout = {
    "height": 400,
    "xaxis": {"title": "progress in the simulator"},
    "yaxis": {"title": "the reward's potential"},
  }
  return chart("The reward's potential against true progress", traces, layout)


def metrics(
  rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], xlabel: str, instead: Safe
) -> Safe:
  """A chart of each metric against the steps; "train_" ones beside those of evaluation."""
  made = []
  for name, title in labels.items():
    traces = [
      {"name": words, "colour": colour, **_points(rows, prefix + name)}
      for prefix, words, colour in (("train_", "while exploring", "faint"), ("", "evaluation", 0))
    ]
    traces = [trace for trace in traces if len(trace["x"])]
    for trace in traces[:]:
      if len(trace["x"]) >= plots.MANY_POINTS:
        mean = plots.running_mean(np.array(trace["y"]), len(trace["x"]) // 30)
        traces.append(
          {**trace, "y": mean, "name": "running mean", "plotly": {"line": {"width": 3}}}
        )
        trace |= {"name": "as it is", "plotly": {"line": {"width": 1}, "opacity": 0.45}}
      else:
        trace["plotly"] = {"mode": "lines+markers"}
    if traces:
      layout = {"title": title, "height": 320, "xaxis": {"title": xlabel}, "yaxis": {},
                "showlegend": len(traces) > 1}  # fmt: skip
      made.append(chart(title, traces, layout, Safe() if made else instead))
  return element("div", *made, class_="charts")


def small_film(path: pathlib.Path, folder: pathlib.Path) -> str | None:
  """A film as a URL that holds it, shrunk where it is large; None where there is none any more."""
  if not path.is_file():
    return None
  if path.stat().st_size <= _LARGEST_FILM_BYTES:
    return video_url(path)
  small = folder / f"small_{path.parent.name}_{path.name}"
  try:
    video = read_video(path)
  except UserError:
    return None
  height, width = video.frames.shape[1:3]
  size = (_FILM_HEIGHT, max(2, round(_FILM_HEIGHT * width / height / 2) * 2))
  frames = resize_frames(video.frames, size) if height > _FILM_HEIGHT else video.frames
  write_video(small, frames, video.fps, times=video.times, crf=26, overwrite=True)
  return video_url(small)


def _facts(curve: Mapping[str, Any]) -> str:
  return (
    f"Rank correlation with time {curve['rank_correlation']:.3f}; {curve['falling_fraction']:.0%} "
    "of the steps come closer."
  )


def _stages(record: Mapping[str, Any]) -> str:
  names = [name for name in record["stages"] if "robot_free" not in name]
  return " and ".join(name.replace("stage", "stage ") for name in sorted(names, reverse=True))


def _points(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, list[float]]:
  """Steps and values that are there."""
  known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
  return {"x": [step for step, _ in known], "y": [value for _, value in known]}
