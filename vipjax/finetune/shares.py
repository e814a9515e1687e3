"""A run's videos: each process decodes its share and, of the others, what is drawn for it."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import LazyVideo, check_same_size, require_frames


class FrameStore:
  """Decoded videos, the most recently used, up to a number of bytes; safe among threads."""

  def __init__(self, reads: Sequence[Callable[[], Video]], capacity: float):
    """Nothing is decoded yet.

    Args:
      reads: decodes each video.
      capacity: bytes of frames to keep; one video is kept whatever it takes.
    """
    self._reads, self._capacity, self._held = reads, capacity, 0
    self._kept: collections.OrderedDict[int, Video] = collections.OrderedDict()
    self._lock = threading.Lock()
    # Two threads that want one video should not both decode it.
    self._reading = [threading.Lock() for _ in reads]

  def get(self, row: int) -> Video:
    """The video, decoded now unless it is kept; from here on the most recently used."""
    with self._reading[row]:
      with self._lock:
        if row in self._kept:
          self._kept.move_to_end(row)
          return self._kept[row]
      video = self._reads[row]()
      with self._lock:
        self._kept[row] = video
        self._held += video.frames.nbytes
        while self._held > self._capacity and len(self._kept) > 1:
          self._held -= self._kept.popitem(last=False)[1].frames.nbytes
      return video


class StoredFrames:
  """Frames like an array, uint8 [T, H, W, 3], decoded when they are indexed."""

  dtype = np.dtype(np.uint8)

  def __init__(self, store: FrameStore, row: int, shape: tuple[int, ...], source: str):
    self._store, self._row, self._source = store, row, source
    self.shape = shape

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, index) -> np.ndarray:
    frames = self._store.get(self._row).frames
    if frames.shape != self.shape:
      raise UserError(
        f"expected {self._source} to be as it was when the run started, {list(self.shape)}, but it "
        f"is {list(frames.shape)} now: start again with videos that do not change."
      )
    return frames[index]


def read_shares(
  found: Sequence[LazyVideo],
  reads: Sequence[Callable[[], Video]],
  resident_mb: float,
  cache_mb: float,
  process: int = 0,
  processes: int = 1,
  gather: Callable[[np.ndarray], np.ndarray] = hosts.gather,
) -> tuple[list[Video], bool]:
  """Decodes every `processes`-th video, checks all, and exchanges the frames if they are few.

  So every file is decoded, and found to be sound, by one process. Where a device can hold the
  videos each process is sent the others' frames, because any frame may be drawn for any device.
  Else frames stay where they are: those of another process's videos are decoded when they are
  drawn for a device of this one.

  Args:
    found: videos, not yet decoded; at least one, in the same order in all processes.
    reads: decodes each.
    resident_mb: MiB of padded videos that a device may hold.
    cache_mb: MiB of decoded frames that this process keeps; those not used for longest go first.
    process, processes: which one this is, of how many.
    gather: [...] of each process -> [processes, ...] in every process.

  Returns:
    The videos, whose frames are arrays or `StoredFrames`; and whether a device can hold them.

  Raises:
    UserError: as decoding does, videos of fewer than two frames or of different sizes.
  """
  store = FrameStore(reads, max(resident_mb, cache_mb) * 2**20)
  # As many rows in each process, so that they can be gathered: the last may have nothing to say.
  facts = np.zeros((-(-len(found) // processes), 5), np.int32)
  for number, row in enumerate(range(process, len(found), processes)):
    video = store.get(row)
    # A double in two words: JAX's own arrays would round it.
    facts[number] = *video.frames.shape[:3], *np.array([video.fps]).view(np.int32)
  hosts.wait_for_all("read the videos")
  every = gather(facts).swapaxes(0, 1).reshape(-1, facts.shape[1])[: len(found)]
  videos = []
  for row, (lazy, (*shape, low, high)) in enumerate(zip(found, every.tolist(), strict=True)):
    fps = float(np.array([low, high], np.int32).view(np.float64)[0])
    frames = StoredFrames(store, row, (*shape, 3), lazy.metadata["source"])
    videos.append(Video(frames, **{**lazy.metadata, "fps": fps}))
  require_frames(videos, minimum=2)
  check_same_size(videos)
  if padded_megabytes(videos) > resident_mb:
    held = sum(np.prod(video.frames.shape) for video in videos) / 2**20
    if held > cache_mb:
      print(
        f"videos take {held:.0f} MiB, of which data.cache_mb = {cache_mb:g} are kept; the others "
        "are decoded again when they are drawn."
      )
    return videos, False
  if processes == 1:
    return [store.get(row) for row in range(len(found))], True
  return _exchanged(videos, store, process, processes, gather), True


def padded_megabytes(videos: Sequence[Video]) -> float:
  """What a VideoSet of these takes, in MiB."""
  longest = max(len(video.frames) for video in videos)
  return len(videos) * longest * np.prod(videos[0].frames.shape[1:]) / 2**20


def _exchanged(
  videos: Sequence[Video], store: FrameStore, process: int, processes: int, gather: Callable
) -> list[Video]:
  """All videos with their frames, each sent by the process that has decoded it."""
  longest = max(len(video.frames) for video in videos)
  # Of one shape, one video of each process at a time: one program, and memory for a few.
  block = np.zeros((longest, *videos[0].frames.shape[1:]), np.uint8)
  complete = []
  for start in range(0, len(videos), processes):
    if start + process < len(videos):
      frames = store.get(start + process).frames
      block[: len(frames)] = frames
    for video, frames in zip(videos[start : start + processes], gather(block), strict=False):
      complete.append(dataclasses.replace(video, frames=frames[: len(video.frames)]))
  return complete
