"""LeRobot data sets, v2.1 and v3, from a local folder: parquet and mp4 (`hub` fetches such).

v3 keeps many episodes in one parquet file and one mp4, and says in `meta/episodes/` where each
begins; v2.1 has a file of each for every episode. Cameras are kept as mp4 (dtype "video") or as
encoded images in the parquet files (dtype "image").
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from vipjax.runtime.errors import UserError
from vipjax.videos.access import decoding, existing_path
from vipjax.videos.fields import INDEX, LENGTH, OBJECT, RATE, TEXT, TEXTS, TIME, Fields
from vipjax.videos.images import decode_images
from vipjax.videos.lerobot_rows import SUCCESS, Rows, encoded_images, read_rows
from vipjax.videos.random_access import VideoFile
from vipjax.videos.selection import ROBOT_FREE, Selection
from vipjax.videos.sources import EvenSource, Source

INFO = "meta/info.json"
_VERSIONS = ("v2.0", "v2.1", "v3.0")
_CAMERA_PREFIX = "observation.images."
# Of the time between two rows: so far a film's frame may be from the time of its row. Half of it is
# the most that leaves no doubt which row a frame belongs to; the tenth is for films at 29.97 frames
# a second beside rows at 30, and for rounded times. (LeRobot itself wants 1e-4 s.)
_TOLERANCE = 0.6


class Episode(Fields):
  """The record of an episode.

  Attributes:
    number: its "episode_index".
  """

  def __init__(self, values: Any, path: pathlib.Path, row: int):
    super().__init__(values, f"row {row} of {path}")
    self.number = self.value("episode_index", INDEX)
    self.place = f"episode {self.number} in {path}"


class LeRobotDataset:
  """Where the episodes of a data set are.

  Attributes:
    root: its folder.
    info: `meta/info.json`.
    features: what it says of each column and camera.
    cameras: the full names of its cameras, such as "observation.images.top".
    episodes: all of them, in order.
  """

  def __init__(self, root: pathlib.Path):
    """Reads the metadata; raises UserError for another version or what cannot be read."""
    self.root = root
    self.info = Fields(_read_json(root / INFO), str(root / INFO))
    version = str(self.info.value("codebase_version", TEXT))
    if version not in _VERSIONS and not version.startswith("v3."):
      raise UserError(
        f"expected a LeRobot data set of version {', '.join(_VERSIONS)} in {root}, but it is "
        f"{version}: convert it with lerobot's own scripts."
      )
    storage = self.info.optional("storage_format", TEXT)
    if storage not in (None, "lerobot"):
      raise UserError(
        f"expected a LeRobot data set of parquet and mp4 files in {root}, but its storage_format "
        f"is {storage!r}: convert it with lerobot's own tools."
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
    self.episodes = _numbered(_episodes_v3(root) if self._is_v3 else _episodes_v2(root), root)

  @property
  def fps(self) -> float:
    """Frames per second of every camera."""
    return float(self.info.value("fps", RATE))

  def data_path(self, episode: Episode) -> pathlib.Path:
    """The parquet file with an episode's rows."""
    return self._place("data_path", episode, "data")

  def film_path(self, episode: Episode, camera: str) -> pathlib.Path:
    """The mp4 with an episode's frames."""
    return self._place("video_path", episode, f"videos/{camera}", video_key=camera)

  def film_start(self, episode: Episode, camera: str) -> float:
    """Seconds into the mp4 at which the episode begins."""
    return episode.value(f"videos/{camera}/from_timestamp", TIME) if self._is_v3 else 0.0

  def is_film(self, camera: str) -> bool:
    """Whether a camera is kept as mp4, not as images among the rows."""
    return self.features[camera].value("dtype", TEXT) == "video"

  def wanted(self, selection: Selection) -> list[tuple[Episode, str]]:
    """Episodes and cameras that may be wanted, from their numbers and names; all if none is."""
    pairs = [(episode, camera) for episode in self.episodes for camera in self.cameras]
    return [
      (episode, camera)
      for episode, camera in pairs
      if selection.wants_episode(episode.number) and selection.wants_view(_view(camera))
    ] or pairs  # Of all of them the message tells what there is.

  def rows(self, episode: Episode) -> Rows:
    """What an episode's rows say; UserError unless there are as many as its length."""
    path, modified = self._data(episode)
    rows, length = read_rows(path, modified).get(episode.number), episode.value("length", LENGTH)
    if rows is None or rows.count != length:
      raise UserError(
        f"expected {length} rows of {episode.place} in {path}, but there are "
        f"{rows.count if rows else 0}: mend the length, or download the data set again."
      )
    if rows.success is None and SUCCESS in self.features:
      raise UserError(
        f"expected a column {SUCCESS} in {path}, as {self.info.place} has it, but there is none: "
        "download the data set again."
      )
    return rows

  def images(self, episode: Episode, camera: str) -> list[bytes]:
    """The encoded images of an episode, of a camera that is no film."""
    return encoded_images(*self._data(episode), camera, episode.number)

  def _data(self, episode: Episode) -> tuple[pathlib.Path, int]:
    path = existing_path(self.data_path(episode), "the rows of a LeRobot data set")
    return path, path.stat().st_mtime_ns

  def _place(self, name: str, episode: Episode, kind: str, **names: Any) -> pathlib.Path:
    template = self.info.value(name, TEXT)
    if self._is_v3:
      names |= {key: episode.value(f"{kind}/{key}", INDEX) for key in ("chunk_index", "file_index")}
    else:
      size = self.info.optional("chunks_size", LENGTH) or 1000
      names |= {"episode_chunk": episode.number // size, "episode_index": episode.number}
    try:
      place = pathlib.PurePath(template.format(**names))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
      place = None
    if place is None or place.is_absolute() or ".." in place.parts:
      raise UserError(
        f"expected {name} of {self.info.place} to name files within the data set by "
        f"{', '.join(names)}, but it is {template!r}: mend it, or download the data set again."
      )
    return self.root / place


class _LeRobotSource(EvenSource):
  """One episode of one camera."""

  def __init__(self, dataset: LeRobotDataset, episode: Episode, camera: str):
    self._dataset, self._episode, self._camera = dataset, episode, camera
    self.length = episode.value("length", LENGTH)
    self.metadata = {
      "fps": dataset.fps,
      "task": "; ".join(episode.optional("tasks", TEXTS) or []) or None,
      "embodiment": dataset.info.optional("robot_type", TEXT),
      "view": _view(camera),
      "robot_visible": False if camera.endswith(ROBOT_FREE) else None,
      "success": dataset.rows(episode).success if SUCCESS in dataset.features else None,
      "source": f"{dataset.root}, episode {episode.number}, {camera.removeprefix(_CAMERA_PREFIX)}",
      "episode": episode.number,
    }


class _FilmSource(_LeRobotSource):
  """Frames in an mp4, which may hold other episodes, too, and more frames than there are rows."""

  def __init__(self, dataset: LeRobotDataset, episode: Episode, camera: str):
    super().__init__(dataset, episode, camera)
    self._path = dataset.film_path(episode, camera)
    self._start = dataset.film_start(episode, camera)

  def times(self) -> np.ndarray:
    return self._times - self._times[0]

  def take(self, positions: Sequence[int]) -> np.ndarray:
    return self._film.read(self._places[list(positions)])

  @functools.cached_property
  def _film(self) -> VideoFile:
    return VideoFile(existing_path(self._path, "a film of the data set"))

  @functools.cached_property
  def _times(self) -> np.ndarray:
    """Seconds of each row, as it says itself, or by the fps where it does not."""
    times = self._dataset.rows(self._episode).times
    if times is None:
      return super().times()
    if (np.diff(times) <= 0).any():
      row = 1 + int(np.argmax(np.diff(times) <= 0))
      raise UserError(
        f"expected timestamps that ascend in the rows of {self._episode.place}, but row {row} has "
        f"{times[row]:g} after {times[row - 1]:g}: mend them, or download the data set again."
      )
    return times

  @functools.cached_property
  def _places(self) -> np.ndarray:
    """int64 [T], which frame of the film each row has: that nearest in time."""
    film = self._film.times
    wanted = self._start + self._times
    places = np.searchsorted((film[1:] + film[:-1]) / 2, wanted)
    missed = np.abs(film[places] - wanted) > _TOLERANCE / self.fps()
    if missed.any():
      row = int(np.argmax(missed))
      raise UserError(
        f"expected a frame at {wanted[row]:.3f} s in {self._path} for row {row} of "
        f"{self._episode.place}, but the nearest of its {len(film)} is at {film[places[row]]:.3f} "
        f"s, and rows are {1 / self.fps():.3f} s apart: download the data set again, or encode its "
        "films anew."
      )
    return places


class _ImageSource(_LeRobotSource):
  """Encoded images in the episode's rows."""

  def take(self, positions: Sequence[int]) -> np.ndarray:
    self._dataset.rows(self._episode)  # That they are all there.
    encoded = self._dataset.images(self._episode, self._camera)
    return decode_images([encoded[position] for position in positions], self.metadata["source"])


def is_dataset(folder: pathlib.Path) -> bool:
  """Whether a folder is a LeRobot data set, be it one whose links are dead."""
  return os.path.lexists(folder / INFO)


def lerobot_sources(root: pathlib.Path, selection: Selection) -> list[Source]:
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
      f"expected a camera among the features of {root}, but it has "
      f"{', '.join(dataset.features) or 'none'}: pass a data set with images or videos."
    )
  return [
    (_FilmSource if dataset.is_film(camera) else _ImageSource)(dataset, episode, camera)
    for episode, camera in dataset.wanted(selection)
  ]


def _view(camera: str) -> str:
  return camera.removeprefix(_CAMERA_PREFIX).removesuffix(ROBOT_FREE)


def _episodes_v3(root: pathlib.Path) -> list[Episode]:
  """The records of all episodes, without their statistics."""
  episodes = []
  for path in sorted((root / "meta/episodes").rglob("*.parquet")):
    with decoding(existing_path(path, "the episodes of a LeRobot data set")):
      names = parquet.read_schema(path).names
      columns = [name for name in names if not name.startswith("stats/")]
      records = parquet.read_table(path, columns=columns).to_pylist()
    episodes += [Episode(record, path, row) for row, record in enumerate(records)]
  return episodes


def _episodes_v2(root: pathlib.Path) -> list[Episode]:
  path = existing_path(root / "meta/episodes.jsonl", "the episodes of a LeRobot data set")
  with decoding(path):
    # Not `splitlines`: JSON may hold other signs that Unicode ends a line with.
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line.strip()]
  return [Episode(record, path, row) for row, record in enumerate(records)]


def _numbered(episodes: list[Episode], root: pathlib.Path) -> list[Episode]:
  """The episodes in order; UserError when there is none, or two of one number."""
  if not episodes:
    raise UserError(f"expected at least one episode in {root / 'meta'}, but it lists none: record.")
  found = {episode.number: episode for episode in reversed(episodes)}
  for episode in episodes:
    if found[episode.number] is not episode:
      raise UserError(
        f"expected episodes of different numbers in {root / 'meta'}, but two are {episode.number}: "
        "mend the metadata, or download the data set again."
      )
  return sorted(episodes, key=lambda episode: episode.number)


def _is_depth(feature: Fields) -> bool:
  """As LeRobot 0.6 marks it, or as before."""
  parts = [feature.optional(name, OBJECT) or {} for name in ("info", "video_info")]
  return any(
    part.get(name) is True for part in parts for name in ("is_depth_map", "video.is_depth_map")
  )


def _read_json(path: pathlib.Path) -> Any:
  with decoding(existing_path(path, "the metadata of a LeRobot data set")):
    return json.loads(path.read_text(encoding="utf-8"))
