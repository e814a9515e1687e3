"""Rewards for data that were recorded long ago: value, distance and reward of every frame."""

from __future__ import annotations

import csv
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.encoder.progress import PROGRESS, signed_progress
from vipjax.reward.goals import embed_goal, find_goals, misfits
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.videos import LazyVideo
from vipjax.videos.access import existing_path, permitted, whole_file
from vipjax.videos.export import whole_folder
from vipjax.videos.formats import lerobot, rlds

_DECODED_AT_ONCE = 32
# The names of the three numbers in every form of output, and of the episode's progress, 0 to 1.
_COLUMNS = ("value", "distance", "reward", "progress")
_TABLE_SUFFIX = ".csv"


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
  """The value function's numbers of one video; other arrays than `times` are float32 [T].

  Attributes:
    metadata: of the video: "episode", "view", "source" and all else that is known.
    times: float64 [T], when each frame is shown, in s from the first.
    distance: of each frame to the goal.
    progress_paid: signed progress of the step that starts in each frame, 0 in the last; None where
      the reward is the change of the distance.
    warnings: why the goal may not fit.
  """

  metadata: dict
  times: np.ndarray
  distance: np.ndarray
  warnings: tuple[str, ...] = ()
  progress_paid: np.ndarray | None = None

  @property
  def value(self) -> np.ndarray:
    """V(o, g), minus the distance."""
    return -self.distance

  @property
  def reward(self) -> np.ndarray:
    """V(o', g) - V(o, g) of the step that starts in each frame, or the progress that it makes.

    It is 0 in the last frame, where no step starts.
    """
    if self.progress_paid is not None:
      return self.progress_paid
    return np.append(np.diff(self.value), np.float32(0))

  @property
  def progress(self) -> np.ndarray:
    """The share of the first frame's distance that has been covered, kept within 0 and 1."""
    first = max(float(self.distance[0]), 1e-9)
    return np.clip(1 - self.distance / first, 0, 1).astype(np.float32)


def label_videos(
  value: ValueFunction,
  videos: Sequence[LazyVideo],
  goal: str = "last",
  goal_reduction: str = "mean",
  form: str = "difference",
) -> list[Labels]:
  """Labels every frame of videos, decoding a few at a time.

  Args:
    value: the value function.
    videos: at least one.
    goal: see `vipjax.reward.goals.HELP`.
    goal_reduction: of several goal frames the "mean" embedding, or the "nearest" counts.
    form: of the reward: "difference" of the distance, or "progress" as the encoder's head sees it.

  Raises:
    UserError: as `find_goals`, or no progress head for "progress".
  """
  if form == "progress":
    value.require_progress()
  found = find_goals(goal, videos, [video.metadata["source"] for video in videos])
  embedded = {id(each): embed_goal(value, each, goal_reduction) for each in found}
  labels = []
  with Progress(len(videos), "label", unit="video") as progress:
    for video, each in zip(videos, found, strict=True):
      embeddings = np.concatenate([
        value.embed(video[start : start + _DECODED_AT_ONCE])
        for start in range(0, len(video), _DECODED_AT_ONCE)
      ])  # fmt: skip
      distances = value.distances(embeddings, embedded[id(each)])
      sample = video[np.linspace(0, len(video) - 1, min(len(video), _DECODED_AT_ONCE)).astype(int)]
      warnings = tuple(misfits(value, each, sample, embeddings, distances))
      paid = None
      if form == "progress":
        steps = signed_progress(value.variables[PROGRESS], embeddings[:-1], embeddings[1:])
        paid = np.append(np.asarray(steps), np.float32(0))
      labels.append(Labels(video.metadata, video.times, distances, warnings, paid))
      progress.update()
  return labels


def check_place(out: pathlib.Path) -> pathlib.Path:
  """The nearest folder above `out` that is there.

  Raises:
    UserError: something is at `out`, a file is on the way, or nothing can be written there.
  """
  with permitted(out):
    if os.path.lexists(out):
      raise UserError(
        f"expected nothing at {out}, got something; labels overwrite nothing: rename."
      )
    folder = next(parent for parent in out.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
      raise UserError(
        f"expected a folder at {folder} to write {out.name} into, got a file in the way; give "
        "another --out."
      )
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(b"\0")
  except OSError as error:
    raise UserError(
      f"expected to write into {folder}, got '{error.strerror}'; give another --out."
    ) from error
  return folder


def check_label_out(data: pathlib.Path, out: pathlib.Path, reward: str | None = None) -> None:
  """Refuses, before any work is done, labels that could not be written.

  Args:
    data: where the videos are.
    out: a file that ends in .csv, or the folder of a copy of a LeRobot or TFDS data set.
    reward: as `write_labels`.

  Raises:
    UserError: something is at `out`, it cannot be written to or has no room, or `data` is no data
      set that can be copied with labels, because it has some already, for instance.
  """
  existing_path(data, "videos or a data set")
  folder = check_place(out)
  prefixes = ("", lerobot.LABEL_PREFIX, rlds.LABEL_PREFIX)
  others = [prefix + name for prefix in prefixes for name in _COLUMNS if name != "reward"]
  if reward is not None and (not reward or "/" in reward or reward in others):
    raise UserError(
      f"expected a name without '/' for the column of rewards, and none of {', '.join(others)}, "
      f"got {reward!r}; rename."
    )
  if _is_table(out):
    return
  form, source = _copied(data)
  needed = sum(
    existing_path(path, "a file of the data set").stat().st_size for path in source.rglob("*")
  )
  free = shutil.disk_usage(folder).free
  if needed > free:
    raise UserError(
      f"expected room for a copy of {data} at {out}, {needed / 1e6:.1f} MB, got {free / 1e6:.1f} "
      "MB; make room, or give another --out."
    )
  form.check_columns(source, _names(form.LABEL_PREFIX, reward).values())


def videos_to_label(out: pathlib.Path, videos: Sequence[LazyVideo]) -> list[LazyVideo]:
  """Returns the videos whose labels `out` can hold: of a copy's episodes one camera.

  Raises:
    UserError: as `write_labels`, for several cameras.
  """
  return list(videos if _is_table(out) else _by_episode(videos).values())


def write_labels(
  data: pathlib.Path, out: pathlib.Path, labels: Sequence[Labels], reward: str | None = None
) -> None:
  """Writes labels into a table, or into a copy of the data set that they are of.

  A copy appears under its name only when it is whole.

  Args:
    data, out: as `check_label_out`.
    labels: of every video.
    reward: the name of the reward's column; None for "reward", after the beginning of the data
      set's other new columns.

  Raises:
    UserError: as `check_label_out`, or an episode has labels from several cameras.
  """
  if _is_table(out):
    _write_csv(out, labels, _names("", reward))
    return
  episodes = _by_episode(labels)
  form, source = _copied(data)
  names = _names(form.LABEL_PREFIX, reward)
  columns = {
    number: {column: getattr(each, name) for name, column in names.items()}
    for number, each in episodes.items()
  }
  with whole_folder(out, overwrite=False) as partial:
    form.copy_with_columns(source, partial, columns)


_Episode = TypeVar("_Episode", Labels, LazyVideo)


def _by_episode(labels: Sequence[_Episode]) -> dict[int, _Episode]:
  """Returns the labels, or the videos to label, by the number of their episode.

  A camera's copies without the robot are left out if its pictures with the robot are there.
  """
  found: dict[int, _Episode] = {}
  with_robot = [each for each in labels if each.metadata.get("robot_visible") is not False]
  for each in with_robot or labels:
    episode = each.metadata["episode"]
    if episode in found:
      views = sorted({str(other.metadata.get("view")) for other in labels})
      raise UserError(
        f"expected one camera to take rewards from, got {', '.join(views)}; choose with --view."
      )
    found[episode] = each
  return found


def _is_table(out: pathlib.Path) -> bool:
  return out.suffix.lower() == _TABLE_SUFFIX


def _copied(data: pathlib.Path) -> tuple[ModuleType, pathlib.Path]:
  """The format that copies a data set with new columns, and the data set's folder."""
  if lerobot.is_dataset(data):
    return lerobot, data
  folder = rlds.find_dataset(data) if data.is_dir() else None
  if folder is None:
    raise UserError(
      f"expected a LeRobot or TFDS data set in {data} to copy with labels, got other videos; give "
      f"an --out that ends in {_TABLE_SUFFIX}."
    )
  return rlds, folder


def _names(prefix: str, reward: str | None) -> dict[str, str]:
  """The column of each number, in a form of output whose columns begin with the prefix."""
  return {name: prefix + name for name in _COLUMNS} | ({"reward": reward} if reward else {})


def _write_csv(path: pathlib.Path, labels: Sequence[Labels], names: dict[str, str]) -> None:
  """A row for each frame of each video."""
  head = ("source", "episode", "view", "frame", "time_s", *names.values())
  with whole_file(path, overwrite=False) as partial, partial.open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for each in labels:
      columns = [each.times, *(getattr(each, name) for name in names)]
      known = [each.metadata.get(name) for name in ("source", "episode", "view")]
      for frame, (time, *numbers) in enumerate(zip(*columns, strict=True)):
        numbers = [f"{number:.6g}" for number in numbers]
        writer.writerow([*known, frame, f"{time:.4f}", *numbers])
