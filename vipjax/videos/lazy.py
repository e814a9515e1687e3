"""Videos whose frames are decoded when they are asked for."""

from __future__ import annotations

import collections
import threading
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.images import fit_square
from vipjax.videos.sources import Source

CACHE_BYTES = 256 * 2**20
_DECODED_AT_ONCE = 64


class FrameCache:
  """Decoded frames by some key, the most recently used, up to so many bytes; safe among threads."""

  def __init__(self, capacity: float = CACHE_BYTES):
    self._capacity, self._bytes = capacity, 0
    self._frames: collections.OrderedDict[Hashable, np.ndarray] = collections.OrderedDict()
    self._lock = threading.Lock()

  def get(self, key: Hashable) -> np.ndarray | None:
    """The frame, which is now the most recently used; None when it is not kept."""
    with self._lock:
      if key not in self._frames:
        return None
      self._frames.move_to_end(key)
      return self._frames[key]

  def put(self, key: Hashable, frame: np.ndarray) -> None:
    """Keeps a frame, or several as one, and drops those that have not been used for longest."""
    with self._lock:
      if key in self._frames or frame.nbytes > self._capacity:
        return
      self._frames[key] = frame
      self._bytes += frame.nbytes
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


class LazyVideo:
  """One video that is decoded as it is indexed: `video[3]`, `video[10:20]`, `video[[5, 0, 5]]`.

  Video files are entered at the key frame before what is asked for; the rest is not decoded.

  Attributes:
    fps: frames per second, after stride and rate; of a variable rate the mean.
    metadata: what is known of it: the other fields of `Video` but for the frames.
  """

  def __init__(
    self,
    source: Source,
    cache: FrameCache,
    frame_stride: int = 1,
    max_frames: int | None = None,
    fps: float | None = None,
  ):
    """Nothing is decoded yet; arguments as those of `read_videos`."""
    self._source, self._cache = source, cache
    self._limits = (frame_stride, max_frames)
    self._rate = fps
    self._positions: np.ndarray | None = None

  @property
  def metadata(self) -> dict[str, Any]:
    return {name: value for name, value in self._source.metadata.items() if name != "fps"}

  @property
  def fps(self) -> float:
    stride, _ = self._limits
    return (self._rate or self._source.fps()) / stride

  def __len__(self) -> int:
    return len(self.positions)

  @property
  def times(self) -> np.ndarray:
    """float64 [T], when each frame is shown, in s from the first; even ones where a rate is set."""
    if self._rate is not None:
      return np.arange(len(self)) / self.fps
    return self._source.times()[self.positions]

  @property
  def positions(self) -> np.ndarray:
    """int64 [T], which frames of the source these are."""
    if self._positions is None:
      times = self._source.times()
      positions = np.arange(len(times))
      if self._rate is not None:
        positions = resampled(times, self._rate)
      stride, limit = self._limits
      self._positions = positions[::stride][:limit]
    return self._positions

  def __getitem__(self, index: int | slice | Sequence[int]) -> np.ndarray:
    """uint8 [H, W, 3] for a whole number, [len, H, W, 3] for a slice or a list of them."""
    if isinstance(index, int | np.integer):
      return self._take(self.positions[[index]])[0]
    chosen = self.positions[index if isinstance(index, slice) else np.asarray(index, np.int64)]
    if not len(chosen):
      raise UserError(f"expected at least one frame, but {index} chooses none of {len(self)}.")
    return self._take(chosen)

  def read(self) -> Video:
    """Decodes all of it, past the cache."""
    if self._rate is None:
      return self._source.read(*self._limits)
    return self._source.video(self._source.take(self.positions), self.fps, self.times)

  def fitted(self, size: int) -> Video:
    """All of it brought to squares by `fit_square`, with few frames at their own size at a time."""
    parts = [
      fit_square(self._source.take(self.positions[start : start + _DECODED_AT_ONCE]), size)
      for start in range(0, len(self), _DECODED_AT_ONCE)
    ]
    return self._source.video(np.concatenate(parts), self.fps, self.times)

  def _take(self, positions: np.ndarray) -> np.ndarray:
    frames = {p: self._cache.get((self._source, p)) for p in set(positions.tolist())}
    missing = sorted(position for position, frame in frames.items() if frame is None)
    if missing:
      decoded = self._source.take(missing)
      for position, frame in zip(missing, decoded, strict=True):
        # A copy: a view would keep all that was decoded with it alive.
        frames[position] = frame.copy()
        self._cache.put((self._source, position), frames[position])
    return np.stack([frames[position] for position in positions.tolist()])


def resampled(times: np.ndarray, rate: float) -> np.ndarray:
  """Which frame is shown at 0, 1 / rate, 2 / rate, ... seconds, up to the last frame.

  Args:
    times: float64 [T], seconds of each frame, ascending from 0.
    rate: frames per second (> 0); more than the video has repeats frames.

  Returns:
    int64 positions into `times`, at least one.
  """
  # Times are rounded to the units of their file, often milliseconds: 3% of a step at 60 Hz.
  wanted = np.arange(int(times[-1] * rate + 0.05) + 1) / rate
  return np.searchsorted(times, wanted + 0.05 / rate, side="right") - 1
