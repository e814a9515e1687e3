"""LeRobot data sets, v2.1 and v3, in a local folder: parquet and mp4 (`hub` fetches such).

v3 keeps many episodes in one parquet file and one mp4, and says in `meta/episodes/` where each
begins; v2.1 has a file of each for every episode. Cameras are kept as mp4 (dtype "video") or as
encoded images in the parquet files (dtype "image").

Written are data sets of v3.0: one parquet file with a row for each frame, with states and actions
where they are known, one mp4 for each camera with all episodes one after the other. The lerobot
package is not needed.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from vipjax.runtime.errors import UserError
from vipjax.runtime.files import write_json
from vipjax.videos.access import damaged, decoding, existing_path, found_in
from vipjax.videos.decode import VideoFile
from vipjax.videos.formats.episodes import SCALARS, Columns, Episode, check_new, columns_of
from vipjax.videos.formats.fields import (
  INDEX,
  LENGTH,
  OBJECT,
  RATE,
  TEXT,
  TEXTS,
  TIME,
  Fields,
  Kind,
  read_json,
  read_json_lines,
)
from vipjax.videos.images import decode_images
from vipjax.videos.lazy import LazyVideo
from vipjax.videos.selection import ROBOT_FREE, Selection
from vipjax.videos.write import write_video

INFO = "meta/info.json"
# Begins the names of the columns that labels are written to.
LABEL_PREFIX = "embedding."
_STATS = "meta/stats.json"
_EPISODES = "meta/episodes"
_METADATA = "the metadata of a LeRobot data set"
_VERSIONS = ("v2.0", "v2.1", "v3.0")
_CAMERA_PREFIX = "observation.images."
_TIME, _EPISODE, _FRAME, _SUCCESS = "timestamp", "episode_index", "frame_index", "next.success"
# Columns of each frame beside pictures; LeRobot calls the results of a step "next".
_STEPS = {
  "state": "observation.state", "action": "action", "reward": "next.reward",
  "discount": "next.discount",
}  # fmt: skip
_DONE = "next.done"
# Of the time between two rows: so far a film's frame may be from the time of its row. Half of it is
# the most that leaves no doubt which row a frame belongs to; the tenth is for films at 29.97 frames
# a second beside rows at 30, and for rounded times. (LeRobot itself wants 1e-4 s.)
_TOLERANCE = 0.6

# Where data sets that are written here keep their rows and films.
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_FIRST = {"chunk_index": 0, "file_index": 0}
# The statistics of colours are taken of at most so many frames of an episode.
_SAMPLED = 100
# Its policies normalize by these; its editing tools go by the names.
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
# Where lerobot's reward-aware behaviour cloning looks for progress when it is given no path.
_PROGRESS = "sarm_progress.parquet"

# Of one column or camera, by their names.
_Statistics = dict[str, list[Any]]


# Reading.


class EpisodeRecord(Fields):
  """An episode's metadata.

  Attributes:
    number: its "episode_index".
  """

  def __init__(self, values: Any, path: pathlib.Path, row: int):
    super().__init__(values, f"row {row} of {path}")
    self.number = self.value(_EPISODE, INDEX)
    self.place = f"episode {self.number} in {path}"


class LeRobotDataset:
  """The metadata of a data set, and where its episodes are.

  Attributes:
    root: its folder.
    info: `meta/info.json`.
    features: the metadata of each column and camera in it.
    cameras: the full names of its cameras, such as "observation.images.top".
    episodes: all of them, in order.
  """

  def __init__(self, root: pathlib.Path):
    """Reads the metadata; raises UserError for another version or metadata that do not hold."""
    self.root = root
    self.info = Fields(read_json(root / INFO, _METADATA), str(root / INFO))
    version = str(self.info.value("codebase_version", TEXT))
    if version not in _VERSIONS and not version.startswith("v3."):
      raise UserError(
        f"expected a LeRobot data set of version {', '.join(_VERSIONS)} in {root}, got {version}; "
        "convert it with lerobot's own scripts."
      )
    storage = self.info.optional("storage_format", TEXT)
    if storage not in (None, "lerobot"):
      raise UserError(
        f"expected a LeRobot data set of parquet and mp4 files in {root}, got the storage_format "
        f"{storage!r}; convert it with lerobot's own tools."
      )
    self._is_v3 = version.startswith("v3.")
    place = f"the features in {root / INFO}"
    features = Fields(self.info.value("features", OBJECT), place)
    self.features = {
      name: Fields(features.value(name, OBJECT), f"{name} in {place}") for name in features
    }
    self.cameras = [
      name
      for name, feature in self.features.items()
      if feature.value("dtype", TEXT) in ("video", "image") and not _is_depth(feature)
    ]
    self.episodes = _records(root, self._is_v3)

  @property
  def fps(self) -> float:
    """Frames per second of every camera."""
    return float(self.info.value("fps", RATE))

  def data_path(self, episode: EpisodeRecord) -> pathlib.Path:
    """The parquet file with an episode's rows."""
    return self._place("data_path", episode, "data")

  def film_path(self, episode: EpisodeRecord, camera: str) -> pathlib.Path:
    """The mp4 with an episode's frames."""
    return self._place("video_path", episode, f"videos/{camera}", video_key=camera)

  def film_start(self, episode: EpisodeRecord, camera: str) -> float:
    """Seconds into the mp4 at which the episode begins."""
    return episode.value(f"videos/{camera}/from_timestamp", TIME) if self._is_v3 else 0.0

  def is_film(self, camera: str) -> bool:
    """Whether a camera is kept as mp4, not as images among the rows."""
    return self.features[camera].value("dtype", TEXT) == "video"

  def wanted(self, selection: Selection) -> list[tuple[EpisodeRecord, str]]:
    """Episodes and cameras that may be wanted, from their numbers and names; all if none is."""
    pairs = [(episode, camera) for episode in self.episodes for camera in self.cameras]
    return [
      (episode, camera)
      for episode, camera in pairs
      if selection.wants_episode(episode.number) and selection.wants_view(_view(camera))
    ] or pairs  # From all of them the message tells what there is.

  def rows(self, episode: EpisodeRecord) -> _Rows:
    """The rows of an episode; UserError unless there are as many as its length."""
    path, length = self.rows_path(episode), episode.value("length", LENGTH)
    rows = found_in(_read_rows, path).get(episode.number)
    if rows is None or rows.count != length:
      raise UserError(
        f"expected {length} rows of {episode.place} in {path}, got {rows.count if rows else 0}; "
        "mend the length, or download the data set again."
      )
    if rows.success is None and _SUCCESS in self.features:
      raise _misfit(f"a column {_SUCCESS} in {path}, as {self.info.place} has it", "none")
    return rows

  def rows_path(self, episode: EpisodeRecord) -> pathlib.Path:
    """As `data_path`; raises UserError where the file is missing."""
    return existing_path(self.data_path(episode), "the rows of a LeRobot data set")

  def _place(self, name: str, episode: EpisodeRecord, kind: str, **names: Any) -> pathlib.Path:
    template = self.info.value(name, TEXT)
    if self._is_v3:
      names |= {key: episode.value(f"{kind}/{key}", INDEX) for key in _FIRST}
    else:
      size = self.info.optional("chunks_size", LENGTH) or 1000
      names |= {"episode_chunk": episode.number // size, _EPISODE: episode.number}
    try:
      place = pathlib.PurePath(template.format(**names))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
      place = None
    if place is None or place.is_absolute() or ".." in place.parts:
      raise UserError(
        f"expected {name} of {self.info.place} to name files within the data set by "
        f"{', '.join(names)}, got {template!r}; mend it, or download the data set again."
      )
    return self.root / place


class _LeRobotVideo(LazyVideo):
  """One episode of one camera."""

  def __init__(self, dataset: LeRobotDataset, episode: EpisodeRecord, camera: str):
    self._dataset, self._episode, self._camera = dataset, episode, camera
    self.length = episode.value("length", LENGTH)
    super().__init__({
      "fps": dataset.fps,
      "task": "; ".join(episode.optional("tasks", TEXTS) or []) or None,
      "embodiment": dataset.info.optional("robot_type", TEXT),
      "view": _view(camera),
      "robot_visible": False if camera.endswith(ROBOT_FREE) else None,
      "success": dataset.rows(episode).success if _SUCCESS in dataset.features else None,
      "source": f"{dataset.root}, episode {episode.number}, {camera.removeprefix(_CAMERA_PREFIX)}",
      "episode": episode.number,
    })  # fmt: skip

  def steps(self) -> dict[str, np.ndarray]:
    rows = self._dataset.rows_path(self._episode)
    return found_in(_read_steps, rows).get(self._episode.number, {})


class _FilmVideo(_LeRobotVideo):
  """Frames in an mp4, which may hold other episodes, too, and more frames than there are rows."""

  def __init__(self, dataset: LeRobotDataset, episode: EpisodeRecord, camera: str):
    super().__init__(dataset, episode, camera)
    self._path = dataset.film_path(episode, camera)
    self._start = dataset.film_start(episode, camera)

  def file_times(self) -> np.ndarray:
    times = self._row_times()
    return times - times[0]

  def decode(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    film = found_in(VideoFile, existing_path(self._path, "a film of the data set"))
    return film.read(self._places(film.times)[positions])

  def _row_times(self) -> np.ndarray:
    """Seconds of each row, as it says itself, or by the fps where it does not."""
    times = self._dataset.rows(self._episode).times
    if times is None:
      return super().file_times()
    if (np.diff(times) <= 0).any():
      row = 1 + int(np.argmax(np.diff(times) <= 0))
      raise UserError(
        f"expected timestamps that ascend in the rows of {self._episode.place}, got "
        f"{times[row]:g} in row {row} after {times[row - 1]:g}; mend them, or download the "
        "data set again."
      )
    return times

  def _places(self, film: np.ndarray) -> np.ndarray:
    """int64 [T], the film's frame for each row: the nearest of its times."""
    wanted = self._start + self._row_times()
    places = np.searchsorted((film[1:] + film[:-1]) / 2, wanted)
    missed = np.abs(film[places] - wanted) > _TOLERANCE / self.file_fps()
    if missed.any():
      row = int(np.argmax(missed))
      raise UserError(
        f"expected a frame at {wanted[row]:.3f} s in {self._path} for row {row} of "
        f"{self._episode.place}, got the nearest of its {len(film)} at {film[places[row]]:.3f} s, "
        f"where rows are {1 / self.file_fps():.3f} s apart; download the data set again, or "
        "encode its films anew."
      )
    return places


class _ImageVideo(_LeRobotVideo):
  """Encoded images in the episode's rows."""

  def decode(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    self._dataset.rows(self._episode)  # Checks that all are there.
    rows = self._dataset.rows_path(self._episode)
    encoded = _encoded_images(rows, self._camera, self._episode.number)
    return decode_images([encoded[position] for position in positions], self.metadata["source"])


def read_vectors(
  root: pathlib.Path, name: str
) -> tuple[tuple[str, ...] | None, dict[int, np.ndarray]]:
  """A column of vectors, such as the joints' positions in "observation.state".

  Returns:
    The names of its J numbers, None where the metadata have none; and by episode float64 [T, J], a
    row for each frame.

  Raises:
    UserError: no such column, or one that does not hold vectors of one length of numbers.
  """
  dataset = LeRobotDataset(root)
  if name not in dataset.features:
    known = ", ".join(each for each in dataset.features if each not in dataset.cameras)
    raise UserError(f"expected a column {name} in {root}, got {known}; choose one of these.")
  vectors: dict[int, np.ndarray] = {}
  for path in dict.fromkeys(map(dataset.rows_path, dataset.episodes)):
    vectors |= _read_vectors(path, name)
  names = dataset.features[name].optional("names", Kind("names", lambda value: True))
  while isinstance(names, Mapping) and len(names) == 1:  # {"motors": [...]}
    (names,) = names.values()
  return (tuple(names) if TEXTS.holds(names) else None), vectors


def _read_vectors(path: pathlib.Path, name: str) -> dict[int, np.ndarray]:
  """A column of vectors, or of numbers as vectors of one, in a file of rows; as `read_vectors`."""
  with decoding(path):
    _check_column(name, parquet.read_schema(path).names, path)
    table = parquet.read_table(path, columns=[_EPISODE, _FRAME, name])
  episodes, frames = (_numbers(table, key, path) for key in (_EPISODE, _FRAME))
  try:
    values = np.array(table[name].to_pylist(), np.float64)
  except (TypeError, ValueError):
    values = np.zeros(())
  if values.ndim not in (1, 2) or not np.isfinite(values).all():
    raise _misfit(f"a vector of numbers in each row of {name} in {path}", table[name].type)
  values, vectors = values.reshape(len(values), -1), {}
  for episode in np.unique(episodes).tolist():
    here = np.flatnonzero(episodes == episode)
    vectors[int(episode)] = values[here[np.argsort(frames[here], kind="stable")]]
  return vectors


def _read_steps(path: pathlib.Path) -> dict[int, dict[str, np.ndarray]]:
  """By episode the columns of `_STEPS` that a file of rows has, by their names there."""
  with decoding(path):
    columns = parquet.read_schema(path).names
  found: dict[int, dict[str, np.ndarray]] = {}
  for name in _STEPS:
    if _STEPS[name] in columns:
      for episode, values in _read_vectors(path, _STEPS[name]).items():
        kept = values[:, 0] if name in SCALARS else values
        found.setdefault(episode, {})[name] = kept.astype(np.float32)
  return found


def is_dataset(folder: pathlib.Path) -> bool:
  """Whether a folder is a LeRobot data set, even one whose links are dead."""
  return os.path.lexists(folder / INFO)


def lerobot_videos(root: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos of a data set, episode by episode, camera by camera.

  Args:
    root: its folder.
    selection: episodes and cameras that are not wanted are left out, the rest is not looked at.

  Raises:
    UserError: no cameras, another version, or metadata that cannot be read or do not hold.
  """
  dataset = LeRobotDataset(root)
  if not dataset.cameras:
    raise UserError(
      f"expected a camera among the features of {root}, got "
      f"{', '.join(dataset.features) or 'none'}; pass a data set with images or videos."
    )
  return [
    (_FilmVideo if dataset.is_film(camera) else _ImageVideo)(dataset, episode, camera)
    for episode, camera in dataset.wanted(selection)
  ]


def _view(camera: str) -> str:
  return camera.removeprefix(_CAMERA_PREFIX).removesuffix(ROBOT_FREE)


def _is_depth(feature: Fields) -> bool:
  """As LeRobot 0.6 marks it, or as before."""
  parts = [feature.optional(name, OBJECT) or {} for name in ("info", "video_info")]
  return any(
    part.get(name) is True for part in parts for name in ("is_depth_map", "video.is_depth_map")
  )


def _records(root: pathlib.Path, is_v3: bool) -> list[EpisodeRecord]:
  """The episodes in order, without their statistics.

  Raises:
    UserError: there is none, or two have one number.
  """
  found: dict[int, EpisodeRecord] = {}
  lines = root / f"{_EPISODES}.jsonl"
  for path in sorted((root / _EPISODES).rglob("*.parquet")) if is_v3 else [lines]:
    for row, record in enumerate(_read_records(path)):
      episode = EpisodeRecord(record, path, row)
      if found.setdefault(episode.number, episode) is not episode:
        raise UserError(
          f"expected episodes of different numbers in {root / 'meta'}, got two of "
          f"{episode.number}; mend the metadata, or download the data set again."
        )
  if not found:
    raise UserError(f"expected at least one episode in {root / 'meta'}, got none; record one.")
  return [found[number] for number in sorted(found)]


def _read_records(path: pathlib.Path) -> list[Any]:
  if path.suffix == ".jsonl":
    return read_json_lines(path, _METADATA)
  with decoding(existing_path(path, _METADATA)):
    names = parquet.read_schema(path).names
    columns = [name for name in names if not name.startswith("stats/")]
    return parquet.read_table(path, columns=columns).to_pylist()


class _Rows(NamedTuple):
  """The rows of an episode, in the order of their frames.

  Attributes:
    times: float64 [T], seconds from the episode's start; None where they do not say.
    success: whether any of them is one; None where they do not say.
    count: T.
  """

  times: np.ndarray | None
  success: bool | None
  count: int


def _read_rows(path: pathlib.Path) -> dict[int, _Rows]:
  """The rows of each episode in a file.

  Raises:
    UserError: columns are missing or hold no numbers.
  """
  wanted = (_EPISODE, _FRAME, _TIME, _SUCCESS)
  with decoding(path):
    known = set(parquet.read_schema(path).names)
    table = parquet.read_table(path, columns=[name for name in wanted if name in known])
  episodes, frames = (_numbers(table, name, path) for name in (_EPISODE, _FRAME))
  times = _numbers(table, _TIME, path) if _TIME in known else None
  succeeded = _flags(table, _SUCCESS, path) if _SUCCESS in known else None
  order = np.lexsort((frames, episodes))
  numbers, starts = np.unique(episodes[order], return_index=True)
  return {
    int(number): _Rows(
      times=None if times is None else times[here],
      success=None if succeeded is None else bool(succeeded[here].any()),
      count=len(here),
    )
    for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
  }


def _encoded_images(path: pathlib.Path, camera: str, episode: int) -> list[bytes]:
  """The encoded images of an episode, in the order of its frames; as `_read_rows`."""
  with decoding(path):
    _check_column(camera, parquet.read_schema(path).names, path)
    columns, filters = [_FRAME, camera], [(_EPISODE, "==", episode)]
    table = parquet.read_table(path, columns=columns, filters=filters)
    # As in `_read_rows`: rows of one number stay in the order of the file.
    order = np.argsort(table[_FRAME].to_numpy(), kind="stable")
    rows = table[camera].take(arrow.array(order)).to_pylist()
  images = [row.get("bytes") if isinstance(row, dict) else row for row in rows]
  if not all(isinstance(image, bytes) for image in images):
    raise damaged(path, "its images are outside of it, which only lerobot's own tools resolve")
  return images


def _numbers(table: arrow.Table, name: str, path: pathlib.Path) -> np.ndarray:
  """float64 [len(table)]; whole numbers of rows are far below where that would round them."""
  _check_column(name, table.column_names, path)
  column = table[name]
  is_number = arrow.types.is_integer(column.type) or arrow.types.is_floating(column.type)
  numbers = column.to_numpy().astype(np.float64) if is_number else np.zeros(0)
  if not is_number or not np.isfinite(numbers).all():  # A null is a nan there.
    got = "some that are null or nan" if is_number else column.type
    raise _misfit(f"numbers in the column {name} of {path}", got)
  return numbers


def _flags(table: arrow.Table, name: str, path: pathlib.Path) -> np.ndarray:
  """bool [len(table)], of single values or of lists of one."""
  kind = table[name].type
  kind = kind.value_type if isinstance(kind, arrow.ListType | arrow.FixedSizeListType) else kind
  if not (arrow.types.is_boolean(kind) or arrow.types.is_integer(kind)):
    raise _misfit(f"true or false in the column {name} of {path}", kind)
  return np.array([bool(np.any(each)) for each in table[name].to_pylist()], bool)


def _check_column(name: str, known: Collection[str], path: pathlib.Path) -> None:
  if name not in known:
    raise _misfit(f"a column {name} in {path}", ", ".join(known))


def _misfit(expected: str, got: object) -> UserError:
  return UserError(f"expected {expected}, got {got}; download the data set again.")


# Writing.


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
  keys = {name: _CAMERA_PREFIX + name for name in episodes[0].cameras}
  for name, key in keys.items():
    frames = np.concatenate([episode.cameras[name].frames for episode in episodes])
    write_video(folder / _VIDEO.format(video_key=key, **_FIRST), frames, fps)
  rows = _rows(episodes, tasks, fps)
  data, places = folder / _DATA.format(**_FIRST), folder / _EPISODES / "chunk-000/file-000.parquet"
  data.parent.mkdir(parents=True)
  places.parent.mkdir(parents=True)
  _write_rows(data, rows)
  write_json(folder / INFO, _info(episodes, keys, tasks, int(fps), rows))
  parts, whole = _row_statistics(rows, rows.column_names)
  colours, all_colours = _colour_statistics(episodes, keys)
  write_json(folder / _STATS, all_colours | whole)
  statistics = _statistics_columns([
    colours[number] | parts[number] for number in range(len(episodes))
  ])  # fmt: skip
  parquet.write_table(arrow.table(_places(episodes, keys, fps) | statistics), places)
  _write_tasks(folder / "meta/tasks.parquet", tasks)


def _task(episode: Episode) -> str:
  return episode.first.task or "unknown"


def _rows(episodes: Sequence[Episode], tasks: list[str], fps: float) -> arrow.Table:
  """A row for each frame of each episode."""
  lengths = [len(episode) for episode in episodes]
  frame_index = np.concatenate([np.arange(length) for length in lengths])
  columns: dict[str, Any] = {
    _TIME: (frame_index / fps).astype(np.float32),
    _FRAME: frame_index,
    _EPISODE: np.repeat(np.arange(len(episodes)), lengths),
    "index": np.arange(sum(lengths)),
    "task_index": np.repeat([tasks.index(_task(episode)) for episode in episodes], lengths),
  }
  if all(episode.first.success is not None for episode in episodes):
    last = frame_index == np.repeat(lengths, lengths) - 1
    succeeded = np.repeat([bool(episode.first.success) for episode in episodes], lengths)
    columns[_SUCCESS] = last & succeeded
  for name in episodes[0].steps:
    values = np.concatenate([episode.steps[name] for episode in episodes]).astype(np.float32)
    if values.ndim > 1:
      values = arrow.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
    columns[_STEPS[name]] = values
  if episodes[0].steps:
    columns[_DONE] = frame_index == np.repeat(lengths, lengths) - 1
  return arrow.table(columns)


def _places(episodes: Sequence[Episode], keys: dict[str, str], fps: float) -> dict[str, Any]:
  """Where the rows and films of each episode are."""
  lengths = np.array([len(episode) for episode in episodes])
  stops = np.cumsum(lengths)
  zeros = np.zeros(len(episodes), np.int64)
  columns: dict[str, Any] = {
    _EPISODE: np.arange(len(episodes)),
    "tasks": [[_task(episode)] for episode in episodes],
    "length": lengths,
    **{f"data/{key}": zeros for key in _FIRST},
    "dataset_from_index": stops - lengths,
    "dataset_to_index": stops,
    **{f"meta/episodes/{key}": zeros for key in _FIRST},
  }
  for key in keys.values():
    columns |= {f"videos/{key}/{name}": zeros for name in _FIRST}
    columns[f"videos/{key}/from_timestamp"] = (stops - lengths) / fps
    columns[f"videos/{key}/to_timestamp"] = stops / fps
  return columns


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
  features |= {field.name: _feature_of(field.type) for field in rows.schema}
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


def _feature(dtype: str, size: int = 1) -> dict[str, Any]:
  """The metadata of a column of single values, or of vectors of a size."""
  return {"dtype": dtype, "shape": [size], "names": None}


def _feature_of(kind: arrow.DataType) -> dict[str, Any]:
  """The metadata of a column that is written here, from its type."""
  if arrow.types.is_fixed_size_list(kind):
    return _feature("float32", kind.list_size)
  words = {arrow.float32(): "float32", arrow.bool_(): "bool", arrow.int64(): "int64"}
  return _feature(words[kind])


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
  parquet.write_table(table, path)


def _write_rows(path: pathlib.Path, table: arrow.Table) -> None:
  """Writes rows with a row group for each episode, by which LeRobot reads single episodes."""
  starts = np.flatnonzero(np.diff(table[_EPISODE].to_numpy(), prepend=-1))
  with parquet.ParquetWriter(path, table.schema) as writer:
    for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
      writer.write_table(table.slice(start, stop - start), row_group_size=stop - start)


# Statistics.


def _row_statistics(
  rows: arrow.Table, names: Iterable[str]
) -> tuple[dict[int, dict[str, _Statistics]], dict[str, _Statistics]]:
  """Statistics of these columns: of each episode by its number, and of all rows."""
  numbers = rows[_EPISODE].to_numpy()
  columns = {name: _values(rows[name]) for name in names}
  parts = {
    number: {
      name: _column_statistics(values[numbers == number]) for name, values in columns.items()
    }
    for number in np.unique(numbers).tolist()
  }
  return parts, {name: _column_statistics(values) for name, values in columns.items()}


def _values(column: arrow.ChunkedArray) -> np.ndarray:
  """The numbers [T] or vectors [T, J] of a column."""
  if arrow.types.is_fixed_size_list(column.type):
    return np.array(column.to_pylist(), np.float32)
  return column.to_numpy()


def _column_statistics(values: np.ndarray) -> _Statistics:
  """Statistics of a column of numbers [T], each as a list of one, or of vectors [T, J], of J."""
  numbers = values.astype(np.float64)
  stats = {
    "min": values.min(axis=0), "max": values.max(axis=0), "mean": numbers.mean(axis=0),
    "std": numbers.std(axis=0),
  }  # fmt: skip
  stats |= {name: np.quantile(numbers, share, axis=0) for name, share in _QUANTILES.items()}
  lists = {name: np.atleast_1d(value).tolist() for name, value in stats.items()}
  return {**lists, "count": [len(values)]}


def _colour_statistics(
  episodes: Sequence[Episode], keys: Mapping[str, str]
) -> tuple[list[dict[str, _Statistics]], dict[str, _Statistics]]:
  """Statistics of each camera's colours: of each episode in order, and of all."""
  parts: list[dict[str, _Statistics]] = [{} for _ in episodes]
  whole = {}
  for name, key in keys.items():
    counted = []
    for episode, part in zip(episodes, parts, strict=True):
      frames = episode.cameras[name].frames
      frames = frames[:: -(-len(frames) // _SAMPLED)]
      levels = [np.bincount(frames[..., channel].ravel(), minlength=256) for channel in range(3)]
      counted.append((np.stack(levels), len(frames)))
      part[key] = _level_statistics(*counted[-1])
    whole[key] = _level_statistics(*(sum(each) for each in zip(*counted, strict=True)))
  return parts, whole


def _level_statistics(counts: np.ndarray, frames: int) -> _Statistics:
  """Statistics [3, 1, 1] in 0..1 from how often each level occurs, int64 [3, 256], in frames."""
  levels, total = np.arange(256) / 255, counts[0].sum()
  mean = counts @ levels / total
  reached = np.cumsum(counts, axis=1) / total
  stats = {
    "min": levels[np.argmax(counts > 0, axis=1)],
    "max": levels[255 - np.argmax(counts[:, ::-1] > 0, axis=1)],
    "mean": mean,
    "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0)),
    **{name: levels[np.argmax(reached >= share, axis=1)] for name, share in _QUANTILES.items()},
  }
  shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in stats.items()}
  return {**shaped, "count": [frames]}


def _statistics_columns(parts: Sequence[Mapping[str, _Statistics]]) -> dict[str, arrow.Array]:
  """The columns of `meta/episodes` for the statistics of each episode, all of the same names."""
  return {
    f"stats/{name}/{kind}": arrow.array([part[name][kind] for part in parts])
    for name, stats in parts[0].items()
    for kind in stats
  }


# Labelling.


def check_columns(source: pathlib.Path, names: Collection[str]) -> None:
  """Refuses a data set that cannot be copied with columns of these names.

  Raises:
    UserError: it has such columns already, or rows that do not fit the metadata.
  """
  dataset = LeRobotDataset(source)
  for episode in dataset.episodes:
    dataset.rows(episode)
  numbers = {episode.number for episode in dataset.episodes}
  columns = {*dataset.features, *([_PROGRESS] if (source / _PROGRESS).exists() else [])}
  for path in sorted((source / "data").rglob("*.parquet")):
    there = parquet.read_schema(path).names
    _check_column("index", there, path)
    columns |= set(there)
    unknown = set(found_in(_read_rows, path)) - numbers
    if unknown:
      raise UserError(
        f"expected rows of those episodes alone that {source / 'meta'} lists, got rows of episode "
        f"{min(unknown)} in {path}; take the file away, or download the data set again."
      )
  labels = (name for name in columns if name.startswith(LABEL_PREFIX))
  check_new({*names, *labels, _PROGRESS}, columns, source)


def copy_with_columns(source: pathlib.Path, out: pathlib.Path, columns: Columns) -> None:
  """Copies a data set and adds columns of float32, with their features and statistics.

  It also writes the column `embedding.progress` as `sarm_progress.parquet`: index, episode_index,
  frame_index, progress_sparse. By that name lerobot's reward-aware behaviour cloning finds it
  beside the data (`--sample_weighting.type=rabc`); elsewhere by
  `--sample_weighting.progress_path=`.

  Args:
    source: the data set; it stays as it is.
    out: a folder that is not there yet.
    columns: of every episode, `embedding.progress` among them.

  Raises:
    UserError: as `check_columns`, or an episode has no columns or too short ones.
  """
  names = list(next(iter(columns.values()), {}))
  check_columns(source, names)
  shutil.copytree(source, out)
  info = read_json(out / INFO, _METADATA)
  info["features"] |= {name: _feature("float32") for name in names}
  write_json(out / INFO, info)
  files = sorted((out / "data").rglob("*.parquet"))
  rows = arrow.concat_tables(_add_columns(path, columns, names, source) for path in files)
  _add_statistics(out, *_row_statistics(rows, names))
  progress = rows.select(["index", _EPISODE, _FRAME, f"{LABEL_PREFIX}progress"])
  progress = progress.rename_columns([*progress.column_names[:3], "progress_sparse"])
  parquet.write_table(progress, out / _PROGRESS)


def _add_columns(
  path: pathlib.Path, columns: Columns, names: Sequence[str], source: pathlib.Path
) -> arrow.Table:
  """Adds the columns to one file; returns them with the numbers of its rows."""
  # What Hugging Face's library notes of the columns would leave the new ones out.
  table = parquet.read_table(path).replace_schema_metadata(None)
  episodes, frames = (table[name].to_numpy() for name in (_EPISODE, _FRAME))
  added = {name: np.empty(len(table), np.float32) for name in names}
  for episode in np.unique(episodes).tolist():
    here = np.flatnonzero(episodes == episode)
    here = here[np.argsort(frames[here], kind="stable")]
    for name, column in columns_of(columns, int(episode), len(here), source).items():
      added[name][here] = column
  for name, column in added.items():
    table = table.append_column(name, arrow.array(column))
  _write_rows(path, table)
  kinds = {**dict.fromkeys(("index", _EPISODE, _FRAME), arrow.int64())}
  kinds |= dict.fromkeys(names, arrow.float32())
  return table.select(list(kinds)).cast(arrow.schema(kinds.items()))


def _add_statistics(
  root: pathlib.Path, parts: Mapping[int, dict[str, _Statistics]], whole: dict[str, _Statistics]
) -> None:
  """Adds statistics in those places where the data set keeps statistics."""
  path = root / _STATS
  if path.is_file():
    write_json(path, {**read_json(path, _METADATA), **whole})
  path = root / "meta/episodes_stats.jsonl"
  if path.is_file():  # v2.1
    records = read_json_lines(path, _METADATA)
    for record in records:
      record["stats"] |= parts.get(record[_EPISODE], {})
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text, encoding="utf-8")
  for path in sorted((root / _EPISODES).rglob("*.parquet")):
    table = parquet.read_table(path)
    if any(name.startswith("stats/") for name in table.column_names):
      here = [parts[number] for number in table[_EPISODE].to_pylist()]
      for name, column in _statistics_columns(here).items():
        table = table.append_column(name, column)
      parquet.write_table(table, path)
