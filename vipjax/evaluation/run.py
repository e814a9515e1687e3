"""The evaluate stage: distance curves before and after fine-tuning."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import ml_collections

from vipjax import encoder
from vipjax.evaluation.curves import distance_curves, summary
from vipjax.finetune import load_videos
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.videos import read_videos

STAGE = "evaluate"


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Distance curves of the run's videos and of `unseen/`, with the encoder before and after.

  Unseen episodes are those of the expert at placements never recorded; only views with the robot
  count, for the robot-free ones stand still until the object moves. Writes `evaluation.json`.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder, after fine-tuning.

  Returns:
    "rank_correlation_{recorded,unseen}" and "falling_fraction_{recorded,unseen}", means with the
    fine-tuned encoder, and the same with "_before" for the encoder as it was.

  Raises:
    UserError: fine-tuning has not finished in this run.
  """
  if run_folder.stage_done(workdir, STAGE):
    return run_folder.stage_result(workdir, STAGE)
  if not (workdir / "encoder").exists():
    raise UserError(
      f"expected a fine-tuned encoder in {workdir / 'encoder'}, got none; run launch.finetune with "
      "this config and workdir first."
    )
  started = time.monotonic()
  groups = {"recorded": load_videos(config, workdir)}
  if (workdir / "unseen").exists():
    groups["unseen"] = read_videos(workdir / "unseen")
  result, curves = {}, {}
  for when, folder in (("before", "encoder_before"), ("after", "encoder")):
    value = encoder.load(workdir / folder)
    suffix = "_before" if when == "before" else ""
    curves[when] = {}
    for group, videos in groups.items():
      with_robot = [video for video in videos if video.robot_visible is not False]
      chosen = with_robot if group == "unseen" else videos
      measured = summary(distance_curves(value, chosen))
      curves[when][group] = measured["videos"]
      seen = [curve for curve, video in zip(measured["videos"], chosen, strict=True)
              if video.robot_visible is not False]  # fmt: skip
      for statistic in ("rank_correlation", "falling_fraction"):
        numbers = [curve[statistic] for curve in seen or measured["videos"]]
        result[f"{statistic}_{group}{suffix}"] = sum(numbers) / len(numbers)
  run_folder.write_json(workdir / "evaluation.json", curves)
  run_folder.mark_done(workdir, STAGE, result, time.monotonic() - started)
  return result
