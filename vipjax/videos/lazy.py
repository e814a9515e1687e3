"""Videos whose frames are decoded when they are asked for."""

from __future__ import annotations

import abc
import collections
import copy
import pathlib
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.images import fit_square, read_image

CACHE_BYTES = 256 * 2**20


class FrameCache:
  """The most recently used decoded frames, up to a number of bytes; safe among threads."""

  def __init__(self, capacity: float = CACHE_BYTES):
    self._capacity, self._bytes = capacity, 0
    self._frames: collections.OrderedDict[Hashable, np.ndarray] = collections.OrderedDict()
    self._lock = threading.Lock()

  def get(self, key: Hashable) -> np.ndarray | None:
    """The frames of a key, which are now the most recently used; None when they are not kept."""
    with self._lock:
      if key in self._frames:
        self._frames.move_to_end(key)
      return self._frames.get(key)

  def put(self, key: Hashable, frames: np.ndarray) -> None:
    """Keeps one frame, or several as one, and drops those that have not been used for longest."""
    with self._lock:
      if key in self._frames or frames.nbytes > self._capacity:
        return
      self._frames[key] = frames
      self._bytes += frames.nbytes
      self._drop()

  def limit(self, capacity: float) -> None:
    """Keeps at most so many bytes from here on."""
    with self._lock:
      self._capacity = capacity
      self._drop()

  def _drop(self) -> None:
    while self._bytes > self._capacity:
      self._bytes -= self._frames.popitem(last=False)[1].nbytes

  @property
  def nbytes(self) -> int:
    """Bytes of all frames that are kept."""
    return self._bytes


class Choice(NamedTuple):
  """The frames that are taken of a video, and their size; see `open_videos`."""

  frame_stride: int = 1
  max_frames: int | None = None
  fps: float | None = None
  size: int | None = None


class LazyVideo(abc.ABC):
  """One video that is decoded as it is indexed: `video[3]`, `video[10:20]`, `video[[5, 0, 5]]`.

  Decoding a film begins at the key frame before the first that is asked for. Each format is a
  subclass, which knows its metadata and decodes frames by their positions in the file; this class
  chooses the positions, fits the frames and keeps them.

  Attributes:
    metadata: the known fields of `Video` other than frames, fps and times; "source" always.
    length: T, the number of frames in the file; a format with `file_times` of its own needs none.
    shape: (T, H, W, 3) of all frames that are taken, once it is known: then it may not change.
  """

  length: int
  shape: tuple[int, ...] | None = None
  _choice, _cache, _is_whole = Choice(), FrameCache(0), False

  def __init__(self, metadata: Mapping[str, Any], stills: Sequence[pathlib.Path] = ()):
    """Decodes nothing yet.

    Args:
      metadata: as above; "fps", where it is known, wins over the file's own.
      stills: images of the file's first and last frame, kept without loss; or none.
    """
    self.metadata = {name: value for name, value in metadata.items() if name != "fps"}
    self.known_fps: float | None = metadata.get("fps")
    self._stills = tuple(stills)
    self._lock = threading.Lock()

  @abc.abstractmethod
  def decode(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    """uint8 [H, W, 3] each: frames of the file at ascending positions; some may be the same.

    Raises:
      UserError: contents that cannot be decoded.
    """

  def steps(self) -> dict[str, np.ndarray]:
    """The numbers of all frames of the file by the names of `formats.episodes.Episode.steps`.

    Each is float32 [T, ...]; what the file does not have is left out.
    """
    return {}

  def name(self, position: int) -> str:
    """The name of a frame of the file in messages."""
    return f"frame {position}"

  def file_fps(self) -> float:
    """Frames per second of the file."""
    return self.known_fps or Video.fps

  def file_times(self) -> np.ndarray:
    """float64 [T], T >= 1, seconds of each frame of the file from the first."""
    return np.arange(self.length) / self.file_fps()

  def chosen(self, choice: Choice, cache: FrameCache) -> LazyVideo:
    """The same video with other frames taken, which another cache keeps."""
    video = copy.copy(self)
    video._choice, video._cache = choice, cache
    return video

  def whole(self, cache: FrameCache) -> LazyVideo:
    """The same video, decoded at once and kept as a whole: for frames drawn at random."""
    video = copy.copy(self)
    video._cache, video._is_whole, video._lock = cache, True, threading.Lock()
    return video

  @property
  def fps(self) -> float:
    """Frames per second that are taken; of a variable rate the mean."""
    return (self._choice.fps or self.file_fps()) / self._choice.frame_stride

  @property
  def times(self) -> np.ndarray:
    """float64 [T], seconds of each frame from the first; even ones where a rate is set."""
    positions = self.positions
    if self._choice.fps is not None:
      return np.arange(len(positions)) / self.fps
    return self.file_times()[positions]

  @property
  def positions(self) -> np.ndarray:
    """int64 [T], the places in the file of the frames that are taken."""
    times = self.file_times()
    if self._choice.fps is None:
      positions = np.arange(len(times))
    else:
      positions = resampled(times, self._choice.fps)
    return positions[:: self._choice.frame_stride][: self._choice.max_frames]

  def __len__(self) -> int:
    return self.shape[0] if self.shape else len(self.positions)

  def __getitem__(self, index: int | slice | Sequence[int]) -> np.ndarray:
    """uint8 [H, W, 3] for a whole number, [len, H, W, 3] for a slice or a list of them."""
    if not isinstance(index, int | np.integer | slice):
      index = np.asarray(index, np.int64)
    chosen = np.arange(len(self))[index]
    if not chosen.size:
      raise UserError(
        f"expected an index of at least one of {len(self)} frames, got {index}; choose some."
      )
    places = np.atleast_1d(chosen)
    frames = self.all_frames()[places] if self._is_whole else self._take(self.positions[places])
    return frames if chosen.ndim else frames[0]

  def evenly(self, most: int) -> np.ndarray:
    """Indices, int64 [T <= most], of frames spread evenly, the first and the last among them.

    Raises:
      UserError: a video of one frame.
    """
    if len(self) < 2:
      raise UserError(
        f"expected at least two frames in {self.metadata['source']}, got {len(self)}; leave it out."
      )
    return evenly(len(self), most)

  def read(self) -> Video:
    """Decodes all frames, past the cache; those that are resized come into memory one by one."""
    frames = self._decoded(self.positions.tolist())
    return Video(frames, self.fps, times=self.times, **self.metadata)

  def all_frames(self) -> np.ndarray:
    """uint8 [T, H, W, 3], decoded unless they are kept, by one thread alone; for reading only."""
    with self._lock:
      frames = self._cache.get(self)
      if frames is None:
        frames = self._decoded(self.positions.tolist())
        self._cache.put(self, frames)
    if self.shape not in (None, frames.shape):
      raise UserError(
        f"expected {self.metadata['source']} to be as it was when the run started, "
        f"{list(self.shape)}, got {list(frames.shape)} now; start again with videos that do not "
        "change."
      )
    return frames

  def _take(self, positions: np.ndarray) -> np.ndarray:
    """Frames of the file, each decoded unless it is kept."""
    frames = {p: self._cache.get((self, p)) for p in set(positions.tolist())}
    missing = sorted(position for position, frame in frames.items() if frame is None)
    if missing:
      for position, frame in zip(missing, self._decoded(missing), strict=True):
        # A copy: a view would keep all that was decoded with it alive.
        frames[position] = frame.copy()
        self._cache.put((self, position), frames[position])
    return np.stack([frames[position] for position in positions.tolist()])

  def _decoded(self, positions: Sequence[int]) -> np.ndarray:
    """Frames of the file at ascending positions, at the size that was chosen."""
    stills = dict(zip((0, len(self.file_times()) - 1), self._stills, strict=False))
    shape, size, frames, source = None, self._choice.size, None, self.metadata["source"]
    for row, (position, frame) in enumerate(zip(positions, self.decode(positions), strict=True)):
      if frame.shape != (shape := shape or frame.shape):
        raise UserError(
          f"expected frames of one size in {source}, got {self.name(positions[0])} of "
          f"{shape[0]}x{shape[1]} and {self.name(position)} of {frame.shape[0]}x{frame.shape[1]}; "
          "bring them to one size, or keep them apart."
        )
      if position in stills:
        frame = _still(stills[position], shape)
      if size:
        frame = fit_square(frame[None], size)[0]
      if frames is None:
        frames = np.empty((len(positions), *frame.shape), np.uint8)
      frames[row] = frame
    return frames


def _still(file: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
  """The image of a frame, which must have its shape."""
  still = read_image(file)
  if still.shape != shape:
    raise UserError(
      f"expected {file} to be of its film's size, {list(shape[:2])}, got {list(still.shape[:2])}; "
      "write the folder again."
    )
  return still


def evenly(count: int, most: int) -> np.ndarray:
  """Indices, int64 [T <= most], spread evenly over `count` items, the first and last among them."""
  return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def resampled(times: np.ndarray, rate: float) -> np.ndarray:
  """The frames that are shown at 0, 1 / rate, 2 / rate, ... seconds, up to the last frame.

  Args:
    times: float64 [T], seconds of each frame, ascending from 0.
    rate: frames per second (> 0); more than the video has repeats frames.

  Returns:
    int64 positions into `times`, at least one.
  """
  # Times are rounded to the units of their file, often milliseconds: 3% of a step at 60 Hz.
  wanted = np.arange(int(times[-1] * rate + 0.05) + 1) / rate
  return np.searchsorted(times, wanted + 0.05 / rate, side="right") - 1
