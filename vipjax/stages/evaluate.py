"""The evaluate stage: what the encoder is worth, before and after fine-tuning."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.encoder.progress import PROGRESS
from vipjax.envs import Stream, episode_seed
from vipjax.evaluation import statistics
from vipjax.evaluation.curves import progress_sums
from vipjax.evaluation.direction import measure_direction
from vipjax.evaluation.groups import measure_groups
from vipjax.evaluation.measure_attention import measure_attention, reported
from vipjax.evaluation.measure_off_path import measure_off_path
from vipjax.evaluation.off_path import Rollout
from vipjax.runtime import files
from vipjax.scene import View
from vipjax.stages.agent import reward_channels, reward_settings, robot_free_encoders
from vipjax.stages.filming import film_episodes, give_up, open_env, unseen_seeds
from vipjax.stages.inputs import load_videos, require_encoder, views_from_config
from vipjax.stages.put_back import film_put_back, films_put_back, hack_price, write_pictures
from vipjax.stages.rollouts import labelled_episodes, roll_out
from vipjax.stages.stage import stage
from vipjax.stages.task import fit_to_task
from vipjax.types import Video
from vipjax.videos import read_videos, write_image, write_videos

# Means that are results of the stage; the first is one for every group of videos.
_REPORTED = ("rank_correlation", "kendall_correlation", "falling_fraction")
_MAIN_GROUPS = ("recorded", "unseen")
_TINY = 1e-9
_PRICES = ("hack_price", "hack_price_reward", "hack_price_robot_free")
# Control steps after which failing experts give up: they take about 80 to open a window.
_GIVE_UP = (10, 50)
# `roll_out` has the first of this stream's episodes.
_FAILED_FROM = 100_000


@stage("evaluate")
def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Measures the run's encoder: distance curves, alignment, attention, states off the path.

  Curves and alignment are those of groups of videos, written to `evaluation.json`:

  - "recorded": the run's videos, those without the robot apart as "robot_free";
  - "unseen": the expert at placements never recorded, views with the robot;
  - "unseen_views": the same from turned cameras, where config.evaluate.view_shift is not 0;
  - "other_robots": the same by the arms of config.evaluate.robots;
  - "failed": videos that are known to have failed or show random motion, and
    config.evaluate.failed_episodes experts that give up; their goals are the last frames of
    successful videos of their view.

  Attention goes to `attention/`, states off the path to `off_path/`, each for as many episodes as
  config.evaluate asks for; to `hack_price/` what the expert's last pose is worth beside an object
  that is back where it was, in the unseen episodes.

  Returns:
    "rank_correlation_<group>", for "recorded" and "unseen" also "kendall_correlation_<group>",
    "falling_fraction_<group>" and "alignment_<group>" (`align`'s tau): means with the fine-tuned
    encoder, and the same with "_before" for the encoder as it was. "progress_correlation_<group>":
    with a progress head, the rank correlation of `progress_sums` with time. "asymmetry_<group>",
    "steps_correlation_<group>" and others of `evaluation.direction` with "_<group>": with a head
    that need not be symmetric. "remaining_failed": the mean share of the first distance that is
    left where failed episodes end. "hack_price", "hack_price_reward", "hack_price_robot_free"
    (`evaluation.HackPrice`), before and after, and "worth_pose" and "worth_solved"
    (`evaluation.compare_worth`), where there is a simulator.
    "attention" and "off_path" as dicts, where config.evaluate asks for them.

  Raises:
    UserError: fine-tuning has not finished in this run.
  """
  require_encoder(workdir)
  if _films(config):
    config = fit_to_task(config, workdir)
    _film_elsewhere(config, workdir)
  groups, values = _groups(config, workdir), load_before_and_after(workdir)
  result: dict[str, Any] = {}
  written: dict[str, Any] = {"alignment": {}}
  for when in ("before", "after"):
    curves, alignment = measure_groups(values[when], groups)
    suffix = "_before" if when == "before" else ""
    for group, made in curves.items():
      for statistic in _REPORTED if group in _MAIN_GROUPS else _REPORTED[:1]:
        numbers = [getattr(curve, statistic) for curve in made]
        result[f"{statistic}_{group}{suffix}"] = float(np.mean(numbers))
    if "failed" in curves:
      shares = [curve.distances[-1] / max(curve.distances[0], _TINY) for curve in curves["failed"]]
      result[f"remaining_failed{suffix}"] = float(np.mean(shares))
    for group in _MAIN_GROUPS:
      if PROGRESS in values[when].variables and group in groups:
        correlation = _progress_correlation(values[when], groups[group])
        result[f"progress_correlation_{group}{suffix}"] = correlation
      if not values[when].head.is_symmetric and group in groups:
        found = measure_direction(values[when], groups[group])
        result |= {f"{name}_{group}{suffix}": number for name, number in found.items()}
      if group in alignment:
        result[f"alignment_{group}{suffix}"] = alignment[group]["tau"]
    records = {group: [curve.record() for curve in made] for group, made in curves.items()}
    # Robot-free copies lie beside the videos they are copies of.
    records["recorded"] = records.get("recorded", []) + records.pop("robot_free", [])
    written[when] = records
    written["alignment"][when] = alignment
  files.write_json(workdir / "evaluation.json", written)
  robot_free = robot_free_encoders(config, workdir)
  result |= write_hack_price(config, values, workdir / "hack_price", robot_free)
  if config.evaluate.attention_episodes:
    result["attention"] = reported(write_attention(config, values, workdir / "attention"))
  if config.evaluate.off_path_episodes:
    videos = load_videos(config, workdir)
    rollouts = roll_out(config, workdir, videos)
    result["off_path"] = write_off_path(
      config, values["after"], videos, rollouts, workdir / "off_path", robot_free
    )
  return result


def _films(config: ml_collections.ConfigDict) -> bool:
  """Whether an evaluation asks for films of its own, and so for the simulator and its views."""
  evaluate = config.evaluate
  counts = ("failed_episodes", "attention_episodes", "off_path_episodes")
  asked = evaluate.view_shift or evaluate.robots or any(evaluate[name] for name in counts)
  return bool(asked or films_put_back(config))


def _progress_correlation(value: ValueFunction, videos: Sequence[Video]) -> float:
  """Mean rank correlation with time of the sum that a reward of progress has paid."""
  return float(np.mean([
    statistics.spearman(progress_sums(value, video.frames), video.seconds) for video in videos
  ]))  # fmt: skip


def load_before_and_after(workdir: pathlib.Path) -> dict[str, ValueFunction]:
  """The encoder of a run "after" and "before" fine-tuning."""
  folders = {"after": "encoder", "before": "encoder_before"}
  return {when: encoder.load(workdir / folder) for when, folder in folders.items()}


def write_attention(
  config: ml_collections.ConfigDict, values: Mapping[str, ValueFunction], folder: pathlib.Path
) -> dict[str, Any]:
  """Measures the attention of encoders in `labelled_episodes`, and writes films and numbers.

  Returns:
    The means of `measure_attention`.
  """
  found = measure_attention(values, labelled_episodes(config), folder)
  files.write_json(folder / "attention.json", found)
  return found["means"]


def write_hack_price(
  config: ml_collections.ConfigDict,
  values: Mapping[str, ValueFunction],
  folder: pathlib.Path,
  robot_free: Sequence[ValueFunction] = (),
) -> dict[str, Any]:
  """Prices the expert's last pose with the objects put back, and writes pictures and numbers.

  Before fine-tuning the frames without the robot are drawn, `robot_free` or not.

  Returns:
    The prices and worths that `evaluate` returns; {} without a simulator or unseen episodes.
  """
  episodes = film_put_back(config)
  if not episodes:
    return {}
  made = {
    when: hack_price(config, value, episodes, robot_free if when == "after" else ())
    for when, value in values.items()
  }
  write_pictures(episodes[0], folder)
  files.write_json(folder / "hack_price.json", made)
  return {
    **{price: made["after"][price] for price in _PRICES},
    **{f"{price}_before": made["before"][price] for price in _PRICES},
    **{name: made["after"]["worth"][name] for name in ("worth_pose", "worth_solved")},
  }


def write_off_path(
  config: ml_collections.ConfigDict,
  value: ValueFunction,
  videos: Sequence[Video],
  rollouts: Iterable[Rollout],
  folder: pathlib.Path,
  robot_free: Sequence[ValueFunction] = (),
) -> dict[str, Any]:
  """Measures an encoder in rollouts under the config's reward, and writes pictures and numbers.

  Returns:
    The means of `measure_off_path`.
  """
  found = measure_off_path(
    value, videos, rollouts, reward_channels(config), reward_settings(config), robot_free
  )
  for name, picture in found.hacks.items():
    write_image(folder / name, picture, overwrite=True)
  files.write_json(folder / "off_path.json", found.record)
  return found.means


def _groups(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, list[Video]]:
  """The run's videos by group; groups without any are left out."""
  own = load_videos(config, workdir)
  good = [video for video in own if video.success is not False]
  failed = [video for video in own if video.success is False]
  for name in ("background", "failed"):
    if (workdir / name).exists():
      failed += [video for video in read_videos(workdir / name) if not video.success]
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
  """Writes `unseen_views/`, `other_robots/` and `failed/`, as config.evaluate asks for them.

  Folders that are there stay as they are.
  """
  views, shift = views_from_config(config.views), config.evaluate.view_shift
  turned = {
    f"{name} turned by {shift:g}": dataclasses.replace(view, azimuth=view.azimuth + shift)
    for name, view in views.items()
    if shift and not view.camera
  }
  _film_unseen(config, workdir / "unseen_views", {config.env.robot: turned})
  others = {
    robot: views if robot == config.env.robot else {f"{n} {robot}": v for n, v in views.items()}
    for robot in config.evaluate.robots
  }
  _film_unseen(config, workdir / "other_robots", others)
  _film_failures(config, workdir / "failed", views)


def _film_unseen(
  config: ml_collections.ConfigDict, folder: pathlib.Path, views: Mapping[str, Mapping[str, View]]
) -> None:
  """Films the unseen episodes by several arms, each from views of its own."""
  videos, seeds = [], unseen_seeds(config.evaluate.unseen_episodes)
  for robot, seen in views.items():
    if seen and seeds and not folder.exists():
      with open_env(config, placement=None, robot=robot) as env:
        videos += film_episodes(env, config.record, seen, seeds)
  if videos:
    write_videos(folder, videos)


def _film_failures(
  config: ml_collections.ConfigDict, folder: pathlib.Path, views: Mapping[str, View]
) -> None:
  """Films experts that turn into random motion early on, and keeps those that fail of it."""
  seeds = [
    episode_seed(Stream.OFF_PATH, 0, _FAILED_FROM + episode)
    for episode in range(config.evaluate.failed_episodes)
  ]
  if folder.exists() or not seeds:
    return
  with open_env(config, placement=None) as env:
    videos = film_episodes(
      env, config.record, views, seeds, lambda env, seed: give_up(env, seed, _GIVE_UP)
    )
  failed = [video for video in videos if not video.success]
  if failed:
    write_videos(folder, failed)
