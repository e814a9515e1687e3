"""Recorded episodes as a LeRobot data set, format v3.0, without the lerobot package.

Pictures only: videos know no actions. One parquet file with a row for each frame, one mp4 for each
camera with all episodes one after the other.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from vipjax.runtime.errors import UserError
from vipjax.videos.lerobot_stats import (
  ColourCounts,
  Statistics,
  column_statistics,
  statistics_columns,
  write_json,
  write_rows,
)
from vipjax.videos.write import write_video

if TYPE_CHECKING:
  from vipjax.videos.export import Episode

_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_FIRST = {"chunk_index": 0, "file_index": 0}
_UNKNOWN_TASK = "unknown"
# Of so many frames of an episode at most the statistics of colours are taken.
_SAMPLED = 100


def write_lerobot(folder: pathlib.Path, episodes: Sequence[Episode]) -> None:
  """Writes a data set into a new folder.

  Raises:
    UserError: a rate that is no whole number, which LeRobot's metadata cannot say.
  """
  fps = episodes[0].first.fps
  if fps != int(fps):
    raise UserError(
      f"expected a whole number of frames per second for LeRobot, got {fps}; change the frame "
      "stride, or resample."
    )
  tasks = list(dict.fromkeys(_task(episode) for episode in episodes))
  keys = {name: f"observation.images.{name}" for name in episodes[0].cameras}
  for name, key in keys.items():
    frames = np.concatenate([episode.cameras[name].frames for episode in episodes])
    write_video(folder / _VIDEO.format(video_key=key, **_FIRST), frames, fps)
  rows = arrow.table(_rows(episodes, tasks, fps))
  write_rows(folder / _DATA.format(**_FIRST), rows)
  write_json(folder / "meta/info.json", _info(episodes, keys, tasks, int(fps), rows))
  parts, whole = _statistics(episodes, keys, rows)
  write_json(folder / "meta/stats.json", whole)
  places = _places(episodes, keys, fps) | statistics_columns(parts)
  path = folder / "meta/episodes/chunk-000/file-000.parquet"
  path.parent.mkdir(parents=True)
  parquet.write_table(arrow.table(places), path)
  _write_tasks(folder / "meta/tasks.parquet", tasks)


def _rows(episodes: Sequence[Episode], tasks: list[str], fps: float) -> dict[str, arrow.Array]:
  """A row for each frame of each episode."""
  lengths = [len(episode) for episode in episodes]
  frame_index = np.concatenate([np.arange(length) for length in lengths])
  columns: dict[str, Any] = {
    "timestamp": (frame_index / fps).astype(np.float32),
    "frame_index": frame_index,
    "episode_index": np.repeat(np.arange(len(episodes)), lengths),
    "index": np.arange(sum(lengths)),
    "task_index": np.repeat([tasks.index(_task(episode)) for episode in episodes], lengths),
  }
  if all(episode.first.success is not None for episode in episodes):
    last = frame_index == np.repeat(lengths, lengths) - 1
    succeeded = np.repeat([bool(episode.first.success) for episode in episodes], lengths)
    columns["next.success"] = last & succeeded
  return {name: arrow.array(column) for name, column in columns.items()}


def _places(
  episodes: Sequence[Episode], keys: dict[str, str], fps: float
) -> dict[str, arrow.Array]:
  """Where the rows and films of each episode are."""
  lengths = np.array([len(episode) for episode in episodes])
  stops = np.cumsum(lengths)
  zeros = np.zeros(len(episodes), np.int64)
  columns: dict[str, Any] = {
    "episode_index": np.arange(len(episodes)),
    "tasks": [[_task(episode)] for episode in episodes],
    "length": lengths,
    "data/chunk_index": zeros,
    "data/file_index": zeros,
    "dataset_from_index": stops - lengths,
    "dataset_to_index": stops,
    "meta/episodes/chunk_index": zeros,
    "meta/episodes/file_index": zeros,
  }
  for key in keys.values():
    columns[f"videos/{key}/chunk_index"] = zeros
    columns[f"videos/{key}/file_index"] = zeros
    columns[f"videos/{key}/from_timestamp"] = (stops - lengths) / fps
    columns[f"videos/{key}/to_timestamp"] = stops / fps
  return {name: arrow.array(column) for name, column in columns.items()}


def _info(episodes, keys, tasks, fps: int, rows: arrow.Table) -> dict[str, Any]:
  features: dict[str, Any] = {}
  for name, key in keys.items():
    height, width = episodes[0].cameras[name].frames.shape[1:3]
    # Odd sizes grow by a pixel in the film.
    height, width = height + height % 2, width + width % 2
    features[key] = {
      "dtype": "video",
      "shape": [height, width, 3],
      "names": ["height", "width", "channels"],
      "info": {
        "video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps,
        "video.codec": "h264", "video.pix_fmt": "yuv420p", "is_depth_map": False,
        "has_audio": False,
      },
    }  # fmt: skip
  for name in rows.column_names:
    dtype = {"timestamp": "float32", "next.success": "bool"}.get(name, "int64")
    features[name] = {"dtype": dtype, "shape": [1], "names": None}
  return {
    "codebase_version": "v3.0",
    "robot_type": episodes[0].first.embodiment,
    "total_episodes": len(episodes),
    "total_frames": len(rows),
    "total_tasks": len(tasks),
    "chunks_size": 1000,
    "data_files_size_in_mb": 100,
    "video_files_size_in_mb": 200,
    "fps": fps,
    "splits": {"train": f"0:{len(episodes)}"},
    "data_path": _DATA,
    "video_path": _VIDEO,
    "features": features,
  }


def _statistics(
  episodes: Sequence[Episode], keys: dict[str, str], rows: arrow.Table
) -> tuple[list[dict[str, Statistics]], dict[str, Statistics]]:
  """Of every camera and column: those of each episode, and those of all."""

  def taken(rows: arrow.Table, colours: dict[str, ColourCounts]) -> dict[str, Statistics]:
    columns = {name: column_statistics(rows[name].to_numpy()) for name in rows.column_names}
    return {key: counts.statistics() for key, counts in colours.items()} | columns

  parts, whole, start = [], {key: ColourCounts() for key in keys.values()}, 0
  for episode in episodes:
    colours = {}
    for name, key in keys.items():
      frames = episode.cameras[name].frames
      colours[key] = ColourCounts().add(frames[:: -(-len(frames) // _SAMPLED)])
      whole[key].add(frames[:: -(-len(frames) // _SAMPLED)])
    parts.append(taken(rows.slice(start, len(episode)), colours))
    start += len(episode)
  return parts, taken(rows, whole)


def _write_tasks(path: pathlib.Path, tasks: list[str]) -> None:
  """The tasks are the index of a pandas frame; pandas reads that out of the schema's metadata."""
  index = "__index_level_0__"
  kinds = {"task_index": ("int64", "int64"), index: ("unicode", "object")}
  described = {
    "index_columns": [index],
    "column_indexes": [],
    "columns": [
      {
        "name": None if name == index else name, "field_name": name, "pandas_type": kind,
        "numpy_type": dtype, "metadata": None,
      }
      for name, (kind, dtype) in kinds.items()
    ],
    "pandas_version": "2.0.0",
  }  # fmt: skip
  columns = {"task_index": arrow.array(range(len(tasks)), arrow.int64()), index: arrow.array(tasks)}
  table = arrow.table(columns).replace_schema_metadata({"pandas": json.dumps(described)})
  path.parent.mkdir(parents=True, exist_ok=True)
  parquet.write_table(table, path)


def _task(episode: Episode) -> str:
  return episode.first.task or _UNKNOWN_TASK
