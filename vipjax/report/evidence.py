"""Sections for goals, hack price, alignment and the like, left out if not measured."""

from __future__ import annotations

import pathlib

from vipjax.report import plots
from vipjax.report.charts import grid
from vipjax.report.html import Safe, element, gallery, note, picture, section, small, table
from vipjax.report.run import Run
from vipjax.report.tables import value_text
from vipjax.types import Video
from vipjax.videos import read_image

_MOST_GOALS = 24
_OCCLUSION = (
  "How much the value changes when object or robot is hidden, which needs no gradient; the goal "
  "keeps its robot, so that near the end hiding the robot costs about all that there is."
)
_STATES = (
  "States of rollouts that leave the expert's path. Progress is -(2 x hand + 10 x object), in "
  "metres from hand to object and from object to target. A value that a policy may climb rises to "
  "the right; ringed are the states that the reward likes most beyond their progress."
)
_HACKS = (
  "The ringed states: the reward's potential ranks them high, the simulator low. A policy can be "
  "paid for resting there."
)
_HACK_PRICE = (
  "The distance to the goal that is left when the arm is as the expert leaves it and the object is "
  "back where it was, divided by the first frame's: 1 if the pose alone is worth nothing, 0 if it "
  "is worth as much as the goal. The less is left, the less there is to gain by moving the object: "
  "a low price foretells a policy that rests in this pose."
)
# Metres; bodies that touch reach some millimetres into one another.
_OVERLAP = 0.01
_PICTURED = {
  "first": "first frame",
  "last": "the expert's last frame, the goal",
  "put_back": "the same pose, the object put back",
}
# Measures of alignment, attention and states off the path, in words.
_ALIGNMENT = {
  "tau": "Kendall's tau of nearest frames",
  "cycle_consistency_2": "cycles of two videos that close",
  "cycle_consistency_3": "of three",
  "cycle_index_error_2": "error of two, in frames",
  "cycle_index_error_3": "of three",
}
_ATTENTION = {
  "object_over_area": "object: share ÷ area",
  "robot_over_area": "robot: share ÷ area",
  "background_over_area": "background: share ÷ area",
  "peak_on_object": "maximum on the object",
  "frames_with_map": "frames with a map",
}
_OFF_PATH = {
  "progress": "progress",
  "hand": "hand near the object, before it moved",
  "object": "object near its target, once moved",
  "success": "success told from failure",
}


def goals(run: Run) -> Safe | None:
  """The goal frames of the policy's reward, small, each with its source."""
  records = run.goals.get("frames")
  if not records:
    return None
  shown = []
  for record in records[:_MOST_GOALS]:
    image = read_image(run.workdir / "policy" / record["file"])
    height, width = image.shape[:2]
    robot = "" if record["robot_visible"] else ", without the robot"
    source = record["source"].removeprefix(f"{run.workdir}/")
    shown.append((image, f"{record['view']}{robot}, {height}x{width}: {source}"))
  several = ""
  if len(records) > len({(record["view"], record["robot_visible"]) for record in records}):
    counts = "nearest" if run.goals["goals"] == "nearest" else "mean of their embeddings"
    several = f" Of several for one picture the {counts} counts."
  warnings = dict.fromkeys(warning for record in records for warning in record["warnings"])
  return section(
    "The goals",
    element("p", f"What the policy is rewarded for coming closer to.{several}"),
    *map(note, warnings),
    gallery(shown, len(records) - _MOST_GOALS, " in policy/"),
  )


def neighbours(run: Run) -> tuple[dict[str, Video], dict[str, list[int]]] | None:
  """The query video with the others, and their nearest frames; None if they are not known."""
  groups = (run.evaluation.get("alignment") or {}).get("after") or {}
  found = groups.get("both") or groups.get("recorded") or {}
  others = found.get("nearest", {})
  # The query video has no entry of its own.
  queries = [name for name in found.get("pairs", {}) if name not in others]
  if not queries or not {*queries, *others} <= {*run.videos}:
    return None
  return {name: run.videos[name] for name in (*queries, *others)}, others


def alignment(run: Run, png: bytes | None) -> Safe | None:
  """Nearest neighbours between videos, and how well they keep the order of time."""
  groups = (run.evaluation.get("alignment") or {}).get("after")
  if not groups:
    return None
  strips = None
  if png is not None:
    strips = picture(
      png,
      "Frames of one video above their nearest neighbours in the others",
      "Frames of the first video, and below each the frame of the other videos whose embedding is "
      "nearest, with how far into its video it lies. Aligned videos show the same moment in a "
      "column.",
    )
  rows = [
    # Older runs lack some.
    (name.replace("_", " "), *(value_text(made.get(key)) for key in _ALIGNMENT))
    for name, made in groups.items()
  ]
  numbers = range(1, len(_ALIGNMENT) + 1)
  return section("Alignment", strips, table(("videos", *_ALIGNMENT.values()), rows, numbers))


def attention(run: Run) -> Safe | None:
  """What the value attends to: Grad-CAM films beside their curves, occlusion, and means."""
  if not run.attention:
    return None
  means = run.attention["means"]
  rows = [
    (_stage_words(name), *(value_text(made[key]) for key in _ATTENTION))
    for name, made in means.items()
    if name.startswith("stage")
  ]
  hidden = ", ".join(
    f"{name.replace('_', ' ')} {value_text(number)}" for name, number in means["occlusion"].items()
  )
  agreement = ", ".join(
    f"{_stage_words(name)} {value_text(number)}" for name, number in means["agreement"].items()
  )
  explanation = (
    "In the films: the frame, the map of the last convolutional stage and, where that has very few "
    "cells, of a finer one, whose shares the curves show. Red raises the value most; a frame in "
    "which nothing raises it has no map."
  )
  return section(
    "What the value looks at",
    element("p", explanation),
    plots.attention(run),
    grid(plots.occlusion_charts(run), "charts four", Safe()),
    small(_OCCLUSION),
    table(("maps", *_ATTENTION.values()), rows, range(1, len(_ATTENTION) + 1)),
    element("p", f"Mean change of the value ÷ first distance when hidden: {hidden}."),
    element(
      "p",
      "Rank correlation, over frames, of Grad-CAM's word on object against robot with that of "
      f"occlusion: {agreement}.",
    ),
  )


def hack_files(run: Run) -> dict[str, pathlib.Path]:
  """Frames whose reward exceeds their progress the most, by name."""
  hacks = run.off_path.get("hacks", [])
  return {f"hack{i}": run.workdir / "off_path" / hack["file"] for i, hack in enumerate(hacks)}


def off_path(run: Run) -> Safe | None:
  """The value against the simulator's progress, in states that no video shows."""
  if not run.off_path:
    return None
  rows = [
    ("the reward's potential" if name == "reward" else f"value, {name}",
     *(value_text(made[key]) for key in _OFF_PATH))
    for name, made in run.off_path["correlations"].items()
  ]  # fmt: skip
  explanation = (
    "Rank correlations with the simulator over experts disturbed by noise, experts that turn into "
    "random motion half way, and random motion, the same rollouts in every run (the policy's own "
    "are drawn, not counted); the last column is the share of pairs in which a rollout that "
    "succeeds ends higher than one that fails (chance: 0.5)."
  )
  states, hacks = run.off_path["states"], run.off_path["hacks"]
  shown = [
    (
      read_image(path),
      f"{states['kind'][i]}, {states['time'][i]:.2f} s: hand {100 * states['hand'][i]:.0f} cm "
      f"away, object {100 * states['object'][i]:.0f} cm short of its target",
    )
    for path, i in zip(hack_files(run).values(), (hack["state"] for hack in hacks), strict=True)
  ]
  return section(
    "Off the expert's path",
    grid(plots.off_path_charts(run), "charts broad"),
    small(_STATES),
    element("p", explanation),
    table(("", *_OFF_PATH.values()), rows, range(1, len(_OFF_PATH) + 1)),
    gallery(shown),
    small(_HACKS) if shown else None,
  )


def hack_price(run: Run) -> Safe | None:
  """What the expert's last pose is worth beside an object that nobody moved."""
  if not run.hack_price:
    return None
  before, after = (run.hack_price[when] for when in ("before", "after"))
  price, worth = after["hack_price"], after["worth"]
  left = (
    f"{value_text(price)} of the first distance is left: the pose alone has earned "
    f"{100 * (1 - price):.0f}% of what success pays the plain frame."
  )
  within = worth["pose_pays_more_within"]
  when = f"more if reached within {within} actions" if within else "less however soon it is reached"
  compared = (
    f"As the reward pays it, at a discount of {worth['discount']:g} per action, the pose is worth "
    f"{value_text(worth['worth_pose'])} first distances when reached straight, after "
    f"{worth['pose_after']} actions, and success {value_text(worth['worth_solved'])} after "
    f"{worth['success_after']}, as fast as the expert: the pose pays {when}."
  )
  if after["overlap"] > _OVERLAP:
    compared += (
      f" But the arm then reaches {100 * after['overlap']:.0f} cm into what was put back: no "
      "policy can rest just there, only near it."
    )
  prices = {name: (before["views"][name], after["views"][name]) for name in after["views"]}
  prices["as the reward pays it"] = tuple(each["hack_price_reward"] for each in (before, after))
  rows = [(name, *map(value_text, pair)) for name, pair in prices.items()]
  shown = [
    [
      (read_image(path), f"{view}: {words}")
      for which, words in _PICTURED.items()
      if (path := run.workdir / "hack_price" / f"{view}_{which}.png").is_file()
    ]
    for view in after["views"]
  ]
  episodes = len(after["episodes"])
  return section(
    "The hack price",
    element("p", element("strong", left), f" {_HACK_PRICE}"),
    *(gallery(pictures) for pictures in shown if pictures),
    element("p", compared),
    table((f"mean of {episodes} unseen episodes", "before", "after"), rows, range(1, 3)),
    small("Without the robot the first frame and the one with the object put back are the same."),
  )


def _stage_words(name: str) -> str:
  return (
    name.replace("stage", "stage ")
    .replace("_robot_free", ", robot-free")
    .replace("_before", ", before fine-tuning")
  )
