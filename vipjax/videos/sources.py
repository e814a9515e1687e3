"""Where one video's frames come from: positions go in, pixels come out."""

from __future__ import annotations

import abc
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import (
  ARRAY_SUFFIXES,
  CONTAINER_SUFFIXES,
  IMAGE_SUFFIXES,
  VIDEO_SUFFIXES,
  decoding,
  listed,
  with_suffix,
)
from vipjax.videos.arrays import read_array, read_fps
from vipjax.videos.formats.folders import apply_metadata, read_images
from vipjax.videos.frame_names import in_sequence
from vipjax.videos.images import read_image
from vipjax.videos.random_access import VideoFile
from vipjax.videos.selection import Selection


class Source(abc.ABC):
  """One video that has not been decoded yet.

  Attributes:
    metadata: fields of `Video` but for its frames, as far as they are known; "source" always.
  """

  metadata: Mapping[str, Any]

  @abc.abstractmethod
  def times(self) -> np.ndarray:
    """float64 [T], T >= 1, seconds of each frame from the first."""

  @abc.abstractmethod
  def take(self, positions: Sequence[int]) -> np.ndarray:
    """uint8 [len(positions), H, W, 3]: the frames at positions 0 to T - 1; at least one."""

  def read(self, frame_stride: int, max_frames: int | None) -> Video:
    """The frames of every n-th position, at most so many; the fps is divided by the stride."""
    positions = range(len(self.times()))[::frame_stride][:max_frames]
    return self.video(
      self.take(positions), self.fps() / frame_stride, self.times()[list(positions)]
    )

  @abc.abstractmethod
  def fps(self) -> float:
    """Frames per second: as the metadata say, else as the frames do."""

  def fits(self, selection: Selection) -> bool:
    """Whether it is wanted."""
    return selection.keeps(self.metadata)

  def video(self, frames: np.ndarray, fps: float, times: np.ndarray) -> Video:
    """Frames with what is known of them."""
    return Video(frames=frames, **{**self.metadata, "fps": fps, "times": times})


class EvenSource(Source):
  """A source whose frames follow one another at the fps of its metadata, or `Video`'s default.

  Attributes:
    length: T.
  """

  length: int

  def times(self) -> np.ndarray:
    return np.arange(self.length) / self.fps()

  def fps(self) -> float:
    return self.metadata.get("fps", Video.fps)


class ContainerSource(Source):
  """A video file that PyAV decodes."""

  def __init__(self, path: pathlib.Path, metadata: Mapping[str, Any]):
    self._path = path
    self.metadata = located(path, metadata)

  @functools.cached_property
  def _file(self) -> VideoFile:
    return VideoFile(self._path)

  def times(self) -> np.ndarray:
    times = self._file.times
    return np.arange(len(times)) / self.metadata["fps"] if "fps" in self.metadata else times

  def fps(self) -> float:
    return self.metadata.get("fps") or self._file.fps

  def take(self, positions: Sequence[int]) -> np.ndarray:
    return self._file.read(positions)


class ArraySource(EvenSource):
  """An npy or npz file, read whole."""

  def __init__(self, path: pathlib.Path, metadata: Mapping[str, Any]):
    self._path, self._given = path, located(path, metadata)

  @property
  def _frames(self) -> np.ndarray:
    with decoding(self._path):
      modified = self._path.stat().st_mtime_ns
    return _last_array(self._path, modified)

  @functools.cached_property
  def metadata(self) -> Mapping[str, Any]:
    return {"fps": read_fps(self._path), **self._given}

  @functools.cached_property
  def length(self) -> int:
    return len(self._frames)

  def take(self, positions: Sequence[int]) -> np.ndarray:
    return self._frames[list(positions)]

  def read(self, frame_stride: int, max_frames: int | None) -> Video:
    video = read_array(self._path, frame_stride, max_frames)
    return apply_metadata(video, self._given, frame_stride)


@functools.lru_cache(maxsize=1)
def _last_array(path: pathlib.Path, modified: int) -> np.ndarray:
  """The frames of a file, kept while it is read piece by piece; `modified` tells its versions."""
  return read_array(path, 1, None).frames


class ImagesSource(EvenSource):
  """A folder of images by the numbers, or the times, in their names."""

  def __init__(self, folder: pathlib.Path, metadata: Mapping[str, Any]):
    self._folder = folder
    self.metadata = located(folder, metadata)

  @functools.cached_property
  def _sequence(self) -> tuple[list[pathlib.Path], np.ndarray | None]:
    images = with_suffix(listed(self._folder), IMAGE_SUFFIXES)
    if not images:
      raise UserError(
        f"expected numbered images in {self._folder}, but it holds none: pass a folder of images."
      )
    return in_sequence(self._folder, images)

  @property
  def length(self) -> int:
    return len(self._sequence[0])

  def times(self) -> np.ndarray:
    _, times = self._sequence
    return super().times() if times is None or "fps" in self.metadata else times

  def fps(self) -> float:
    _, times = self._sequence
    if times is None or "fps" in self.metadata:
      return super().fps()
    return (len(times) - 1) / float(times[-1])

  def take(self, positions: Sequence[int]) -> np.ndarray:
    images, _ = self._sequence
    return read_images(self._folder, [images[position] for position in positions])


class WithStills(Source):
  """A film whose first and last frame lie beside it as images, which a codec has not touched."""

  def __init__(self, film: Source, first: pathlib.Path, last: pathlib.Path):
    self._film, self._files = film, (first, last)
    self.metadata = film.metadata

  def times(self) -> np.ndarray:
    return self._film.times()

  def fps(self) -> float:
    return self._film.fps()

  def take(self, positions: Sequence[int]) -> np.ndarray:
    return self._mended(self._film.take(positions), positions)

  def _mended(self, frames: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """Frames at positions of the film, with the images where they belong."""
    frames = np.array(frames)
    for position, file in zip((0, len(self.times()) - 1), self._files, strict=True):
      chosen = np.asarray(positions) == position
      if chosen.any():
        still = read_image(file)
        if still.shape != frames.shape[1:]:
          raise UserError(
            f"expected {file} to be of its film's size, {list(frames.shape[1:3])}, but got "
            f"{list(still.shape[:2])}: write the folder again."
          )
        frames[chosen] = still
    return frames


def located(path: pathlib.Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
  """What is known, with the path as source where none is: messages need one."""
  return {**metadata, "source": metadata.get("source") or str(path)}


def file_source(path: pathlib.Path, metadata: Mapping[str, Any]) -> Source:
  """The source that a file or a folder of images is, by its suffix; raises UserError for others."""
  suffix = path.suffix.lower()
  if path.is_dir():
    return ImagesSource(path, metadata)
  if suffix in CONTAINER_SUFFIXES:
    return ContainerSource(path, metadata)
  if suffix in ARRAY_SUFFIXES:
    return ArraySource(path, metadata)
  hint = ": use read_image" if suffix in IMAGE_SUFFIXES else ": convert it"
  raise UserError(
    f"expected a video file ({', '.join(VIDEO_SUFFIXES)}) or a folder, "
    f"but got {path} ({suffix or 'no extension'}){hint}."
  )
