"""Measures attention with the simulator's labels."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.evaluation.attention import Attention, agreement, attention, occlusion, see_labels
from vipjax.evaluation.curves import video_names
from vipjax.evaluation.grad_cam import STAGES, fine_stage, grad_cam, network_view, overlay
from vipjax.evaluation.statistics import mean_of_known
from vipjax.runtime import files
from vipjax.types import Video
from vipjax.videos import write_video

_REPORTED = ("object_over_area", "robot_over_area", "peak_on_object", "frames_with_map")


def measure_attention(
  values: Mapping[str, ValueFunction],
  episodes: Iterable[tuple[Sequence[Video], Sequence[np.ndarray]]],
  folder: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Returns attention by Grad-CAM and by occlusion for every view of every episode.

  The goal is the view's own last frame. The maps are those of the last stage and, if that has fewer
  than 7 cells a side, also of the last stage that has as many.

  Args:
    values: the value functions "after" and "before" fine-tuning.
    episodes: pairs of an episode's videos, for each view the one with the robot and then the one
      without it, and the labels [T, H, W] of each video (`SceneRenderer.labels`).
    folder: gets a film of each view, frames beside their maps after fine-tuning; None for no films.

  Returns:
    JSON-able {"means", "videos"}. In "means", "stage<s>" has the means of `Attention.summary` over
    the views with the robot after fine-tuning, "stage<s>_before" those before fine-tuning,
    "stage<s>_robot_free" and "stage<s>_robot_free_before" those of the views without the robot;
    "occlusion" has the mean |change of V| over the first frame's distance, by the hidden part;
    "agreement" has the mean of `agreement`, by stage.
  """
  records = []
  for videos, labels in episodes:
    names = video_names(videos)
    # Each robot-free video follows its original.
    for i in range(0, len(videos), 2):
      for when, value in values.items():
        film = None
        if folder is not None and when == "after":
          film = folder / f"{names[i].replace(', ', '_').replace(' ', '')}.mp4"
        found = _look(value, videos[i : i + 2], labels[i : i + 2], film)
        records.append({"when": when, "name": names[i]} | found)
  records = files.jsonable(records)
  return {"means": _means(records), "videos": records}


def reported(means: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the means of `measure_attention` that a stage reports."""
  return {
    name: {key: numbers[key] for key in _REPORTED} if name.startswith("stage") else numbers
    for name, numbers in means.items()
    if "robot_free" not in name
  }


def finest_stage(names: Iterable[str]) -> str:
  """Returns the name of the finest stage with the robot after fine-tuning.

  For example "stage2" of "stage4", "stage2" and "stage2_before".
  """
  return min(name for name in names if name.startswith("stage") and "_" not in name)


def _look(
  value: ValueFunction,
  pair: Sequence[Video],
  labels: Sequence[np.ndarray],
  film: pathlib.Path | None,
) -> dict[str, Any]:
  """Returns one view's record: attention by stage, with and without the robot, and occlusion."""
  plain, free = (video.frames for video in pair)
  stages = sorted({STAGES, fine_stage(value)}, reverse=True)
  seen: dict[str, Attention] = {}
  pictures = [network_view(value.preprocessing, plain, full_size=True)]
  for suffix, frames, shown in (("", plain, labels[0]), ("_robot_free", free, labels[1])):
    shown = see_labels(value.preprocessing, shown)
    for stage in stages:
      maps = grad_cam(value, frames, frames[-1], stage)
      seen[f"stage{stage}{suffix}"] = attention(maps, shown)
      if not suffix:
        pictures.append(overlay(pictures[0], maps))
  hidden = occlusion(value, plain, labels[0], plain[-1], free)
  if film is not None:
    write_video(film, np.concatenate(pictures, axis=2), pair[0].fps, overwrite=True)
  return {
    "fps": pair[0].fps,
    "film": film.name if film else None,
    "stages": {name: each.record() | {"mean": each.summary()} for name, each in seen.items()},
    "occlusion": hidden,
    "distance": value.distance(plain, plain[-1]),
    "agreement": {f"stage{stage}": agreement(seen[f"stage{stage}"], hidden) for stage in stages},
  }


def _means(records: Sequence[dict]) -> dict[str, Any]:
  after = [each for each in records if each["when"] == "after"]
  before = [each for each in records if each["when"] == "before"]
  result: dict[str, Any] = {}
  for suffix, group in (("", after), ("_before", before)):
    for stage in group[0]["stages"]:
      means = [each["stages"][stage]["mean"] for each in group]
      result[f"{stage}{suffix}"] = {key: mean_of_known(m[key] for m in means) for key in means[0]}
  result["occlusion"] = {
    name: mean_of_known(_relative(each["occlusion"][name], each["distance"][0]) for each in after)
    for name in after[0]["occlusion"]
  }
  result["agreement"] = {
    stage: mean_of_known(each["agreement"][stage] for each in after)
    for stage in after[0]["agreement"]
  }
  return result


def _relative(change: Sequence[float], distance: float) -> float | None:
  return float(np.mean(np.abs(change)) / distance) if distance > 0 else None
