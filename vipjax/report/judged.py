"""A page of judged rewards: how each orders the episodes and their frames, with intervals."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from vipjax.evaluation.judge_episodes import Judged, record
from vipjax.evaluation.ranking import FEWEST_FOR_INTERVAL, MEASURES, Estimate, JudgedEpisode, scaled
from vipjax.report import html
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import Safe, element, gallery, section, small, table, tile
from vipjax.report.tables import duration_text, value_text
from vipjax.runtime import files
from vipjax.videos import evenly

PAGE = "judge.html"
_FEW = 20  # episodes
_MOST_ENDS, _MOST_ROWS = 12, 60
# Each measure's name on the page, its value by chance, and its explanation.
_WORDS = {
  "voc": (
    "VOC", 0.0,
    "Value order correlation, as GVL defines it (arXiv:2411.04549): the rank correlation of the "
    "values of an episode with time; the mean over successful episodes, or over all where no "
    "outcome is known. 1: the value rises with every frame.",
  ),
  "voc_failed": (
    "VOC of failures", 0.0,
    "The same over failed episodes. It should be lower: what fails does not come ever nearer.",
  ),
  "kendall_tau": (
    "Kendall τ_a", 0.0,
    "Order among episodes of one task by quality, as RBM-EVAL takes it (Robometer, "
    "arXiv:2603.02115): one episode of each grade, ordered by the value of its last frame; tau_a "
    "averaged over all ways to draw them. 1: every better episode ends higher.",
  ),
  "pairs_ordered": (
    "pairs ordered rightly", 0.5,
    "The share of all pairs of episodes of one task and different quality of which the better ends "
    "higher; equal ends count half.",
  ),
  "success_difference": (
    "success − failure", 0.0,
    "RBM-EVAL's Succ-Fail Diff: the mean value of the last frames of successes minus that of "
    "failures, where 0 is the least and 1 the greatest value of any frame of the task.",
  ),
}  # fmt: skip


def write_judged(
  folder: pathlib.Path, judged: Judged, facts: Mapping[str, str], seconds: float
) -> pathlib.Path:
  """Writes `judge.html`, `judge.json` and `values.csv`, a row for each frame and reward.

  Args:
    folder: there already.
    judged: what was measured.
    facts: shown at the page's end: what was judged on what, by which command.
    seconds: what it took.

  Returns:
    The page's path.
  """
  files.write_json(folder / "judge.json", {"facts": dict(facts), **record(judged)})
  header = ("episode", "source", "time_s", *judged.values)
  files.write_csv(folder / "values.csv", header, _rows(judged))
  several = len(judged.by_task) > 1
  page = chart_document(
    "Rewards judged",
    _header(judged, seconds),
    section("Measures", _table(judged.estimates), _bars(judged.estimates), *_meanings()),
    section("By task", *(_of_task(judged, task) for task in judged.by_task)) if several else None,
    section("Values along the episodes", _curves(judged)),
    section("Ends", _ends(judged)),
    section("Episodes", _episodes(judged)),
    section("How this was made", table((), list(facts.items()))),
  )
  path = folder / PAGE
  files.write_text(path, page)
  return path


def estimate_text(estimate: Estimate) -> str:
  """Such as "0.71 [0.52, 0.88]", or "–"."""
  if estimate.value is None:
    return "–"
  interval = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
  return f"{estimate.value:.2f}{interval}"


def _header(judged: Judged, seconds: float) -> Safe:
  episodes = judged.episodes
  won, lost = (sum(each.success is outcome for each in episodes) for outcome in (True, False))
  notes = []
  if len(episodes) < FEWEST_FOR_INTERVAL:
    notes.append(f"{len(episodes)} episodes are too few for intervals: record more of them.")
  elif len(episodes) < _FEW:
    notes.append(
      f"{len(episodes)} episodes are few: the intervals are coarse, and may be too narrow."
    )
  same = sorted({each.task for each in episodes} - _graded(judged))
  if same:
    notes.append(f"All episodes of {', '.join(same)} have one quality: they order nothing.")
  tiles = [
    tile("Episodes", value_text(len(episodes)), f"{won} successes, {lost} failures"),
    tile("Tasks", value_text(len(judged.by_task)), "episodes of different ones are not compared"),
    tile("Rewards", value_text(len(judged.estimates)), "on the same frames"),
    tile("Time", duration_text(seconds), "decoding, values, intervals"),
  ]
  words = (
    "Each reward gave a value to every frame. A useful one rises along a success, and ends higher "
    "the better the episode."
  )
  return html.header("Which reward knows a good episode?", words, tiles, notes)


def _graded(judged: Judged) -> set[str]:
  """The tasks whose episodes differ in quality."""
  grades = {(each.task, each.quality) for each in judged.episodes}
  return {task for task in judged.by_task if sum(of == task for of, _ in grades) > 1}


def _table(estimates: Mapping[str, Mapping[str, Estimate]]) -> Safe:
  header = ("reward", *(_WORDS[name][0] for name in MEASURES))
  rows = [
    (name, *(estimate_text(found[measure]) for measure in MEASURES))
    for name, found in estimates.items()
  ]
  rows.append(("by chance", *(f"{_WORDS[name][1]:.2g}" for name in MEASURES)))
  return table(header, rows, numbers=range(1, 1 + len(MEASURES)))


def _bars(estimates: Mapping[str, Mapping[str, Estimate]]) -> Safe:
  """A chart of each measure, with intervals."""
  charts = []
  for measure in MEASURES:
    title, chance, _ = _WORDS[measure]
    known = [(name, found[measure]) for name, found in estimates.items()]
    known = [(name, each) for name, each in known if each.value is not None]
    if not known:
      continue
    traces = []
    for place, (name, each) in enumerate(known):
      ends = (each.value, each.value) if each.low is None else (each.low, each.high)
      away = {"array": [ends[1] - each.value], "arrayminus": [each.value - ends[0]]}
      traces.append({
        "x": [each.value], "y": [name], "name": name, "colour": place,
        "plotly": {"mode": "markers", "marker": {"size": 10},
                   "error_x": {"type": "data", "symmetric": False, **away}},
      })  # fmt: skip
    line = {"type": "line", "x0": chance, "x1": chance, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"dash": "dot", "width": 1, "color": "#8b929a"}}  # fmt: skip
    layout = {
      "xaxis": {"range": [-1.05 if chance == 0 else -0.02, 1.05]},
      "yaxis": {"type": "category", "autorange": "reversed"},
      "showlegend": False, "height": 110 + 28 * len(known), "shapes": [line],
    }  # fmt: skip
    charts.append(Chart(title, traces, layout))
  return grid(charts)


def _meanings() -> list[Safe]:
  interval = (
    "In brackets: where 95% of the values lie if each task's episodes are drawn anew with "
    "replacement. Where every draw is alike the interval has no width, which is not certainty: "
    "another episode may still differ. Dotted: by chance. A mean over tasks weighs each alike."
  )
  return [small(f"{name}: {words}") for name, _, words in _WORDS.values()] + [small(interval)]


def _of_task(judged: Judged, task: str) -> Safe:
  count = sum(each.task == task for each in judged.episodes)
  return element("div", element("h3", f"{task} ({count} episodes)"), _table(judged.by_task[task]))


def _curves(judged: Judged) -> Safe:
  """The values of each reward over the episodes' time, of each task scaled to 0..1."""
  charts = []
  for name, values in judged.values.items():
    shown: dict[int, np.ndarray] = {}
    for task in judged.by_task:
      here = [index for index, each in enumerate(judged.episodes) if each.task == task]
      known = [JudgedEpisode(task, 0.0, None, values[index]) for index in here]
      shown |= dict(zip(here, scaled(known), strict=True))
    traces, named = [], set()
    for index, each in enumerate(judged.episodes):
      words, colour = {True: ("success", 2), False: ("failure", 1)}.get(
        each.success, ("outcome not known", 0)
      )
      traces.append({
        "x": judged.times[index].round(3), "y": shown[index].round(4), "name": words,
        "colour": colour,
        "plotly": {
          "line": {"width": 1.5}, "opacity": 0.6, "legendgroup": words,
          "showlegend": words not in named,
        },
      })  # fmt: skip
      named.add(words)
    axes = {"xaxis": {"title": "time [s]"}, "yaxis": {"title": "value, 0 to 1 in each task"}}
    charts.append(Chart(name, traces, {"height": 340, **axes}))
  return element(
    "div", small("Each line is an episode; its last value is its score."), grid(charts)
  )


def _ends(judged: Judged) -> Safe:
  order = np.argsort([-each.quality for each in judged.episodes], kind="stable")
  picks = evenly(len(order), _MOST_ENDS)
  pairs = []
  for index in order[picks]:
    each = judged.episodes[index]
    last = ", ".join(f"{name} {values[index][-1]:.3g}" for name, values in judged.values.items())
    pairs.append((judged.ends[index], f"{each.name}: quality {each.quality:g}; {last}"))
  words = small(
    "Last frames, from the best episodes to the worst, and what each reward says of them."
  )
  return element("div", words, gallery(pairs, len(order) - len(pairs)))


def _episodes(judged: Judged) -> Safe:
  header = ("episode", "task", "success", "quality", "frames", *judged.values)
  rows = []
  for index, each in enumerate(judged.episodes[:_MOST_ROWS]):
    outcome = {True: "yes", False: "no"}.get(each.success, "–")
    last = (f"{values[index][-1]:.3g}" for values in judged.values.values())
    rows.append(
      (each.name, each.task, outcome, f"{each.quality:g}", str(len(judged.times[index])), *last)
    )
  more = len(judged.episodes) - len(rows)
  left = f" {more} more are in judge.json." if more else ""
  words = (
    f"Of each reward the value of the last frame, as it is. Every frame's is in values.csv.{left}"
  )
  return element("div", table(header, rows, numbers=range(3, len(header))), small(words))


def _rows(judged: Judged) -> Iterator[tuple]:
  for index, each in enumerate(judged.episodes):
    columns = [values[index] for values in judged.values.values()]
    for seconds, *numbers in zip(judged.times[index], *columns, strict=True):
      source = each.video.metadata["source"]
      yield (each.name, source, f"{seconds:.4f}", *(f"{number:.6g}" for number in numbers))
