"""Videos that are one file, or one folder of images."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.types import Video
from vipjax.videos.access import (
  ARRAY_SUFFIXES,
  CONTAINER_SUFFIXES,
  IMAGE_SUFFIXES,
  VIDEO_SUFFIXES,
  decoding,
  found_in,
  listed,
  with_suffix,
)
from vipjax.videos.decode import VideoFile
from vipjax.videos.frame_names import in_sequence
from vipjax.videos.images import read_alpha, read_image
from vipjax.videos.lazy import LazyVideo


def open_file(
  path: pathlib.Path, metadata: Mapping[str, Any], stills: Sequence[pathlib.Path] = ()
) -> LazyVideo:
  """The video that a file or a folder of images is, by its suffix; raises UserError for others.

  Args:
    path: a file or a folder that exists.
    metadata: known fields of `Video`; the path is the source where none is given.
    stills: as `LazyVideo` takes them.
  """
  suffix = path.suffix.lower()
  if path.is_dir():
    kind = _Images
  elif suffix in CONTAINER_SUFFIXES:
    kind = VideoFile
  elif suffix in ARRAY_SUFFIXES:
    kind = _Array
  else:
    advice = "use read_image" if suffix in IMAGE_SUFFIXES else "convert it"
    raise UserError(
      f"expected a video file ({', '.join(VIDEO_SUFFIXES)}) or a folder, got {path} "
      f"({suffix or 'no extension'}); {advice}."
    )
  return _FileVideo(kind, path, metadata, stills)


class _FileVideo(LazyVideo):
  """A video of a file, which may hold the times of its frames."""

  def __init__(self, kind: type, path: pathlib.Path, metadata: Mapping[str, Any], stills: Any):
    super().__init__({**metadata, "source": metadata.get("source") or str(path)}, stills)
    self._kind, self._path = kind, path
    # Any frame of an npz costs as much as all of them.
    self._is_whole = path.suffix.lower() == ".npz"

  @property
  def _file(self) -> Any:
    return found_in(self._kind, self._path)

  @property
  def length(self) -> int:
    return self._file.length

  def file_fps(self) -> float:
    return self.known_fps or self._file.fps

  def file_times(self) -> np.ndarray:
    times = self._file.times
    return super().file_times() if times is None or self.known_fps else times

  def decode(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    return self._file.read(positions)

  def name(self, position: int) -> str:
    return self._file.name(position) if self._is_folder else super().name(position)

  @property
  def _is_folder(self) -> bool:
    return issubclass(self._kind, _Images)

  def alpha(self) -> LazyVideo:
    """See `alpha_of`."""
    if not self._is_folder:
      raise _without_alpha(self.metadata["source"])
    video = copy.copy(self)
    video._kind = _Alphas
    return video


def alpha_of(video: LazyVideo) -> LazyVideo:
  """The alpha channel of a folder of images as a video: white is opaque.

  Raises:
    UserError: the video is of another kind.
  """
  if not isinstance(video, _FileVideo):
    raise _without_alpha(video.metadata["source"])
  return video.alpha()


def _without_alpha(source: str) -> UserError:
  return UserError(
    f"expected a folder of pictures with an alpha channel, got {source}; write its frames as png, "
    "or give masks that are white where the robot is."
  )


class _Images:
  """A folder of images by the numbers, or the times, in their names."""

  def __init__(self, folder: pathlib.Path):
    images = with_suffix(listed(folder), IMAGE_SUFFIXES)
    if not images:
      raise UserError(f"expected numbered images in {folder}, got none; pass a folder of images.")
    self._images, self.times = in_sequence(folder, images)
    self.length = len(images)
    self.fps = Video.fps if self.times is None else (self.length - 1) / float(self.times[-1])

  def read(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    return (read_image(self._images[position]) for position in positions)

  def name(self, position: int) -> str:
    return self._images[position].name


class _Alphas(_Images):
  """The alpha channel of such a folder."""

  def read(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    return (read_alpha(self._images[position]) for position in positions)


class _Array:
  """uint8 [T, H, W, 3] in an npy or npz file; pickled objects are refused.

  An npz holds its frames under the name `frames`, or as its only array, and may hold a number
  `fps`.
  """

  times = None

  def __init__(self, path: pathlib.Path):
    """Reads the header alone."""
    self._path, self.fps = path, Video.fps
    with decoding(path), open(path, "rb") as file:
      if not _is_archive(file):
        shape, dtype = _header(file)
      else:
        # Opened above: np.load leaves a file open that begins like a zip archive and is none.
        with np.load(file) as loaded:
          name = _name_of_frames(path, loaded)
          if "fps" in loaded.files:
            self.fps = _rate(path, loaded["fps"])
          members = {member.removesuffix(".npy"): member for member in loaded.zip.namelist()}
          with loaded.zip.open(members[name]) as member:
            shape, dtype = _header(member)
    check_frames(np.broadcast_to(np.empty((), dtype), shape), f"the frames in {path}")
    self.length = shape[0]

  def read(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    with decoding(self._path), open(self._path, "rb") as file:
      if not _is_archive(file):
        return np.lib.format.open_memmap(self._path, mode="r")[positions]
      with np.load(file) as loaded:
        return loaded[_name_of_frames(self._path, loaded)][positions]


def _is_archive(file: IO[bytes]) -> bool:
  """True for an npz; an npy begins otherwise."""
  start = file.read(2)
  file.seek(0)
  return start == b"PK"


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
  """Shape and dtype of an npy file."""
  is_first = np.lib.format.read_magic(file) == (1, 0)
  read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
  shape, _, dtype = read(file)
  return shape, dtype


def _name_of_frames(path: pathlib.Path, loaded: np.lib.npyio.NpzFile) -> str:
  others = [name for name in loaded.files if name != "fps"]
  if "frames" in others:
    return "frames"
  if len(others) != 1:
    raise UserError(
      f"expected an array named 'frames' in {path}, got {', '.join(loaded.files) or 'none'}; "
      "rename one."
    )
  return others[0]


def _rate(path: pathlib.Path, value: np.ndarray) -> float:
  if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < float(value.item()) < np.inf:
    raise UserError(f"expected 'fps' in {path} to be one positive number, got {value}; correct it.")
  return float(value.item())
