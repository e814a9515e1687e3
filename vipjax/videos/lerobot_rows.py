"""The rows of LeRobot data sets: a parquet file holds those of one episode or of many."""

from __future__ import annotations

import functools
import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from vipjax.runtime.errors import UserError
from vipjax.videos.access import damaged, decoding

SUCCESS = "next.success"


class Rows(NamedTuple):
  """What the rows of an episode say, in the order of their frames.

  Attributes:
    times: float64 [T], seconds from the episode's start; None where they do not say.
    success: whether any of them is one; None where they do not say.
    count: T.
  """

  times: np.ndarray | None
  success: bool | None
  count: int


@functools.lru_cache(maxsize=1024)
def read_rows(path: pathlib.Path, modified: int) -> dict[int, Rows]:
  """The rows of each episode in a file; `modified` tells the versions of a file apart.

  Raises:
    UserError: columns are missing or hold no numbers.
  """
  names = ["episode_index", "frame_index"]
  with decoding(path):
    known = parquet.read_schema(path).names
    more = [name for name in ("timestamp", SUCCESS) if name in known]
    table = parquet.read_table(path, columns=[name for name in names if name in known] + more)
  episodes, frames = (_numbers(table, name, path) for name in names)
  times = _numbers(table, "timestamp", path) if "timestamp" in known else None
  succeeded = _flags(table, SUCCESS, path) if SUCCESS in known else None
  order = np.lexsort((frames, episodes))
  numbers, starts = np.unique(episodes[order], return_index=True)
  found = {}
  for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
    found[int(number)] = Rows(
      times=None if times is None else times[here],
      success=None if succeeded is None else bool(succeeded[here].any()),
      count=len(here),
    )
  return found


@functools.lru_cache(maxsize=8)
def encoded_images(path: pathlib.Path, modified: int, camera: str, episode: int) -> list[bytes]:
  """The encoded images of an episode, in the order of its frames; as `read_rows`."""
  with decoding(path):
    if camera not in (known := parquet.read_schema(path).names):
      raise _missing(camera, known, path)
    columns = ["frame_index", camera]
    table = parquet.read_table(path, columns=columns, filters=[("episode_index", "==", episode)])
    # As in `read_rows`: rows of one number stay in the order of the file.
    order = np.argsort(table["frame_index"].to_numpy(), kind="stable")
    rows = table[camera].take(arrow.array(order)).to_pylist()
  images = [row.get("bytes") if isinstance(row, dict) else row for row in rows]
  if not all(isinstance(image, bytes) for image in images):
    raise damaged(path, "its images are outside of it, which only lerobot's own tools resolve")
  return images


def _numbers(table: arrow.Table, name: str, path: pathlib.Path) -> np.ndarray:
  """float64 [len(table)]; whole numbers of rows are far below where that would round them."""
  if name not in table.column_names:
    raise _missing(name, table.column_names, path)
  column = table[name]
  is_number = arrow.types.is_integer(column.type) or arrow.types.is_floating(column.type)
  numbers = column.to_numpy().astype(np.float64) if is_number else np.zeros(0)
  if not is_number or not np.isfinite(numbers).all():  # A null is a nan there.
    came = "some are null or nan" if is_number else f"they are {column.type}"
    raise UserError(
      f"expected numbers in the column {name} of {path}, but {came}: download the data set again."
    )
  return numbers


def _flags(table: arrow.Table, name: str, path: pathlib.Path) -> np.ndarray:
  """bool [len(table)], of single values or of lists of one."""
  kind = table[name].type
  kind = kind.value_type if isinstance(kind, arrow.ListType | arrow.FixedSizeListType) else kind
  if not (arrow.types.is_boolean(kind) or arrow.types.is_integer(kind)):
    raise UserError(
      f"expected true or false in the column {name} of {path}, but they are {kind}: download the "
      "data set again."
    )
  return np.array([bool(np.any(each)) for each in table[name].to_pylist()], bool)


def _missing(name: str, known: list[str], path: pathlib.Path) -> UserError:
  return UserError(
    f"expected a column {name} in {path}, but it has {', '.join(known)}: download the data set "
    "again."
  )
