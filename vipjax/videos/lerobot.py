"""LeRobot data sets, v2.1 and v3, from a local folder: parquet and mp4 (`hub` fetches such).

v3 keeps many episodes in one parquet file and one mp4, and says in `meta/episodes/` where each
begins; v2.1 has a file of each for every episode. Cameras are kept as mp4 (dtype "video") or as
encoded images in the parquet files (dtype "image").
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from vipjax.runtime.errors import UserError
from vipjax.videos.access import damaged, decoding, existing_path
from vipjax.videos.images import decode_images
from vipjax.videos.random_access import VideoFile
from vipjax.videos.selection import ROBOT_FREE, Selection
from vipjax.videos.sources import EvenSource, Source

INFO = "meta/info.json"
_VERSIONS = ("v2.0", "v2.1", "v3.0")
_SUCCESS = "next.success"
_CAMERA_PREFIX = "observation.images."


class LeRobotDataset:
  """Where the episodes of a data set are.

  Attributes:
    root: its folder.
    info: `meta/info.json`.
    cameras: the full names of its cameras, such as "observation.images.top".
    episodes: for each episode its record: "episode_index", "length", "tasks" and, in v3, where its
      data and films are.
  """

  def __init__(self, root: pathlib.Path):
    """Reads the metadata; raises UserError for another version or what cannot be read."""
    self.root = root
    self.info = _read_json(root / INFO)
    version = str(self.info.get("codebase_version"))
    if version not in _VERSIONS and not version.startswith("v3."):
      raise UserError(
        f"expected a LeRobot data set of version {', '.join(_VERSIONS)} in {root}, but it is "
        f"{version}: convert it with lerobot's own scripts."
      )
    self._is_v3 = version.startswith("v3.")
    features = self.info["features"]
    self.cameras = [
      name
      for name, feature in features.items()
      if feature["dtype"] in ("video", "image") and not _is_depth(feature)
    ]
    self.episodes = _episodes_v3(root) if self._is_v3 else _episodes_v2(root)

  @property
  def fps(self) -> float:
    """Frames per second of every camera."""
    return float(self.info["fps"])

  def data_path(self, episode: Mapping[str, Any]) -> pathlib.Path:
    """The parquet file with an episode's rows."""
    return self.root / self._place(self.info["data_path"], episode, "data")

  def film_path(self, episode: Mapping[str, Any], camera: str) -> pathlib.Path:
    """The mp4 with an episode's frames."""
    place = self._place(self.info["video_path"], episode, f"videos/{camera}", video_key=camera)
    return self.root / place

  def film_start(self, episode: Mapping[str, Any], camera: str) -> float:
    """Seconds into the mp4 at which the episode begins."""
    return episode[f"videos/{camera}/from_timestamp"] if self._is_v3 else 0.0

  def is_film(self, camera: str) -> bool:
    """Whether a camera is kept as mp4, not as images among the rows."""
    return self.info["features"][camera]["dtype"] == "video"

  def wanted(self, selection: Selection) -> list[tuple[dict[str, Any], str]]:
    """Episodes and cameras that may be wanted, from their numbers and names; all if none is."""
    pairs = [(episode, camera) for episode in self.episodes for camera in self.cameras]
    return [
      (episode, camera)
      for episode, camera in pairs
      if selection.wants_episode(episode["episode_index"]) and selection.wants_view(_view(camera))
    ] or pairs  # Of all of them the message tells what there is.

  def success(self, episode: Mapping[str, Any]) -> bool | None:
    """Whether an episode ended in success, where the data set says so of its frames."""
    if _SUCCESS not in self.info["features"]:
      return None
    succeeded = _successes(self.data_path(episode))
    return succeeded.get(episode["episode_index"], False)

  def _place(self, template: str, episode: Mapping[str, Any], kind: str, **names: str) -> str:
    index = episode["episode_index"]
    if self._is_v3:
      names |= {key: episode[f"{kind}/{key}"] for key in ("chunk_index", "file_index")}
    chunk = index // int(self.info.get("chunks_size", 1000))
    return template.format(episode_chunk=chunk, episode_index=index, **names)


class _LeRobotSource(EvenSource):
  """One episode of one camera."""

  def __init__(self, dataset: LeRobotDataset, episode: Mapping[str, Any], camera: str):
    self._dataset, self._episode, self._camera = dataset, episode, camera
    self.length = episode["length"]
    view = _view(camera)
    number = episode["episode_index"]
    self.metadata = {
      "fps": dataset.fps,
      "task": "; ".join(episode["tasks"]) or None,
      "embodiment": dataset.info.get("robot_type"),
      "view": view,
      "robot_visible": False if camera.endswith(ROBOT_FREE) else None,
      "success": dataset.success(episode),
      "source": f"{dataset.root}, episode {number}, {camera.removeprefix(_CAMERA_PREFIX)}",
      "episode": number,
    }


class _FilmSource(_LeRobotSource):
  """Frames in an mp4, which may hold other episodes, too."""

  def take(self, positions: Sequence[int]) -> np.ndarray:
    film = VideoFile(
      existing_path(self._dataset.film_path(self._episode, self._camera), "a film of the data set")
    )
    begin = self._dataset.film_start(self._episode, self._camera)
    # Half a frame early: times are rounded.
    first = int(np.searchsorted(film.times, begin - 0.5 / self._dataset.fps))
    if first + self.length > len(film.times):
      raise UserError(
        f"expected {self.length} frames from {begin:.3f} s on in the film of "
        f"{self.metadata['source']}, but it ends earlier: download the data set again."
      )
    return film.read([first + position for position in positions])


class _ImageSource(_LeRobotSource):
  """Encoded images in the episode's rows."""

  def take(self, positions: Sequence[int]) -> np.ndarray:
    path = self._dataset.data_path(self._episode)
    encoded = _encoded(path, self._camera, self._episode["episode_index"])
    if len(encoded) != self.length:
      raise damaged(path, f"it has {len(encoded)} of {self.length} rows of its episode")
    return decode_images([encoded[position] for position in positions], self.metadata["source"])


def lerobot_sources(root: pathlib.Path, selection: Selection) -> list[Source]:
  """The videos of a data set, episode by episode, camera by camera.

  Args:
    root: its folder.
    selection: episodes and cameras that are not wanted are left out, the rest is not looked at.

  Raises:
    UserError: no cameras, another version, or metadata that cannot be read.
  """
  dataset = LeRobotDataset(root)
  if not dataset.cameras:
    raise UserError(
      f"expected a camera among the features of {root}, but it has "
      f"{', '.join(dataset.info['features'])}: pass a data set with images or videos."
    )
  return [
    (_FilmSource if dataset.is_film(camera) else _ImageSource)(dataset, episode, camera)
    for episode, camera in dataset.wanted(selection)
  ]


def _view(camera: str) -> str:
  return camera.removeprefix(_CAMERA_PREFIX).removesuffix(ROBOT_FREE)


def _episodes_v3(root: pathlib.Path) -> list[dict[str, Any]]:
  """The records of all episodes, without their statistics, in order."""
  episodes = []
  for path in sorted((root / "meta/episodes").rglob("*.parquet")):
    with decoding(path):
      names = parquet.read_schema(path).names
      columns = [name for name in names if not name.startswith("stats/")]
      episodes += parquet.read_table(path, columns=columns).to_pylist()
  return sorted(_some(episodes, root), key=lambda episode: episode["episode_index"])


def _episodes_v2(root: pathlib.Path) -> list[dict[str, Any]]:
  path = existing_path(root / "meta/episodes.jsonl", "the episodes of a LeRobot data set")
  with decoding(path):
    return _some([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], root)


def _some(episodes: list[dict[str, Any]], root: pathlib.Path) -> list[dict[str, Any]]:
  if not episodes:
    raise UserError(f"expected at least one episode in {root / 'meta'}, but it lists none: record.")
  return episodes


def _is_depth(feature: Mapping[str, Any]) -> bool:
  info = feature.get("info") or feature.get("video_info") or {}
  return bool(info.get("video.is_depth_map"))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  with decoding(path):
    return json.loads(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=1024)
def _successes(path: pathlib.Path) -> dict[int, bool]:
  """Whether any frame of each episode in a parquet file is a success."""
  found: dict[int, bool] = {}
  with decoding(existing_path(path, "the rows of a LeRobot data set")):
    rows = parquet.read_table(path, columns=["episode_index", _SUCCESS]).to_pydict()
  for episode, success in zip(rows["episode_index"], rows[_SUCCESS], strict=True):
    found[episode] = found.get(episode, False) or bool(np.any(success))
  return found


@functools.lru_cache(maxsize=8)
def _encoded(path: pathlib.Path, camera: str, episode: int) -> list[bytes]:
  """The encoded images of an episode, in the order of its frames."""
  with decoding(existing_path(path, "the rows of a LeRobot data set")):
    columns = ["frame_index", camera]
    table = parquet.read_table(path, columns=columns, filters=[("episode_index", "==", episode)])
    rows = table.sort_by("frame_index").column(camera).to_pylist()
  if any(row["bytes"] is None for row in rows):
    raise damaged(path, "its images are outside of it, which only lerobot's own tools resolve")
  return [row["bytes"] for row in rows]
