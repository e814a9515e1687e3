"""Rewards for data that were recorded long ago: value, distance and reward of every frame."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.reward.goals import embed_goal, find_goals, goal_distances, misfits
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.videos import LazyVideo
from vipjax.videos.access import whole_file

_DECODED_AT_ONCE = 32
# What every form of output calls the three numbers, and how far the episode is, 0 to 1.
COLUMNS = ("value", "distance", "reward", "progress")


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
  """What the value function says of one video; other arrays than `times` are float32 [T].

  Attributes:
    metadata: of the video: "episode", "view", "source" and what else is known.
    times: float64 [T], when each frame is shown, in s from the first.
    distance: of each frame to the goal.
    warnings: why the goal may not fit.
  """

  metadata: dict
  times: np.ndarray
  distance: np.ndarray
  warnings: tuple[str, ...] = ()

  @property
  def value(self) -> np.ndarray:
    """V(o, g), minus the distance."""
    return -self.distance

  @property
  def reward(self) -> np.ndarray:
    """V(o', g) - V(o, g) of the step that starts in each frame; 0 in the last, with no step."""
    return np.append(np.diff(self.value), np.float32(0))

  @property
  def progress(self) -> np.ndarray:
    """The share of the first frame's distance that has been covered, kept within 0 and 1."""
    first = max(float(self.distance[0]), 1e-9)
    return np.clip(1 - self.distance / first, 0, 1).astype(np.float32)


def label_videos(
  value: ValueFunction, videos: Sequence[LazyVideo], goal: str = "last", goals: str = "mean"
) -> list[Labels]:
  """Labels every frame of videos, decoding a few at a time.

  Args:
    value: the value function.
    videos: at least one.
    goal: see `vipjax.reward.goals.HELP`.
    goals: with several goal frames, distance to their "mean" embedding or to the "nearest".

  Raises:
    UserError: as `find_goals`.
  """
  found = find_goals(goal, videos, [video.metadata["source"] for video in videos])
  embedded = {id(each): embed_goal(value, each, goals) for each in found}
  labels = []
  with Progress(len(videos), "label", unit="video") as progress:
    for video, each in zip(videos, found, strict=True):
      embeddings = np.concatenate([
        value.embed(video[start : start + _DECODED_AT_ONCE])
        for start in range(0, len(video), _DECODED_AT_ONCE)
      ])  # fmt: skip
      distances = goal_distances(embeddings, embedded[id(each)])
      sample = video[np.linspace(0, len(video) - 1, min(len(video), _DECODED_AT_ONCE)).astype(int)]
      warnings = tuple(misfits(each, sample, embeddings, distances))
      labels.append(Labels(video.metadata, video.times, distances, warnings))
      progress.update()
  return labels


_Episode = TypeVar("_Episode", Labels, LazyVideo)


def by_episode(labels: Sequence[_Episode]) -> dict[int, _Episode]:
  """The labels of each episode, or the videos to be labelled, by its number.

  Raises:
    UserError: an episode has several, from several cameras.
  """
  found: dict[int, _Episode] = {}
  for each in labels:
    episode = each.metadata["episode"]
    if episode in found:
      views = sorted({str(other.metadata.get("view")) for other in labels})
      raise UserError(
        f"expected one camera to take rewards from, got {', '.join(views)}; choose with --view."
      )
    found[episode] = each
  return found


def write_csv(path: pathlib.Path, labels: Sequence[Labels], reward: str = "reward") -> None:
  """A row for each frame of each video, with `reward` over the column of rewards.

  Raises:
    UserError: the file is there already.
  """
  names = [reward if name == "reward" else name for name in COLUMNS]
  head = ("source", "episode", "view", "frame", "time_s", *names)
  with whole_file(path, overwrite=False) as partial, partial.open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for each in labels:
      columns = [each.times, *(getattr(each, name) for name in COLUMNS)]
      known = [each.metadata.get(name) for name in ("source", "episode", "view")]
      for frame, (time, *numbers) in enumerate(zip(*columns, strict=True)):
        numbers = [f"{number:.6g}" for number in numbers]
        writer.writerow([*known, frame, f"{time:.4f}", *numbers])
