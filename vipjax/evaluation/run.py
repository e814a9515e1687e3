"""The evaluate stage: what the encoder is worth, before and after fine-tuning."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import (
  RobotEnv,
  Stream,
  abandoned_expert,
  env_options,
  episode_seed,
  record_episode,
)
from vipjax.evaluation.alignment import align
from vipjax.evaluation.curves import DistanceCurve, make_curve, video_names
from vipjax.evaluation.measure_attention import measure_attention
from vipjax.evaluation.measure_off_path import measure_off_path
from vipjax.finetune import load_videos
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.scene import View, views_from_config
from vipjax.types import Video
from vipjax.videos import read_videos, write_videos

STAGE = "evaluate"
# Means that are results of the stage; the first is one for every group of videos.
_REPORTED = ("rank_correlation", "kendall_correlation", "falling_fraction")
_MAIN_GROUPS = ("recorded", "unseen")
_TINY = 1e-9
# Control steps after which failing experts give up: they take about 80 to open a window.
_GIVE_UP = (10, 50)
# `measure_off_path` has the first of this stream's episodes.
_FAILED_FROM = 100_000
# Unseen episodes are the same ones in every run, so that runs compare.
_UNSEEN_RUN = 0


def evaluate(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, again: bool = False
) -> dict[str, Any]:
  """Measures the run's encoder: distance curves, alignment, attention, states off the path.

  Curves and alignment are those of the run's videos ("recorded", and "robot_free" apart), of the
  expert at placements never recorded ("unseen", views with the robot), of the same from turned
  cameras ("unseen_views", where config.evaluate.view_shift is not 0) and by other arms
  ("other_robots", those of config.evaluate.robots), and of videos that are known
  to have failed or show random motion, and of config.evaluate.failed_episodes experts that give up
  ("failed": their goals are the last frames of successful ones of their view). Written to
  `evaluation.json`. See `measure_attention` and `measure_off_path` for the rest, which
  config.evaluate asks for by numbers of episodes.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder, after fine-tuning.
    again: measure even what has been measured.

  Returns:
    "rank_correlation_<group>", for "recorded" and "unseen" also "kendall_correlation_<group>",
    "falling_fraction_<group>" and "alignment_<group>" (`align`'s tau): means with the fine-tuned
    encoder, and the same with "_before" for the encoder as it was. "remaining_failed": the mean
    share of the first distance that is left where failed episodes end. "attention" and "off_path"
    as dicts, where config.evaluate asks for them.

  Raises:
    UserError: fine-tuning has not finished in this run.
  """
  if run_folder.stage_done(workdir, STAGE) and not again:
    return run_folder.stage_result(workdir, STAGE)
  if not (workdir / "encoder").exists():
    raise UserError(
      f"expected a fine-tuned encoder in {workdir / 'encoder'}, got none; run launch.finetune with "
      "this config and workdir first."
    )
  started = time.monotonic()
  _film_elsewhere(config, workdir)
  groups = _groups(config, workdir)
  result: dict[str, Any] = {}
  written: dict[str, Any] = {"alignment": {}}
  for when, folder in (("before", "encoder_before"), ("after", "encoder")):
    curves, alignment = measure(encoder.load(workdir / folder), groups)
    suffix = "_before" if when == "before" else ""
    for group, made in curves.items():
      for statistic in _REPORTED if group in _MAIN_GROUPS else _REPORTED[:1]:
        numbers = [getattr(curve, statistic) for curve in made]
        result[f"{statistic}_{group}{suffix}"] = float(np.mean(numbers))
    if "failed" in curves:
      shares = [curve.distances[-1] / max(curve.distances[0], _TINY) for curve in curves["failed"]]
      result[f"remaining_failed{suffix}"] = float(np.mean(shares))
    for group in _MAIN_GROUPS:
      if group in alignment:
        result[f"alignment_{group}{suffix}"] = alignment[group]["tau"]
    records = {group: [curve.record() for curve in made] for group, made in curves.items()}
    # Robot-free copies lie beside the videos they are copies of.
    records["recorded"] = records.get("recorded", []) + records.pop("robot_free", [])
    written[when] = records
    written["alignment"][when] = alignment
  files.write_json(workdir / "evaluation.json", written)
  if config.evaluate.attention_episodes:
    result["attention"] = measure_attention(config, workdir)
  if config.evaluate.off_path_episodes:
    result["off_path"] = measure_off_path(config, workdir)
  run_folder.mark_done(workdir, STAGE, result, time.monotonic() - started)
  return run_folder.stage_result(workdir, STAGE)


def measure(
  value: ValueFunction, groups: dict[str, Sequence[Video]]
) -> tuple[dict[str, list[DistanceCurve]], dict[str, dict[str, Any]]]:
  """Curves and alignment of groups of videos, each video embedded once.

  Args:
    value: any value function.
    groups: videos by name of the group; goals of the group "failed" are the last frames of the
      videos in "recorded" and "robot_free", of the same view and visibility of the robot.

  Returns:
    Curves by group, and `align` of each group that has two videos or more, and as "both" of
    recorded and robot-free videos together.
  """
  embedded = {
    group: [value.embed(video.frames) for video in videos] for group, videos in groups.items()
  }
  goals: dict[tuple, list[np.ndarray]] = {}
  for group in ("recorded", "robot_free"):
    for video, embeddings in zip(groups.get(group, ()), embedded.get(group, ()), strict=True):
      goals.setdefault((video.view, video.robot_visible), []).append(embeddings[-1])
  curves, alignment = {}, {}
  for group, videos in groups.items():
    names = video_names(videos)
    curves[group] = []
    for video, embeddings, name in zip(videos, embedded[group], names, strict=True):
      goal = embeddings[-1]
      if group == "failed":
        goal = np.mean(goals[video.view, video.robot_visible], axis=0)
      distances = np.linalg.norm(embeddings - goal, axis=-1)
      curves[group].append(make_curve(distances, video.seconds, name))
    if len(videos) > 1 and group != "failed":
      alignment[group] = align(embedded[group], names)
  if "recorded" in groups and "robot_free" in groups:
    both = [*groups["recorded"], *groups["robot_free"]]
    alignment["both"] = align([*embedded["recorded"], *embedded["robot_free"]], video_names(both))
  return curves, alignment


def _groups(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, list[Video]]:
  """The run's videos by group; groups without any are left out."""
  own = load_videos(config, workdir)
  good = [video for video in own if video.success is not False]
  failed = [video for video in own if video.success is False]
  if (workdir / "background").exists():
    failed += [video for video in read_videos(workdir / "background") if not video.success]
  if (workdir / "failed").exists():
    failed += read_videos(workdir / "failed")
  goals = {(video.view, video.robot_visible) for video in good}
  groups = {
    "recorded": [video for video in good if video.robot_visible is not False],
    "robot_free": [video for video in good if video.robot_visible is False],
    "failed": [video for video in failed if (video.view, video.robot_visible) in goals],
  }
  for group in ("unseen", "unseen_views", "other_robots"):
    if (workdir / group).exists():
      videos = read_videos(workdir / group)
      # Without the robot nothing moves until the object does: those say little over time.
      groups[group] = [video for video in videos if video.robot_visible is not False]
  return {group: videos for group, videos in groups.items() if videos}


def _film_elsewhere(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes `unseen_views/`, `other_robots/` and `failed/`, as config.evaluate asks for them."""
  views, shift = views_from_config(config.views), config.evaluate.view_shift
  if shift:
    turned = {
      f"{name} turned by {shift:g}": dataclasses.replace(view, azimuth=view.azimuth + shift)
      for name, view in views.items()
      if not view.camera
    }
    _film_unseen(config, workdir / "unseen_views", turned, [config.env.robot])
  _film_unseen(config, workdir / "other_robots", views, config.evaluate.robots)
  if config.evaluate.failed_episodes and not (workdir / "failed").exists():
    _film_failures(config, workdir / "failed", views)


def _film_failures(
  config: ml_collections.ConfigDict, folder: pathlib.Path, views: dict[str, View]
) -> None:
  """Experts that turn into random motion early on; those that succeed all the same are left out."""
  videos = []
  options = {**env_options(config.env), "placement": None}
  with RobotEnv(**options, size=config.record.size, quality=config.record.quality) as env:
    for episode in range(config.evaluate.failed_episodes):
      seed = episode_seed(Stream.OFF_PATH, _UNSEEN_RUN, _FAILED_FROM + episode)
      after = int(np.random.default_rng(seed).integers(*_GIVE_UP))
      videos += record_episode(
        env, views, seed, episode=episode, robot_free=False, hold=config.record.hold,
        frame_stride=config.record.frame_stride, act=abandoned_expert(env, after, seed),
      )  # fmt: skip
  failed = [video for video in videos if not video.success]
  if failed:
    write_videos(folder, failed)


def _film_unseen(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  views: dict[str, View],
  robots: Sequence[str],
) -> None:
  """The unseen episodes from other views or by other arms; what is there already stays."""
  if folder.exists():
    return
  videos = []
  for robot in robots:
    named = views if robot == config.env.robot else {f"{n} {robot}": v for n, v in views.items()}
    options = {**env_options(config.env), "placement": None, "robot": robot}
    with RobotEnv(**options, size=config.record.size, quality=config.record.quality) as env:
      for episode in range(config.evaluate.unseen_episodes if named else 0):
        videos += record_episode(
          env, named, episode_seed(Stream.UNSEEN, _UNSEEN_RUN, episode), episode=episode,
          robot_free=False, hold=config.record.hold, frame_stride=config.record.frame_stride,
        )  # fmt: skip
  if videos:
    write_videos(folder, videos)
