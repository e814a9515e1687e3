"""Encoders judged on tasks they were not trained on, without any fine-tuning."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.evaluation.curves import distance_curves
from vipjax.evaluation.statistics import mean_of_known
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table
from vipjax.stages.agent import refuse_predicted
from vipjax.stages.evaluate import write_off_path
from vipjax.stages.inputs import load_videos, make_encoder
from vipjax.stages.put_back import film_put_back, hack_price, write_pictures
from vipjax.stages.record import record
from vipjax.stages.rollouts import roll_out
from vipjax.stages.task import fit_to_task
from vipjax.videos import read_videos

RANDOM = "random"
_FILE = "judge.json"
# What is taken of `off_path.correlations` for the plain frame, and for the one without the robot.
_PLAIN = ("progress", "hand", "object", "progress_disturbed", "object_disturbed")
_ROBOT_FREE = ("object", "object_disturbed")
_MEASURES = (
  "rank_correlation", *_PLAIN, *(f"{aim}_robot_free" for aim in _ROBOT_FREE), "success",
  "hack_price",
)  # fmt: skip


def judge(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Measures distance curves, off-path correlations and the hack price of encoders on each task.

  Films each task once, as the demo does its own; goals are the last frames of its experts' videos.
  What was judged before stays, so that an interrupted run goes on. Writes `judge.json`, and what
  lies off the path to `tasks/<task>/encoders/<encoder>/off_path/`.

  Returns:
    {task: {encoder: {"rank_correlation", "progress", "hand", "object", "progress_disturbed",
    "object_disturbed", "object_robot_free", "object_disturbed_robot_free", "success",
    "hack_price"}}}: Spearman
    correlations, means over the views. "rank_correlation" is that of the distance with time over
    experts' episodes with the object elsewhere; the others are those of `off_path.correlations`
    for the value of the plain frame or, where the name says so, of the frame without the robot;
    "success" is the share of pairs of a successful and a failed rollout that the value orders so;
    "hack_price" that of `evaluation.measure_hack_price`. None where the rollouts hold too few such
    states, or no expert succeeds.

  Raises:
    UserError: no such task or encoder, or two encoders of one name.
  """
  refuse_predicted(config, "the judge")
  values = _load(config)
  results = files.read_json(workdir / _FILE, {})
  for task, control in config.judge.tasks:
    folder = workdir / "tasks" / task
    of_task = config.copy_and_resolve_references()
    of_task.env.update({"task": task, "control": control})
    of_task = fit_to_task(of_task, folder)
    record(of_task, folder)
    done = results.setdefault(task, {})
    # Encoders that an earlier version judged by fewer measures are judged again.
    missing = {
      name: value for name, value in values.items() if set(done.get(name, ())) != set(_MEASURES)
    }
    if missing:
      videos = load_videos(of_task, folder)
      rollouts = list(roll_out(of_task, folder, videos))
      put_back = film_put_back(of_task)
      if put_back:
        write_pictures(put_back[0], folder / "put_back")
    for name, value in missing.items():
      numbers = write_off_path(
        of_task, value, videos, rollouts, folder / "encoders" / name.replace("/", "_") / "off_path"
      )
      curves = distance_curves(value, read_videos(folder / "unseen"))
      correlation = float(np.mean([curve.rank_correlation for curve in curves]))
      price = hack_price(of_task, value, put_back)["hack_price"] if put_back else None
      means = _means(numbers, views=config.views)
      done[name] = {"rank_correlation": correlation, **means, "hack_price": price}
      files.write_json(workdir / _FILE, results)
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
  """The encoders of config.judge by name; raises UserError for one that is named twice."""
  names = config.judge.encoders
  for name in names:
    if list(names).count(name) > 1:
      raise UserError(
        f"expected each encoder once in config.judge.encoders, got {name} twice; remove one."
      )
  fresh = config.encoder.copy_and_resolve_references()
  fresh.init = "scratch"
  return {
    name: make_encoder(fresh, jax.random.key(config.seed)) if name == RANDOM else encoder.load(name)
    for name in names
  }


def _means(
  numbers: Mapping[str, Mapping[str, float | None]], views: Collection[str]
) -> dict[str, float | None]:
  """Means over the views of what `write_off_path` returned."""
  plain = [numbers[name] for name in numbers if name in views]
  free = [numbers[name] for name in numbers if name.endswith(", robot-free")]
  return {
    **{aim: mean_of_known(row[aim] for row in plain) for aim in _PLAIN},
    **{f"{aim}_robot_free": mean_of_known(row[aim] for row in free) for aim in _ROBOT_FREE},
    "success": mean_of_known(row["success"] for row in plain),
  }
