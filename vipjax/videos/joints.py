"""Joint angles of each frame, from a column of a LeRobot data set or from a csv file."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.videos.access import decoding, existing_path
from vipjax.videos.formats import lerobot
from vipjax.videos.lazy import LazyVideo

_EPISODE = "episode"


class Angles(NamedTuple):
  """Joint angles of videos.

  Attributes:
    names: of the J columns; None where the source names none.
    values: for each video float64 [T, J], a row for each frame of its file.
  """

  names: tuple[str, ...] | None
  values: list[np.ndarray]


def read_angles(source: str, data: pathlib.Path, videos: Sequence[LazyVideo]) -> Angles:
  """The joint angles of each video.

  Args:
    source: a csv file with a header and a row for each frame; where there are several videos, its
      column `episode` says whose frame it is. Or the name of a column of vectors, such as
      "observation.state", in the LeRobot data set at `data`.
    data: where the videos are.
    videos: at least one.

  Raises:
    UserError: no such file or column, other things than numbers, or a number of rows that is not
      that of a video's frames.
  """
  if pathlib.PurePath(source).suffix.lower() == ".csv":
    angles = _from_csv(existing_path(source, "a csv file of joint angles"), videos)
  elif not lerobot.is_dataset(data):
    raise UserError(
      f"expected a csv file of joint angles, or the videos of a LeRobot data set with the column "
      f"{source!r}, got {data}, which is none; write the angles to a csv file."
    )
  else:
    names, columns = lerobot.read_vectors(data, source)
    angles = Angles(names, [columns[video.metadata["episode"]] for video in videos])
  for rows, video in zip(angles.values, videos, strict=True):
    length = len(video.file_times())
    if len(rows) != length:
      raise UserError(
        f"expected {length} rows of joint angles, one for each frame of "
        f"{video.metadata['source']}, got {len(rows)} in {source}; give one for each."
      )
  return angles


def _from_csv(path: pathlib.Path, videos: Sequence[LazyVideo]) -> Angles:
  with decoding(path), path.open(encoding="utf-8", newline="") as file:
    header, *lines = list(csv.reader(file)) or [[]]
  try:
    table = np.array(lines, np.float64).reshape(len(lines), len(header))
  except ValueError:
    table = np.full((1, 1), np.nan)
  if not header or not np.isfinite(table).all():
    raise UserError(
      f"expected a header and a row of numbers for each frame in {path}, got something else; write "
      "one column for each joint."
    )
  if _EPISODE in header:
    column = header.index(_EPISODE)
    episodes, table = table[:, column], np.delete(table, column, axis=1)
    header = header[:column] + header[column + 1 :]
    numbers = [video.metadata.get("episode") for video in videos]
    return Angles(
      tuple(header),
      [table[episodes == (index if number is None else number)]
       for index, number in enumerate(numbers)],
    )  # fmt: skip
  if len(videos) > 1:
    raise UserError(
      f"expected a column {_EPISODE!r} in {path}, because there are {len(videos)} videos, got "
      f"{', '.join(header)}; add it, or give one video."
    )
  return Angles(tuple(header), [table])
