"""The sections that every report has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.report import html, plots
from vipjax.report.charts import grid
from vipjax.report.html import (
  Safe,
  details,
  element,
  gallery,
  join,
  not_run,
  picture,
  section,
  small,
  table,
  tile,
  video,
)  # fmt: skip
from vipjax.report.run import Run
from vipjax.report.tables import (
  duration_text,
  memory_text,
  notes,
  of_seeds,
  result_rows,
  result_text,
  stage_rows,
  total_seconds,
  value_text,
)  # fmt: skip
from vipjax.runtime import files

_CURVES = (
  "Distance to the goal (each video's last frame), divided by that of the first frame: dashed grey "
  "before fine-tuning, coloured after it. A useful value falls all the way. ρ is the rank "
  "correlation with time, 1 when every frame is closer than the one before it."
)
# By head of the encoder, what the distance is.
_DISTANCES = {
  "l2": "The distance is that of the embeddings: the head l2, as published.",
  "mrn": "The distance is half L2, half asymmetric: the head mrn.",
  "icvf": "The distance is in steps, those of the value of one who wants the goal: the head icvf.",
}
_LEARNING = (
  "Measured while the policy learned. It is rewarded by the embedding distance alone; success is "
  "the simulator's and only logged."
)
_LEARNT_ON = (
  "The encoder learnt on from the policy's own episodes, after {} environment steps: returns "
  "before and after each are of different rewards, and their curve may jump."
)
# Settings that usually differ between experiments; a click shows the others.
_NOTABLE = frozenset(
  """
  seed task robot control placement path episodes robot_free size quality init head arch width
  embedding_dim steps batch_size learning_rate name rate num_cycles videos_per_cycle weight
  temperature num_negatives background_clips random_episodes num_envs discount updates_per_step view
  form scale normalize plain_weight robot_free_weight
  """.split()
)
# Sections of a config in the order of the stages; config.json sorts its keys.
_GROUPS = (
  "", "env", "data", "record", "encoder", "finetune", "finetune.sampler", "finetune.tcc",
  "finetune.intents", "finetune.progress", "evaluate", "reward", "policy",
)  # fmt: skip
_MOST_FILMS = 8


def title(run: Run) -> str:
  """The title of the page."""
  # data.task is empty unless videos were chosen by it.
  named = (name for key, name in files.flatten(run.config).items() if key.split(".")[-1] == "task")
  task = next((str(name) for name in named if name), run.workdir.name)
  count = len(run.videos)
  return f"{task}: from {count} videos to a policy" if count > 1 else task


def header(run: Run) -> Safe:
  """Title, one sentence, notes of the run, and the numbers that matter most."""
  facts = [f"run folder {run.workdir.name}"]
  if date := run.versions.get("date"):
    facts.insert(0, str(date)[:10])
  results = run.results
  before, episodes = results.get("rank_correlation_before"), results.get("episodes")
  success, rank = (
    result_text(results, key) for key in ("policy_success", "rank_correlation_unseen")
  )
  evaluated = f"of {episodes or 'the'} evaluation episodes"
  if agents := results.get("agents"):
    evaluated += f" each; mean of {len(agents)} seeds{of_seeds(results, 'policy_success')}"
  unseen = "unseen episodes"
  if before is not None:
    unseen += f"; {value_text(before)} before fine-tuning"
  memory = memory_text(results.get("peak_memory_mb"))
  tiles = [
    tile("Policy success", success, evaluated),
    tile("Rank correlation with time", rank, unseen),
    tile("Time", duration_text(total_seconds(results["seconds"])), "all stages together"),
    tile("Peak memory", memory, "worker processes included"),
  ]
  words = (
    "A value function is fine-tuned on a few videos. The distance to the goal that it measures is "
    "all that the policy is rewarded by."
  )
  return html.header(title(run), words, tiles, notes(results), " · ".join(facts))


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
    rows = []
    for item in additions:
      name, reason = element("code", str(item["name"])), str(item.get("reason", ""))
      rows.append((name, value_text(item.get("value")), reason))
    parts.append(table(("option", "value", "reason"), rows))
  elif additions is None:
    parts.append(not_run("the run has not come to say which were on."))
  else:
    parts.append(element("p", "None: the method as published."))
  settings = files.flatten(run.config)
  parts.append(element("h3", "Settings"))
  if not settings:
    parts.append(not_run("there is no config.json in the run folder."))
  notable = {key: value for key, value in settings.items() if key.split(".")[-1] in _NOTABLE}
  if notable:
    parts.append(_settings(notable))
  if len(notable) < len(settings):
    summary = f"All {len(settings)} settings"
    parts.append(details(summary, _settings(settings), opened=not notable))
  return section("What was run", *parts)


def _settings(settings: dict[str, Any]) -> Safe:
  """One row for each section of the config, so that a page of settings stays short."""
  groups: dict[str, list[Safe]] = {}
  for key, value in settings.items():
    group, _, name = key.rpartition(".")
    text = value_text(value, "seed")
    pair = element("span", element("code", name), f" {text} ", class_="pair")
    groups.setdefault(group, []).append(pair)
  order = [group for group in dict.fromkeys((*_GROUPS, *groups)) if group in groups]
  return table((), [(group or "run", join(groups[group])) for group in order])


def curves(run: Run, films: Sequence[Safe]) -> Safe:
  """Distance curves beside their videos, and statistics of each video."""
  heading = "Distance to the goal"
  charts = plots.curve_charts(run)
  if not charts:
    return section(heading, not_run("the stage evaluate has not measured any video."))
  rows = []
  for group in plots.GROUPS:
    words = group.replace("_", " ")
    before, after = (run.curves(when, group) for when in ("before", "after"))
    for name in dict.fromkeys(curve["name"] for curve in [*before, *after]):
      pair = ([curve for curve in each if curve["name"] == name] for each in (before, after))
      rows.append((words, name, *_means(*pair)))
    if before or after:
      rows.append((element("strong", words), element("strong", "mean"), *_means(before, after)))
  header = (
    "", "video", "rank correlation", "steps that fall", "Kendall's tau", "largest rise",
    "smoothness",
  )  # fmt: skip
  numbers = table(header, rows, range(2, 7))
  shared = "Films of the recorded videos and their curves, to share"
  return section(
    heading,
    plots.distances(run),
    *(grid(row, "charts four", Safe()) for row in charts),
    small(f"{_CURVES} {_DISTANCES[(run.config.get('encoder') or {}).get('head', 'l2')]}"),
    details(shared, element("div", *films, class_="films wide")) if films else None,
    details("Every video in numbers (before → after fine-tuning)", numbers),
  )


def _means(before: Sequence[dict], after: Sequence[dict]) -> list[str]:
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
  playable = details(summary, element("div", *films, class_="films"))
  strips = picture(
    png,
    "Strips of frames of the recorded videos, with and without the robot",
    "What was recorded, start to end; robot-free is the same episode without the robot.",
  )
  return section(heading, strips, playable if films else None)


def views(run: Run) -> Safe | None:
  """The viewpoints with their first recorded frames; of those that were chosen, what they show."""
  settings = run.config.get("views")
  if not settings or (run.config.get("data") or {}).get("path"):
    return None
  chosen = run.task.get("views", {})
  firsts = {
    video.view: (video.frames[0], video.view)
    for video in reversed(run.videos.values())
    if video.robot_visible is not False
  }
  rows = []
  for name, view in settings.items():
    seen = chosen.get(name, {})
    start, end = seen.get("object", (None, None))
    place = [view.get(key) for key in ("lookat", "azimuth", "elevation", "distance")]
    shown = ["–" if value is None else f"{value:.1%}" for value in (seen.get("side"), start, end)]
    camera = view.get("camera")
    placed = [camera, "", "", ""] if camera else map(value_text, place)
    rows.append((name, *placed, *shown[: 3 if chosen else 0]))
  header = ("view", "looks at (m)", "azimuth (°)", "elevation (°)", "from (m)")
  if chosen:
    header += ("object and target span, of the side", "object, at the start", "at the end")
  words = []
  if chosen:
    words.append("Chosen for the task so that what the scripted expert moves, the object, is seen.")
  if "expert_steps" in run.task:
    steps = run.task["expert_steps"]
    took = f"takes {steps} control steps" if steps else "fails"
    words.append(f"The expert {took}; an episode has {run.task['env']['horizon']}.")
  return section(
    "The views",
    element("p", " ".join(words)) if words else None,
    gallery([firsts[name] for name in settings if name in firsts]),
    table(header, rows, range(2, len(header))),
  )


def finetuning(run: Run) -> Safe:
  """The losses of fine-tuning."""
  charts = _metrics(run.finetune, plots.LOSSES, "training steps")
  if charts is None:
    return section("Fine-tuning", not_run("the stage finetune has not logged any loss."))
  caption = "The losses that fine-tuning minimises; a thick line is the running mean."
  return section("Fine-tuning", charts, small(caption))


def policy(run: Run) -> Safe:
  """Learning curves of the policy, and a film of the final one."""
  charts = _metrics(run.policy, plots.LEARNING, "environment steps")
  if charts is None:
    parts = [not_run("the stage policy has not logged any metric.")]
  else:
    parts = [charts, small(_LEARNING)]
    changes = [f"{row['step']:,}" for row in run.policy if row.get("online_loss") is not None]
    if changes:
      parts.append(small(_LEARNT_ON.format(", ".join(changes))))
  if not run.policy_videos:
    parts.append(not_run("there is no film of the final policy yet."))
  for words, path in run.policy_videos.items():
    parts.append(element("div", video(path, words, run.workdir), class_="final"))
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
  rows.append(("seeds", result_text(run.results, "seeds"), ""))
  return section("Time, memory, seeds", table(("stage", "", ""), rows, numbers=(1,)))


def repeat(run: Run) -> Safe:
  """The commands that repeat this run."""
  command = run.results.get("command")
  if not command:
    return section("Do it again", not_run("the run has not noted its command."))
  lines = [command] if isinstance(command, str) else [str(line) for line in command]
  return section("Do it again", element("pre", element("code", "\n".join(lines))))


def versions(run: Run) -> Safe:
  """Versions of packages, Python and hardware."""
  if not run.versions:
    return section("Versions", not_run("there is no versions.json in the run folder."))
  facts = {key: value for key, value in run.versions.items() if key not in ("packages", "resumed")}
  rows = [(key.replace("_", " "), value_text(value, "seed")) for key, value in facts.items()]
  if resumed := run.versions.get("resumed"):
    others = f"{len(resumed)} other environment{'s' if len(resumed) > 1 else ''}"
    rows.append(("resumed", f"in {others}; see versions.json"))
  packages = run.versions.get("packages") or {}
  installed = table((), [(name, version or "not installed") for name, version in packages.items()])
  return section("Versions", table((), rows), details(f"{len(packages)} packages", installed))
