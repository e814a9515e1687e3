"""Formats numbers for people, and the table of results at the end of a pipeline."""

from __future__ import annotations

import json
from typing import Any

from vipjax.runtime import files

# In the order of a run.
STAGES = ("record", "finetune", "robot_free", "evaluate", "policy", "report")
_SELDOM = ("robot_free",)  # shown where it has run
NOT_RUN = "not run"
_REPORT_NOT_RUN = ("report", NOT_RUN)

# Labels of results, in the order of the table. The first two are always shown, "not run" if they
# are missing; the others are left out then.
_WORDS = {
  "policy_success": "policy success",
  "rank_correlation_unseen": "rank correlation with time, unseen episodes",
  "policy_final_success": "policy success, still so at the end of the episode",
  "policy_success_moved_window": "policy success, object elsewhere",
  "last_success": "success of the last policy, not of the one kept",
  "policy_steps_to_success": "policy, steps to success",
  "policy_return": "policy return (embedding reward)",
  "episodes": "evaluation episodes",
  "best_step": "environment steps of the policy kept",
  "env_steps": "environment steps",
  "env_steps_per_second": "environment steps per second",
  "kendall_correlation_unseen": "Kendall's tau with time, unseen episodes",
  "falling_fraction_unseen": "steps that fall, unseen episodes",
  "alignment_unseen": "alignment of unseen episodes (Kendall's tau)",
  "rank_correlation_other_robots": "rank correlation with time, other robots",
  "rank_correlation_unseen_views": "rank correlation with time, unseen viewpoints",
  "rank_correlation_recorded": "rank correlation with time, recorded videos",
  "kendall_correlation_recorded": "Kendall's tau with time, recorded videos",
  "falling_fraction_recorded": "steps that fall, recorded videos",
  "alignment_recorded": "alignment of recorded videos (Kendall's tau)",
  "rank_correlation_robot_free": "rank correlation with time, robot-free videos",
  "rank_correlation_failed": "rank correlation with time, failed episodes",
  "asymmetry_unseen": "asymmetry |d(a, b) - d(b, a)| / (d(a, b) + d(b, a)), unseen episodes",
  "steps_correlation_unseen": "rank correlation of the distance with steps ahead, unseen episodes",
  "steps_correlation_backward_unseen": "the same from a frame back to an earlier one",
  "remaining_failed": "distance left where failed episodes end ÷ first frame's",
  "hack_price": "hack price: distance left in the expert's last pose, the object put back",
  "hack_price_reward": "hack price, as the reward pays it",
  "hack_price_robot_free": "hack price without the robot (1 by construction)",
  "worth_pose": "discounted worth of that pose, reached straight",
  "worth_solved": "discounted worth of success, as fast as the expert",
  "finetune_steps": "fine-tuning steps",
  "finetune_steps_per_second": "fine-tuning steps per second",
  "finetune_loss": "loss at the end of fine-tuning",
  "finetune_videos": "videos fine-tuned on",
  "robot_free_error": "error of the robot-free encoders, in ways of the object",
  "robot_free_steps": "training steps of the robot-free encoders",
  "robot_free_robots": "pictures of robots that they saw",
  "robot_free_scenes": "scenes that they saw",
  "record_videos": "videos recorded",
  "record_frames": "frames recorded",
  "record_expert_success_unseen": "expert's success, unseen episodes",
}
_ALWAYS = ("policy_success", "rank_correlation_unseen")
# The same measured before fine-tuning; others have "_before" at their end.
_BEFORE = {"rank_correlation_unseen": ("rank_correlation_before", "rank_correlation_unseen_before")}
# The page shows these elsewhere.
_ELSEWHERE = frozenset(
  "seconds peak_memory_mb seeds agents command additions notes attention off_path".split()
)
_RATES = ("success", "fraction")
_ITEMS_SHOWN = 12


def format_results(results: dict[str, Any]) -> str:
  """The plain-text table of a run's results, lines of at most 100 characters where values allow.

  Args:
    results: as in `results.json`; every key may be missing.

  Returns:
    Lines without a last newline: the results, seconds per stage, memory, seeds, additions to the
    published method, notes. What a run has not come to is "not run".
  """
  rows = result_rows(results)
  rows += [("", "")]
  # The report is what this table comes with: it has no time of its own unless it was given one.
  stages = stage_rows(results.get("seconds") or {})
  rows += [(f"{stage}, time", text) for stage, text in stages if (stage, text) != _REPORT_NOT_RUN]
  rows += [("peak memory", memory_text(results.get("peak_memory_mb")))]
  if results.get("seeds") is not None:
    rows += [("seeds", value_text(results["seeds"]))]
  for addition in results.get("additions") or []:
    rows += [(f"addition: {addition['name']}", value_text(addition.get("value")))]
  width = max(len(name) for name, _ in rows)
  lines = [f"{name:<{width}}  {text}".rstrip() for name, text in rows]
  lines += [f"note: {note}" for note in notes(results)]
  return "\n".join(lines)


def result_rows(results: dict[str, Any]) -> list[tuple[str, str]]:
  """(name, text) of each result, known ones first, each with its value before fine-tuning."""
  rows, done = [], {*_ELSEWHERE}
  for key, words in _WORDS.items():
    earlier = [name for name in _BEFORE.get(key, (f"{key}_before",)) if name in results]
    done |= {key, *earlier}
    if key in results or key in _ALWAYS or earlier:
      text = result_text(results, key) + of_seeds(results, key)
      if earlier:
        text += f" ({value_text(results[earlier[0]], key)} before fine-tuning)"
      rows.append((words, text))
  others = files.flatten({key: value for key, value in results.items() if key not in done})
  return rows + [
    (key.replace("_", " ").replace(".", ", "), value_text(value, key))
    for key, value in others.items()
  ]


def result_text(results: dict[str, Any], key: str) -> str:
  """One result; "not run" where it is missing."""
  return value_text(results[key], key) if key in results else NOT_RUN


def of_seeds(results: dict[str, Any], key: str) -> str:
  """What follows the mean of agents that learned at once: each one's, where they differ."""
  agents = results.get("agents") or []
  values = [agent.get(key) for agent in agents]
  if all(value == values[0] for value in values):
    return ""
  seeds = ", ".join(str(agent["seed"]) for agent in agents)
  return f" (seeds {seeds}: {', '.join(value_text(value, key) for value in values)})"


def stage_rows(seconds: dict[str, float]) -> list[tuple[str, str]]:
  """(stage, duration) of each stage in order, and of all together where any has run."""
  names = [name for name in STAGES if name in seconds or name not in _SELDOM]
  names += [name for name in seconds if name not in STAGES and name != "total"]
  rows = [(name, duration_text(seconds.get(name))) for name in names]
  total = total_seconds(seconds)
  return rows if total is None else [*rows, ("all stages", duration_text(total))]


def total_seconds(seconds: dict[str, float]) -> float | None:
  """Seconds of all stages together; None when none has run."""
  known = [value for name, value in seconds.items() if value is not None and name != "total"]
  return sum(known) if known else None


def notes(results: dict[str, Any]) -> list[str]:
  """The run's remarks, `results["notes"]`: a text or a list of texts."""
  found = results.get("notes") or []
  return [found] if isinstance(found, str) else [str(note) for note in found]


def value_text(value: Any, key: str = "") -> str:
  """A JSON value for people: rates (recognised by their key) in percent, None as "none"."""
  if value is None or value == "":
    return "none"
  if isinstance(value, bool):
    return "on" if value else "off"
  is_rate = any(word in key for word in _RATES) and "steps" not in key
  if isinstance(value, int | float) and is_rate and 0 <= value <= 1:
    return f"{100 * value:.4g}%"
  if isinstance(value, int):
    return f"{value:,}" if abs(value) >= 10_000 and "seed" not in key else str(value)
  if isinstance(value, float):
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
  if isinstance(value, list):
    shown = ", ".join(value_text(item, key) for item in value[:_ITEMS_SHOWN])
    more = len(value) - _ITEMS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "none"
  if isinstance(value, dict):
    return ", ".join(f"{name} {value_text(item, key)}" for name, item in value.items()) or "none"
  return value if isinstance(value, str) else json.dumps(value)


def duration_text(seconds: float | None) -> str:
  """Formats as 12.3 s, 4 min 05 s or 2 h 03 min; None as "not run"."""
  if seconds is None:
    return NOT_RUN
  if round(seconds, 1) < 60:
    return f"{seconds:.1f} s"
  if round(seconds) < 3600:
    return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
  minutes = round(seconds / 60)
  return f"{minutes // 60} h {minutes % 60:02d} min"


def memory_text(mebibytes: float | None) -> str:
  """Formats as 850 MiB or 2.1 GiB; None as "not run"."""
  if mebibytes is None:
    return NOT_RUN
  return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
