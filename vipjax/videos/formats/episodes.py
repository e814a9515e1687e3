"""Videos, and columns of numbers, by the episode that they belong to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.selection import ROBOT_FREE

# For each episode by its number, by the name of each new column: float32 [T], one for each frame.
# All episodes have the same names.
Columns = Mapping[int, Mapping[str, np.ndarray]]


# Those of an episode's steps that have one number for each frame.
SCALARS = ("reward", "discount")


class Episode(NamedTuple):
  """One episode from all its cameras.

  Attributes:
    number: its number.
    cameras: by name, which ends in "_robot_free" where the robot was not rendered; all of one
      length and fps.
    steps: numbers of each frame: "state" float32 [T, O] and "action" float32 [T, A], "reward" and
      "discount" float32 [T], of the step that begins there; {} for a film alone. All episodes have
      the same names.
  """

  number: int
  cameras: dict[str, Video]
  steps: Mapping[str, np.ndarray] = MappingProxyType({})

  @property
  def first(self) -> Video:
    """Any of its videos: all know the same of the episode itself."""
    return next(iter(self.cameras.values()))

  def __len__(self) -> int:
    return len(self.first.frames)


def by_episode(videos: Sequence[Video]) -> list[Episode]:
  """The videos by episode and camera, in the order in which episodes first come.

  A video without an episode is one of its own.

  Raises:
    UserError: two videos of one camera and episode, episodes with different cameras, a camera whose
      size changes, cameras of one episode that differ in length, or different rates.
  """
  episodes: dict[int, dict[str, Video]] = {}
  for index, video in enumerate(videos):
    number = index if video.episode is None else video.episode
    name = re.sub(r"\W", "_", video.view or "camera")
    name += ROBOT_FREE if video.robot_visible is False else ""
    cameras = episodes.setdefault(number, {})
    if name in cameras:
      raise UserError(f"expected one video of {name} in episode {number}, got two; number them.")
    cameras[name] = video
  found = [Episode(number, cameras) for number, cameras in episodes.items()]
  names = list(found[0].cameras)
  for episode in found:
    shapes = {name: video.frames.shape[1:] for name, video in episode.cameras.items()}
    if shapes != {name: video.frames.shape[1:] for name, video in found[0].cameras.items()}:
      raise UserError(
        f"expected the cameras {', '.join(names)} of one size each in every episode, got others in "
        f"episode {episode.number}; write it apart."
      )
    lengths = {len(video.frames) for video in episode.cameras.values()}
    rates = {video.fps for video in (*episode.cameras.values(), found[0].first)}
    if len(lengths) > 1 or len(rates) > 1:
      raise UserError(
        f"expected videos of one length and rate in episode {episode.number}, got lengths "
        f"{sorted(lengths)} and rates {sorted(rates)}; resample them."
      )
  return found


def check_new(names: Collection[str], known: Iterable[str], source: Path) -> None:
  """Raises UserError where a data set has one of the columns that would be added to it."""
  taken = sorted(set(names).intersection(known))
  if taken:
    raise UserError(
      f"expected a data set without labels, got {', '.join(taken)} in {source}; label the data set "
      "that it came from, or give the reward another column's name."
    )


def columns_of(
  columns: Columns, episode: int, length: int, source: Path
) -> Mapping[str, np.ndarray]:
  """The columns of an episode; raises UserError unless each of its frames has its numbers."""
  found = columns.get(episode, {})
  came = min((len(column) for column in found.values()), default=0)
  if came != length or any(len(column) != length for column in found.values()):
    raise UserError(
      f"expected labels of every frame of episode {episode} of {source}, got {came} of {length}; "
      "label all of the data set."
    )
  return found
