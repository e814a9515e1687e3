"""Encoders judged on tasks they were not trained on, without any fine-tuning."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.evaluation.curves import distance_curves
from vipjax.evaluation.measure_off_path import measure_off_path
from vipjax.evaluation.off_path import Rollout
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table
from vipjax.stages.agent import reward_channels, reward_settings
from vipjax.stages.evaluate import write_off_path
from vipjax.stages.inputs import load_videos, make_encoder
from vipjax.stages.record import record
from vipjax.stages.rollouts import roll_out
from vipjax.videos import read_videos

RANDOM = "random"
_FILE = "judge.json"
# Of `off_path.correlations`, for the plain frame and for the frame without the robot.
_PLAIN = ("progress", "hand", "object", "progress_disturbed", "object_disturbed")
_ROBOT_FREE = ("object", "object_disturbed")
_MEASURES = (
  "rank_correlation", *_PLAIN, *(f"{aim}_robot_free" for aim in _ROBOT_FREE), "success",
)  # fmt: skip


def judge(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Distance curves and off-path correlations of each encoder on each task.

  Films each task once, as the demo does its own; goals are the last frames of its experts' videos.
  What was judged before stays, so that an interrupted run goes on. Writes `judge.json`.

  Args:
    config: keys as declared in configs/judge.py.
    workdir: the run folder.

  Returns:
    {task: {encoder: {"rank_correlation", "progress", "hand", "object", "progress_disturbed",
    "object_disturbed", "object_robot_free", "object_disturbed_robot_free", "success"}}}: Spearman
    correlations, means over the views. "rank_correlation" is of the distance with time over
    experts' episodes with the object elsewhere; the others are those of `off_path.correlations`,
    of the value in the plain frame or, where the name says so, the frame without the robot;
    "success" is the share of pairs of a successful and a failed rollout that the value orders so.
    None where the rollouts hold too few such states.

  Raises:
    UserError: no such task or encoder, or two encoders of one name.
  """
  values = _load(config)
  file = workdir / _FILE
  results = files.read_json(file) if file.exists() else {}
  for task, control in config.judge.tasks:
    folder = workdir / "tasks" / task
    of_task = config.copy_and_resolve_references()
    of_task.env.update({"task": task, "control": control})
    record(of_task, folder)
    done = results.setdefault(task, {})
    # What an earlier version judged by fewer measures is judged again.
    missing = {
      name: value for name, value in values.items() if set(done.get(name, ())) != set(_MEASURES)
    }
    if missing:
      rollouts = list(roll_out(of_task, folder, config.record.size, config.record.robot_free))
    for name, value in missing.items():
      done[name] = _judge(of_task, folder, name, value, rollouts)
      files.write_json(file, results)
  return results


def table(results: dict[str, Any]) -> str:
  """The results as a table in Markdown, a row for each task and encoder."""
  header = ["task", "encoder", *(measure.replace("_", " ") for measure in _MEASURES)]
  rows = []
  for task, encoders in results.items():
    for name, numbers in encoders.items():
      known = [numbers.get(measure) for measure in _MEASURES]
      rows.append([task, name, *("-" if number is None else f"{number:.2f}" for number in known)])
  return markdown_table(header, rows)


def _load(config: ml_collections.ConfigDict) -> dict[str, ValueFunction]:
  values = {}
  for name in config.judge.encoders:
    if name in values:
      raise UserError(f"expected each encoder once in config.judge.encoders, got {name} twice.")
    if name == RANDOM:
      fresh = config.encoder.copy_and_resolve_references()
      fresh.init = "scratch"
      values[name] = make_encoder(fresh, jax.random.key(config.seed))
    else:
      values[name] = encoder.load(name)
  return values


def _judge(
  config, folder: pathlib.Path, name: str, value: ValueFunction, rollouts: list[Rollout]
) -> dict[str, Any]:
  curves = distance_curves(value, read_videos(folder / "unseen"))
  found = measure_off_path(
    value, load_videos(config, folder), rollouts, reward_channels(config), reward_settings(config)
  )
  write_off_path(found, folder / "encoders" / name.replace("/", "_") / "off_path")
  plain = [numbers for name, numbers in found.means.items() if _is_view(config, name)]
  free = [numbers for name, numbers in found.means.items() if name.endswith(", robot-free")]
  return {
    "rank_correlation": float(np.mean([curve.rank_correlation for curve in curves])),
    **{aim: _mean(plain, aim) for aim in _PLAIN},
    **{f"{aim}_robot_free": _mean(free, aim) for aim in _ROBOT_FREE},
    "success": _mean(plain, "success"),
  }


def _is_view(config: ml_collections.ConfigDict, name: str) -> bool:
  return name in config.views


def _mean(rows: list[dict[str, float | None]], aim: str) -> float | None:
  known = [row[aim] for row in rows if row[aim] is not None]
  return float(np.mean(known)) if known else None
