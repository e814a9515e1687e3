"""Rewards judged on episodes of known outcome or quality: anyone's data, anyone's model."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import inspect
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction, init_value, reduce_goals
from vipjax.evaluation.curves import video_names
from vipjax.evaluation.ranking import Estimate, JudgedEpisode, judge_values
from vipjax.reward.goals import goal_frames
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.types import Video
from vipjax.videos import LazyVideo
from vipjax.videos.access import decoding, existing_path
from vipjax.videos.twins import shows_robot

RANDOM = "random"  # fresh weights in mini's network, what any reward has to beat
_FUNCTION = re.compile(r"[\w.]+:[\w.]+")
_UNKNOWN = "unknown"  # the task of episodes that name none
# Of the values of the frames uint8 [T, H, W, 3] of a video, which is given for its metadata.
Function = Callable[[np.ndarray, LazyVideo], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
  """An episode whose outcome or quality is known.

  Attributes:
    video: its film.
    name: for people, such as "episode 3, top".
    task: as the video names it, or "unknown".
    quality: higher is better.
    success: None where it is not known.
  """

  video: LazyVideo
  name: str
  task: str
  quality: float
  success: bool | None


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """What was measured.

  Attributes:
    episodes: E of them.
    times: of each float64 [T], seconds of the frames that were looked at.
    ends: of each its last frame, uint8 [H, W, 3].
    values: by reward, of each episode float64 [T].
    estimates: by reward and measure, over all tasks.
    by_task: the same by task, then by reward and measure.
  """

  episodes: Sequence[Episode]
  times: Sequence[np.ndarray]
  ends: Sequence[np.ndarray]
  values: Mapping[str, Sequence[np.ndarray]]
  estimates: Mapping[str, Mapping[str, Estimate]]
  by_task: Mapping[str, Mapping[str, Mapping[str, Estimate]]]


def choose_episodes(
  videos: Sequence[LazyVideo], quality: Mapping[str, float] | None = None
) -> list[Episode]:
  """Returns the episodes that can be judged.

  Args:
    videos: of one camera; its copies without the robot are left out where it shows the robot.
    quality: as `read_quality` returns it; None takes success as 1 and failure as 0.

  Raises:
    UserError: several cameras, an outcome or quality that is not known, or none in any task that
      differs.
  """
  videos = [video for video in videos if shows_robot(video)] or list(videos)
  views = sorted({str(video.metadata.get("view")) for video in videos})
  if len(views) > 1:
    raise UserError(f"expected one camera to judge by, got {', '.join(views)}; choose with --view.")
  names = video_names([Video(np.empty(0), **video.metadata) for video in videos])
  episodes = []
  for video, name in zip(videos, names, strict=True):
    success = video.metadata.get("success")
    if quality is not None:
      worth = _quality_of(video, name, quality)
    elif success is None:
      raise UserError(
        f"expected a known outcome of {video.metadata['source']}, got none; give --quality=FILE, a "
        "data set with next.success, or folders named success and failure."
      )
    else:
      worth = float(success)
    task = video.metadata.get("task") or _UNKNOWN
    episodes.append(Episode(video, name, task, worth, success))
  grades = {(each.task, each.quality) for each in episodes}
  if len(grades) == len({each.task for each in episodes}):
    raise UserError(
      f"expected episodes of one task that differ in quality, got {len(episodes)} with one quality "
      "in each task; add failures, or worse and better ones."
    )
  return episodes


def read_quality(path: str | os.PathLike[str]) -> dict[str, float]:
  """Reads the quality of each episode, higher is better.

  Args:
    path: a json file {episode: quality}, or a csv file with the columns `episode` and `quality`.
      An episode is named by its number, or by its file's name with or without the suffix.

  Raises:
    UserError: another kind of file, no such columns, or a quality that is no finite number.
  """
  found = existing_path(path, "a csv or json file of qualities")
  suffix = found.suffix.lower()
  if suffix == ".json":
    pairs = files.read_json(found)
    pairs = list(pairs.items()) if isinstance(pairs, dict) else None
  elif suffix == ".csv":
    with decoding(found), found.open(encoding="utf-8-sig", newline="") as file:
      rows = list(csv.DictReader(file))
    named = rows and {"episode", "quality"} <= rows[0].keys()
    pairs = [(row["episode"], row["quality"]) for row in rows] if named else None
  else:
    pairs = None
  if not pairs:
    raise UserError(
      f"expected a json file {{episode: quality}} or a csv file with the columns episode and "
      f"quality, got another in {found}; write one of these."
    )
  quality = {}
  for name, value in pairs:
    try:
      quality[str(name)] = float(value)
    except (TypeError, ValueError):
      quality[str(name)] = np.nan
    if not np.isfinite(quality[str(name)]):
      raise UserError(
        f"expected a finite number as the quality of {name} in {found}, got {value!r}; correct it."
      )
  return quality


def _quality_of(video: LazyVideo, name: str, quality: Mapping[str, float]) -> float:
  source = pathlib.PurePath(video.metadata["source"])
  number = video.metadata.get("episode")
  keys = ["" if number is None else str(number), source.name, source.stem]
  found = next((quality[key] for key in keys if key in quality), None)
  if found is None:
    raise UserError(
      f"expected a quality of {name}, got those of {', '.join(list(quality)[:4])}; add it by its "
      "number or its file's name."
    )
  return found


def judge_rewards(
  episodes: Sequence[Episode],
  rewards: Sequence[str],
  goal: str | None = None,
  goal_reduction: str = "mean",
  max_frames: int = 150,
) -> Judged:
  """Measures how each reward orders episodes, and the frames of each.

  Args:
    episodes: as `choose_episodes` returns them.
    rewards: anything that `vipjax.load` takes, "random", or "module:function": a function that gets
      frames uint8 [T, H, W, 3], and the text of the task if it has an argument `task`, and returns
      a value for each frame, higher where more of the task is done.
    goal: of encoders, as `goal_frames` takes it; None takes the last frames of the best episodes of
      the same task, all successes or those of the greatest quality, but never an episode's own.
    goal_reduction: of several goal frames the "mean" embedding, or the "nearest" counts.
    max_frames: of each episode at most so many are looked at, evenly spaced; at least 2.

  Raises:
    UserError: a reward named twice or that cannot be loaded, a function that returns something
      else, an episode of one frame, or no goal.
  """
  loaded = {name: load_reward(name) for name in rewards}
  if len(loaded) < len(rewards) or not rewards:
    raise UserError(
      f"expected each reward once, got {', '.join(rewards) or 'none'}; name one, and none twice."
    )
  if max_frames < 2:
    raise UserError(f"expected at least 2 frames of each episode, got {max_frames}; raise it.")
  encoders = {name: each for name, each in loaded.items() if isinstance(each, ValueFunction)}
  goals = None
  if encoders and goal is not None:
    goals = goal_frames(goal, episodes[0].video.metadata.get("view"))
  elif encoders:  # What is refused is refused before the work.
    goals = [_others(episodes, index) for index in range(len(episodes))]
  times, ends, seen = _look_at_all(episodes, loaded, max_frames)
  for name, value in encoders.items():
    seen[name] = _values(value, seen[name], goals, goal_reduction)
  return _judged(episodes, times, ends, seen)


def _look_at_all(
  episodes: Sequence[Episode], loaded: Mapping[str, ValueFunction | Function], max_frames: int
) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, list[np.ndarray]]]:
  """Times and last frame of each episode; by reward values [T], or of an encoder embeddings."""
  times, ends = [], []
  seen: dict[str, list[np.ndarray]] = {name: [] for name in loaded}
  with Progress(len(episodes), "judge", unit="episode") as progress:
    for episode in episodes:
      frames, seconds = _look(episode, max_frames)
      times.append(seconds)
      ends.append(frames[-1])
      for name, each in loaded.items():
        if isinstance(each, ValueFunction):
          seen[name].append(each.embed(frames))
        else:
          seen[name].append(_checked(name, episode, each(frames, episode.video), len(frames)))
      progress.update()
  return times, ends, seen


def _values(
  value: ValueFunction,
  embedded: Sequence[np.ndarray],
  goals: Sequence[np.ndarray] | Sequence[list[int]],
  goal_reduction: str,
) -> list[np.ndarray]:
  """Minus the distance of each episode's frames to goal frames, or to the ends of others."""
  if isinstance(goals[0], np.ndarray):
    frames = np.concatenate([value.embed(frame[None]) for frame in goals])
    to = [frames] * len(embedded)
  else:
    last = np.stack([embeddings[-1] for embeddings in embedded])
    to = [last[others] for others in goals]
  return [
    -value.distances(embeddings, reduce_goals(each, goal_reduction)).astype(np.float64)
    for embeddings, each in zip(embedded, to, strict=True)
  ]


def _judged(
  episodes: Sequence[Episode],
  times: Sequence[np.ndarray],
  ends: Sequence[np.ndarray],
  values: Mapping[str, Sequence[np.ndarray]],
) -> Judged:
  tasks = list(dict.fromkeys(each.task for each in episodes))
  estimates, by_task = {}, {task: {} for task in tasks}
  for name, of in values.items():
    judged = [
      JudgedEpisode(each.task, each.quality, each.success, mine)
      for each, mine in zip(episodes, of, strict=True)
    ]
    estimates[name] = judge_values(judged)
    for task in tasks:
      mine = [each for each in judged if each.task == task]
      by_task[task][name] = estimates[name] if len(tasks) == 1 else judge_values(mine)
  return Judged(episodes, times, ends, values, estimates, by_task)


def load_reward(name: str) -> ValueFunction | Function:
  """Returns the encoder, or the function "module:function", of that name.

  Raises:
    UserError: as `vipjax.load`, or no such module or function.
  """
  if name == RANDOM:
    mini = encoder.load("mini")
    return init_value(jax.random.key(0), mini.config, mini.preprocessing, {"name": RANDOM})
  if os.path.exists(name) or not _FUNCTION.fullmatch(name):
    return encoder.load(name)
  module, _, path = name.partition(":")
  try:
    found: Any = importlib.import_module(module)
  except ImportError as error:
    raise UserError(
      f"expected a module {module} for the reward {name}, got '{error}'; put its folder on "
      "PYTHONPATH, or install what it needs."
    ) from error
  for part in path.split("."):
    found = getattr(found, part, None)
  if not callable(found):
    raise UserError(
      f"expected a function {path} in the module {module}, got "
      f"{'none' if found is None else type(found).__name__}; correct the reward's name."
    )
  if "task" in inspect.signature(found).parameters:
    return lambda frames, video: found(frames, task=video.metadata.get("task"))
  return lambda frames, video: found(frames)


def _look(episode: Episode, max_frames: int) -> tuple[np.ndarray, np.ndarray]:
  """Evenly spaced frames uint8 [T, H, W, 3], the last among them, and their times float64 [T]."""
  picks = episode.video.evenly(max_frames)
  return episode.video[picks], episode.video.times[picks]


def _checked(name: str, episode: Episode, returned: Any, count: int) -> np.ndarray:
  """float64 [T], what a function returned; raises UserError for other things."""
  try:
    values = np.asarray(returned, np.float64)
  except (TypeError, ValueError):
    values = np.empty(0)
  if values.shape != (count,):
    got = f"the shape {list(np.shape(returned))}" if values.size else type(returned).__name__
    raise UserError(
      f"expected {count} values from {name} for {episode.name}, one for each frame, got {got}; "
      "return numbers [T]."
    )
  if not np.isfinite(values).all():
    raise UserError(
      f"expected finite values from {name} for {episode.name}, got "
      f"{(~np.isfinite(values)).sum()} that are not; mend the function."
    )
  return values


def _others(episodes: Sequence[Episode], index: int) -> list[int]:
  """The best other episodes of an episode's task: all successes, or those of greatest quality."""
  mine = episodes[index]
  others = [i for i, each in enumerate(episodes) if each.task == mine.task and i != index]
  best = max((episodes[i].quality for i in others), default=None)
  won = [i for i in others if episodes[i].success] or [
    i for i in others if episodes[i].quality == best and episodes[i].success is None
  ]
  if not won:
    raise UserError(
      f"expected another success of the task {mine.task!r} beside {mine.name} to take the goal "
      "from, got none; add one, or name goals with --goal."
    )
  return won


def record(judged: Judged) -> dict[str, Any]:
  """Returns the results for judge.json: what was found, without the values of frames."""
  episodes = [
    {"name": each.name, "source": each.video.metadata["source"], "task": each.task,
     "success": each.success, "quality": each.quality, "frames": len(times),
     "last": {name: float(values[index][-1]) for name, values in judged.values.items()}}
    for index, (each, times) in enumerate(zip(judged.episodes, judged.times, strict=True))
  ]  # fmt: skip

  def plain(rewards):
    return {
      name: {measure: each._asdict() for measure, each in found.items()}
      for name, found in rewards.items()
    }

  return {
    "rewards": plain(judged.estimates),
    "tasks": {task: plain(rewards) for task, rewards in judged.by_task.items()},
    "episodes": episodes,
  }
