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
from vipjax.envs import (
  RobotEnv,
  Stream,
  abandoned_expert,
  episode_seed,
  record_episode,
)
from vipjax.evaluation.groups import measure_groups
from vipjax.evaluation.measure_attention import measure_attention, reported
from vipjax.evaluation.measure_off_path import OffPath, measure_off_path
from vipjax.reward.channels import channel_goals
from vipjax.runtime import files, run_folder
from vipjax.scene import View
from vipjax.stages.agent import reward_channels, reward_settings
from vipjax.stages.inputs import env_options, load_videos, require_encoder, views_from_config
from vipjax.stages.rollouts import labelled_episodes, roll_out
from vipjax.types import Video
from vipjax.videos import read_videos, write_image, write_videos

STAGE = "evaluate"
# Means that are results of the stage; the first is one for every group of videos.
_REPORTED = ("rank_correlation", "kendall_correlation", "falling_fraction")
_MAIN_GROUPS = ("recorded", "unseen")
_TINY = 1e-9
# Control steps after which failing experts give up: they take about 80 to open a window.
_GIVE_UP = (10, 50)
# `roll_out` has the first of this stream's episodes.
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
  `evaluation.json`. `measure_attention` and `measure_off_path` measure the rest, written to
  `attention/` and `off_path/`, on as many episodes as config.evaluate asks for.

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
  require_encoder(workdir)
  started = time.monotonic()
  _film_elsewhere(config, workdir)
  groups = _groups(config, workdir)
  result: dict[str, Any] = {}
  written: dict[str, Any] = {"alignment": {}}
  for when, folder in (("before", "encoder_before"), ("after", "encoder")):
    curves, alignment = measure_groups(encoder.load(workdir / folder), groups)
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
    result["attention"] = _attention(config, workdir)
  if config.evaluate.off_path_episodes:
    result["off_path"] = _off_path(config, workdir)
  run_folder.mark_done(workdir, STAGE, result, time.monotonic() - started)
  return run_folder.stage_result(workdir, STAGE)


def _attention(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Measures attention before and after fine-tuning, and writes `attention/`."""
  values = {
    when: encoder.load(workdir / folder)
    for when, folder in (("after", "encoder"), ("before", "encoder_before"))
  }
  found = measure_attention(values, labelled_episodes(config), workdir / "attention")
  files.write_json(workdir / "attention" / "attention.json", found)
  return reported(found["means"])


def _off_path(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Measures what the value says off the expert's path, and writes `off_path/`."""
  value, videos = encoder.load(workdir), load_videos(config, workdir)
  channels = reward_channels(config)
  size = channel_goals(channels, videos)[0].frames.shape[1]
  free = any(video.robot_visible is False for video in videos)
  rollouts = roll_out(config, workdir, size, free)
  found = measure_off_path(value, videos, rollouts, channels, reward_settings(config))
  write_off_path(found, workdir / "off_path")
  return found.means


def write_off_path(found: OffPath, folder: pathlib.Path) -> None:
  """Writes `off_path.json` and the pictures of the hacks into a folder."""
  for name, picture in found.hacks.items():
    write_image(folder / name, picture, overwrite=True)
  files.write_json(folder / "off_path.json", found.record)


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
