"""Attention measured with the simulator's masks, on expert episodes filmed for it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import RobotEnv, Stream, env_options, episode_seed, record_episode
from vipjax.evaluation.attention import Attention, agreement, attention, occlusion, see_labels
from vipjax.evaluation.curves import video_names
from vipjax.evaluation.grad_cam import STAGES, fine_stage, grad_cam, network_view, overlay
from vipjax.runtime import files
from vipjax.runtime.progress import Progress
from vipjax.scene import View, views_from_config
from vipjax.types import Video
from vipjax.videos import write_video

FOLDER = "attention"
_REPORTED = ("object_over_area", "robot_over_area", "peak_on_object", "frames_with_map")
# Episodes are the same ones in every run, so that runs compare.
_EPISODES_RUN = 0


def measure_attention(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Grad-CAM with the simulator's masks, and occlusion, on expert episodes never recorded.

  Each view of each episode has its own last frame as goal. Measured are the encoder before and
  after fine-tuning; maps are those of the last stage and, where it has fewer than 7 cells a side,
  also of the last stage that has. Writes `attention/attention.json` and a film of each view: the
  frame beside its maps, after fine-tuning.

  Args:
    config: keys as declared in configs/paper.py; config.evaluate.attention_episodes >= 1.
    workdir: the run folder, after fine-tuning.

  Returns:
    {"stage<s>": {"object_over_area", "robot_over_area", "peak_on_object", "frames_with_map"},
    means of `Attention.summary` over the views with the robot, after fine-tuning;
    "stage<s>_before": the same before it; "occlusion": mean |change of V| over the first frame's
    distance, by what is hidden; "agreement": of the two, by stage}. The file also has what
    robot-free frames gave.
  """
  views = views_from_config(config.views)
  values = {
    when: encoder.load(workdir / folder)
    for when, folder in (("after", "encoder"), ("before", "encoder_before"))
  }
  records, count = [], config.evaluate.attention_episodes
  options = {**env_options(config.env), "placement": None}
  drawing = {"size": config.record.size, "quality": config.record.quality}
  with (
    RobotEnv(**options, **drawing) as env,
    Progress(count, FOLDER, unit="episode") as progress,
  ):
    for episode in range(count):
      videos, labels = _film_with_labels(env, views, config.record, episode)
      names = video_names(videos)
      # Robot-free videos follow those they are copies of.
      for i in range(0, len(videos), 2):
        for when, value in values.items():
          film = workdir / FOLDER / f"{names[i].replace(', ', '_').replace(' ', '')}.mp4"
          records.append(
            {"when": when, "name": names[i]}
            | _look(value, videos[i : i + 2], labels[i : i + 2], film if when == "after" else None)
          )
      progress.update()
  records = files.jsonable(records)
  means = _means(records)
  files.write_json(workdir / FOLDER / "attention.json", {"means": means, "videos": records})
  return {
    name: {key: numbers[key] for key in _REPORTED} if name.startswith("stage") else numbers
    for name, numbers in means.items()
    if "robot_free" not in name
  }


def finest_stage(names: Iterable[str]) -> str:
  """Of names as `measure_attention` and its file have them, the finest stage's.

  After fine-tuning and with the robot: "stage2" of "stage4", "stage2" and "stage2_before", say.
  """
  return min(name for name in names if name.startswith("stage") and "_" not in name)


def _film_with_labels(env: RobotEnv, views: dict[str, View], record, episode: int):
  """An expert episode: videos of each view with and without the robot, and labels of each."""
  channels = [(view, visible) for view in views.values() for visible in (True, False)]
  labels = [[] for _ in channels]

  def at_frame():
    for (view, visible), shown in zip(channels, labels, strict=True):
      shown.append(env.labels(view, visible))

  seed = episode_seed(Stream.UNSEEN, _EPISODES_RUN, episode)
  videos = record_episode(
    env, views, seed, hold=record.hold, frame_stride=record.frame_stride, episode=episode,
    at_frame=at_frame,
  )  # fmt: skip
  return videos, [np.stack(shown) for shown in labels]


def _look(
  value: ValueFunction,
  pair: Sequence[Video],
  labels: Sequence[np.ndarray],
  film: pathlib.Path | None,
) -> dict[str, Any]:
  """Everything of one view: attention by stage, with and without the robot, and occlusion."""
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
      result[f"{stage}{suffix}"] = {key: _mean([m[key] for m in means]) for key in means[0]}
  result["occlusion"] = {
    name: _mean([_relative(each["occlusion"][name], each["distance"][0]) for each in after])
    for name in after[0]["occlusion"]
  }
  result["agreement"] = {
    stage: _mean([each["agreement"][stage] for each in after]) for stage in after[0]["agreement"]
  }
  return result


def _relative(change: Sequence[float], distance: float) -> float | None:
  return float(np.mean(np.abs(change)) / distance) if distance > 0 else None


def _mean(numbers: Sequence[float | None]) -> float | None:
  known = [number for number in numbers if number is not None]
  return float(np.mean(known)) if known else None
