"""The parts of the page, in the order in which it shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.report import plots
from vipjax.report.charts import grid
from vipjax.report.html import Safe, element, join, not_run, picture, section, table, tile, video
from vipjax.report.run import Run
from vipjax.report.tables import (
  NOT_RUN,
  duration_text,
  flatten,
  memory_text,
  notes,
  result_rows,
  result_text,
  stage_rows,
  total_seconds,
  value_text,
)

_CURVES = (
  "Distance to the goal (each video's last frame), divided by that of the first frame: dashed grey "
  "before fine-tuning, coloured after it. A useful value falls all the way. ρ is the rank "
  "correlation with time, 1 when every frame is closer than the one before it."
)
_LEARNING = (
  "Measured while the policy learned. It is rewarded by the embedding distance alone; success is "
  "the simulator's and only logged."
)
_LEARNT_ON = (
  "The encoder learnt on from the policy's own episodes, after {} environment steps: returns "
  "before and after each are of different rewards, and their curve may jump."
)
# Settings that tell two experiments apart; the rest is one click away.
_NOTABLE = frozenset(
  """
  seed task robot control placement path episodes robot_free size quality init arch width
  embedding_dim steps batch_size learning_rate name rate num_cycles videos_per_cycle weight
  temperature num_negatives background_clips random_episodes num_envs discount updates_per_step view
  form scale normalize plain_weight robot_free_weight
  """.split()
)
# Sections of a config in the order in which they come to work; config.json sorts its keys.
_GROUPS = (
  "", "env", "data", "record", "encoder", "finetune", "finetune.sampler", "finetune.tcc",
  "evaluate", "reward", "policy",
)  # fmt: skip
_MOST_FILMS = 8


def title(run: Run) -> str:
  """What the page is about, in a few words."""
  # data.task is empty unless videos were chosen by it.
  named = (name for key, name in flatten(run.config).items() if key.split(".")[-1] == "task")
  task = next((str(name) for name in named if name), run.workdir.name)
  count = len(run.videos)
  return f"{task}: from {count} videos to a policy" if count > 1 else task


def header(run: Run) -> Safe:
  """Title, one sentence, notes of the run, and the numbers that matter most."""
  facts = [str(run.versions[key])[:10] for key in ("date",) if run.versions.get(key)]
  facts += [f"run folder {run.workdir.name}"]
  results = run.results
  before, episodes = results.get("rank_correlation_before"), results.get("episodes")
  tiles = [
    (
      "Policy success",
      result_text(results, "policy_success"),
      f"of {episodes} evaluation episodes" if episodes else "of the evaluation episodes",
    ),
    (
      "Rank correlation with time",
      result_text(results, "rank_correlation_unseen"),
      "unseen episodes"
      + (f"; {value_text(before)} before fine-tuning" if before is not None else ""),
    ),
    ("Time", duration_text(total_seconds(results["seconds"])), "all stages together"),
    ("Peak memory", memory_text(results.get("peak_memory_mb")), "worker processes included"),
  ]
  return element(
    "header",
    element("h1", title(run)),
    element(
      "p",
      "A value function is fine-tuned on a few videos. The distance to the goal that it measures "
      "is all that the policy is rewarded by.",
    ),
    element("p", " · ".join(facts), class_="sub"),
    *(element("div", element("p", note), class_="note") for note in notes(results)),
    element("div", *(tile(*each) for each in tiles), class_="tiles"),
  )


def results(run: Run) -> Safe:
  """The table of numbers."""
  return section(
    "Results", element("div", table((), result_rows(run.results), numbers=(1,)), class_="narrow")
  )


def what_was_run(run: Run) -> Safe:
  """Additions to the published method with their reasons, and the settings."""
  parts = [element("h3", "Additions to the published method")]
  additions = run.results.get("additions")
  if additions:
    rows = [
      (
        element("code", str(item["name"])),
        value_text(item.get("value")),
        str(item.get("reason", "")),
      )
      for item in additions
    ]
    parts.append(table(("option", "value", "reason"), rows))
  elif additions is None:
    parts.append(not_run("the run has not come to say which were on."))
  else:
    parts.append(element("p", "None: the method as published."))
  settings = flatten(run.config)
  parts.append(element("h3", "Settings"))
  if not settings:
    parts.append(not_run("there is no config.json in the run folder."))
  notable = {key: value for key, value in settings.items() if key.split(".")[-1] in _NOTABLE}
  if notable:
    parts.append(_settings(notable))
  if len(notable) < len(settings):
    summary = element("summary", f"All {len(settings)} settings")
    parts.append(element("details", summary, _settings(settings), open=not notable))
  return section("What was run", *parts)


def _settings(settings: dict[str, Any]) -> Safe:
  """One row for each section of the config, so that a page of settings stays short."""
  groups: dict[str, list[Safe]] = {}
  for key, value in settings.items():
    group, _, name = key.rpartition(".")
    text = value_text(value, "seed")
    pair = element("span", element("code", name), f" {text} ", class_="pair")
    groups.setdefault(group, []).append(pair)
  known = [group for group in _GROUPS if group in groups]
  rows = [
    (group or "run", join(groups[group]))
    for group in [*known, *(group for group in groups if group not in _GROUPS)]
  ]
  return table((), rows)


def curves(run: Run, films: Sequence[Safe]) -> Safe:
  """Distance curves beside their videos, as charts, and their statistics, video by video."""
  heading = "Distance to the goal"
  charts = plots.curve_charts(run)
  if not charts:
    return section(heading, not_run("the stage evaluate has not measured any video."))
  rows = []
  for kind in ("recorded", "unseen", "unseen_views", "other_robots", "failed"):
    before, after = (
      (run.evaluation.get(when) or {}).get(kind) or [] for when in ("before", "after")
    )
    for name in dict.fromkeys(curve["name"] for curve in [*before, *after]):
      pairs = _pairs(_named(before, name), _named(after, name))
      rows.append((kind.replace("_", " "), name, *pairs))
    if before or after:
      rows.append(
        (
          element("strong", kind.replace("_", " ")),
          element("strong", "mean"),
          *_pairs(before, after),
        )
      )
  header = (
    "", "video", "rank correlation", "steps that fall", "Kendall's tau", "largest rise",
    "smoothness",
  )  # fmt: skip
  details = element(
    "details",
    element("summary", "Every video in numbers (before → after fine-tuning)"),
    table(header, rows, numbers=range(2, 7)),
  )
  shared = None
  if films:
    summary = element("summary", "Films of the recorded videos and their curves, to share")
    shared = element("details", summary, element("div", *films, class_="films wide"))
  before_and_after = [grid(row, "charts four", Safe()) for row in charts]
  note = element("p", _CURVES, class_="sub")
  return section(heading, plots.distances(run), *before_and_after, note, shared, details)


def _named(curves: Sequence[dict], name: str) -> list[dict]:
  return [curve for curve in curves if curve["name"] == name]


def _pairs(before: Sequence[dict], after: Sequence[dict]) -> list[str]:
  """Means of the statistics over the curves, as "before → after"."""
  texts = []
  forms = {"falling_fraction": "{:.0%}", "rank_correlation": "{:.3f}"}
  for key in (
    "rank_correlation", "falling_fraction", "kendall_correlation", "largest_rise", "smoothness",
  ):  # fmt: skip
    form = forms.get(key, "{:.2f}")
    # Older runs lack some, and a rise from distance 0 is None.
    known = [[c[key] for c in curves if c.get(key) is not None] for curves in (before, after)]
    means = [np.mean(numbers) if numbers else None for numbers in known]
    texts.append(" → ".join("–" if mean is None else form.format(mean) for mean in means))
  return texts


def frames(run: Run, png: bytes | None) -> Safe:
  """The recorded videos: strips of frames, and films to play."""
  heading = "The videos"
  if png is None:
    return section(heading, not_run("there are no recorded videos, and none at data.path."))
  films = [
    video(path, name, run.workdir) for name, path in list(run.video_files.items())[:_MOST_FILMS]
  ]
  count = len(run.video_files)
  summary = "Play them" + (f" (the first {_MOST_FILMS} of {count})" if count > _MOST_FILMS else "")
  playable = element("details", element("summary", summary), element("div", *films, class_="films"))
  strips = picture(
    png,
    "Strips of frames of the recorded videos, with and without the robot",
    "What was recorded, start to end; robot-free is the same episode without the robot.",
  )
  return section(heading, strips, playable if films else None)


def finetuning(run: Run) -> Safe:
  """The losses of fine-tuning."""
  charts = _metrics(run.finetune, plots.LOSSES, "training steps")
  if charts is None:
    return section("Fine-tuning", not_run("the stage finetune has not logged any loss."))
  caption = "The losses that fine-tuning minimises; a thick line is the running mean."
  return section("Fine-tuning", charts, element("p", caption, class_="sub"))


def policy(run: Run) -> Safe:
  """The learning curve of the policy, and a film of what it has come to."""
  charts = _metrics(run.policy, plots.LEARNING, "environment steps")
  if charts is None:
    parts = [not_run("the stage policy has not logged any metric.")]
  else:
    parts = [charts, element("p", _LEARNING, class_="sub")]
    changes = [f"{row['step']:,}" for row in run.policy if row.get("online_loss") is not None]
    if changes:
      parts.append(element("p", _LEARNT_ON.format(", ".join(changes)), class_="sub"))
  if run.policy_video is None:
    parts.append(not_run("there is no film of the final policy yet."))
  else:
    film = video(run.policy_video, "The final policy", run.workdir)
    parts.append(element("div", film, class_="final"))
  return section("The policy", *parts)


def _metrics(rows: Sequence[dict], labels: dict[str, str], xlabel: str) -> Safe | None:
  charts = plots.metric_charts(rows, labels, xlabel)
  return grid(charts, instead=plots.metric_table(rows, labels, xlabel)) if charts else None


def cost(run: Run) -> Safe:
  """Seconds of each stage, memory, seeds."""
  seconds = run.results["seconds"]
  total = total_seconds(seconds)
  rows = []
  for name, text in stage_rows(seconds):
    if name == "report" and seconds.get(name) is None:
      text = "this page"
    share = (seconds.get(name) or 0) / total if total else 0
    bar = element("div", class_="bar", style=f"width: {100 * share:.1f}%") if share else ""
    rows.append((name, text, element("div", bar, class_="share")))
  rows.append(("peak memory", memory_text(run.results.get("peak_memory_mb")), ""))
  rows.append(
    ("seeds", value_text(run.results["seeds"], "seeds") if "seeds" in run.results else NOT_RUN, "")
  )
  return section("Time, memory, seeds", table(("stage", "", ""), rows, numbers=(1,)))


def repeat(run: Run) -> Safe:
  """The commands that make this run again."""
  command = run.results.get("command")
  if not command:
    return section("Do it again", not_run("the run has not noted its command."))
  lines = [command] if isinstance(command, str) else [str(line) for line in command]
  return section("Do it again", element("pre", element("code", "\n".join(lines))))


def versions(run: Run) -> Safe:
  """What the run was made with."""
  if not run.versions:
    return section("Versions", not_run("there is no versions.json in the run folder."))
  facts = {key: value for key, value in run.versions.items() if key not in ("packages", "resumed")}
  rows = [(key.replace("_", " "), value_text(value, "seed")) for key, value in facts.items()]
  if run.versions.get("resumed"):
    count = len(run.versions["resumed"])
    rows.append(
      ("resumed", f"in {count} other environment{'s' if count > 1 else ''}; see versions.json")
    )
  packages = run.versions.get("packages") or {}
  return section(
    "Versions",
    table((), rows),
    element(
      "details",
      element("summary", f"{len(packages)} packages"),
      table((), [(name, value or "not installed") for name, value in packages.items()]),
    ),
  )
