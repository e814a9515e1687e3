"""A run's videos: each process decodes its share and, of the others, what is drawn for it."""

from __future__ import annotations

import dataclasses
import threading
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import LazyVideo, check_same_size, require_frames
from vipjax.videos.lazy import FrameCache


class VideoStore:
  """Whole decoded videos, the most recently used, up to a number of bytes; safe among threads."""

  def __init__(self, reads: Sequence[Callable[[], Video]], capacity: float):
    """Nothing is decoded yet; `reads` decodes each video, `capacity` is in bytes of frames."""
    self._reads, self._cache = reads, FrameCache(capacity)
    # Two threads that want one video should not both decode it.
    self._reading = [threading.Lock() for _ in reads]

  def read(self, row: int) -> Video:
    """The video, decoded now; its frames are kept."""
    video = self._reads[row]()
    self._cache.put(row, video.frames)
    return video

  def frames(self, row: int) -> np.ndarray:
    """uint8 [T, H, W, 3], decoded now unless they are kept."""
    with self._reading[row]:
      frames = self._cache.get(row)
      return self.read(row).frames if frames is None else frames

  def limit(self, capacity: float) -> None:
    """Keeps at most so many bytes from here on."""
    self._cache.limit(capacity)


class StoredFrames:
  """Frames like an array, uint8 [T, H, W, 3], decoded when they are indexed."""

  def __init__(self, store: VideoStore, row: int, shape: tuple[int, ...], source: str):
    self._store, self._row, self._source = store, row, source
    self.shape = shape

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, index) -> np.ndarray:
    frames = self._store.frames(self._row)
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

  So every video is decoded, and found to be sound, by one process. (What is known of it is read by
  all, which in data sets like TFDS's lies beside the frames.) Where a device can hold the videos
  each process is sent the others' frames, because any frame may be drawn for any device. Else
  frames stay where they are: those of another process's videos are decoded when they are drawn for
  a device of this one.

  Args:
    found: videos, not yet decoded; at least one, the same ones in all processes.
    reads: decodes each.
    resident_mb: MiB of padded videos that a device may hold.
    cache_mb: MiB of decoded frames that this process keeps if a device cannot hold them; those not
      used for longest go first.
    process, processes: which one this is, of how many.
    gather: [...] of each process -> [processes, ...] in every process.

  Returns:
    The videos, whose frames are arrays or `StoredFrames`; and whether a device can hold them.

  Raises:
    UserError: as decoding does, in whichever process; videos of fewer than two frames, of different
      sizes, or other ones in another process.
  """
  _require_same(found, gather)
  # What a device could hold is not dropped before that is known.
  store = VideoStore(reads, max(resident_mb, cache_mb) * 2**20)
  facts = _gather_facts(store, len(found), process, processes, gather)
  videos = []
  for row, (lazy, (*shape, low, high)) in enumerate(zip(found, facts.tolist(), strict=True)):
    fps = float(np.array([low, high], np.int32).view(np.float64)[0])
    frames = StoredFrames(store, row, (*shape, 3), lazy.metadata["source"])
    videos.append(Video(frames, **{**lazy.metadata, "fps": fps}))
  require_frames(videos, minimum=2)
  check_same_size(videos)
  if padded_megabytes(videos) > resident_mb:
    store.limit(cache_mb * 2**20)
    held = sum(np.prod(video.frames.shape) for video in videos) / 2**20
    if held > cache_mb:
      print(
        f"videos take {held:.0f} MiB, of which data.cache_mb = {cache_mb:g} are kept; the others "
        "are decoded again when they are drawn."
      )
    return videos, False
  if processes == 1:
    videos = [
      dataclasses.replace(video, frames=store.frames(row)) for row, video in enumerate(videos)
    ]
    return videos, True
  return _exchanged(videos, store, process, processes, gather), True


def padded_megabytes(videos: Sequence[Video]) -> float:
  """What a VideoSet of these takes, in MiB."""
  longest = max(len(video.frames) for video in videos)
  return len(videos) * longest * np.prod(videos[0].frames.shape[1:]) / 2**20


def _require_same(found: Sequence[LazyVideo], gather: Callable) -> None:
  """Raises UserError unless all processes found as many videos of the same names in one order."""
  # Without folders: each host may have the videos elsewhere.
  names = "\n".join(
    f"{each['source'].rsplit('/')[-1]} {each.get('episode')} {each.get('view')} "
    f"{each.get('robot_visible')} {each.get('task')}"
    for each in (video.metadata for video in found)
  )
  sums = gather(np.array([len(found), zlib.crc32(names.encode()) >> 1], np.int32))
  if (sums != sums[0]).any():
    raise UserError(
      "expected the same videos in all processes, but they found "
      f"{', '.join(map(str, sums[:, 0].tolist()))}, or others: give all hosts the same ones."
    )


def _gather_facts(
  store: VideoStore, count: int, process: int, processes: int, gather: Callable
) -> np.ndarray:
  """Decodes this process's share; int32 [count, 5]: T, H, W and, in two words, the fps of all."""
  # As many rows in each process, so that they can be gathered: the last may have nothing to say.
  facts = np.zeros((-(-count // processes), 5), np.int32)
  error = None
  try:
    for number, row in enumerate(range(process, count, processes)):
      video = store.read(row)
      # A double in two words: JAX's own arrays would round it.
      facts[number] = *video.frames.shape[:3], *np.array([video.fps], np.float64).view(np.int32)
  except UserError as raised:
    error = raised
  # The others should not have to wait until they notice that this one is gone.
  hosts.wait_for_all("read the videos")
  failed = gather(np.int32(error is not None))
  if error is not None:
    raise error
  if failed.any():
    raise UserError(
      f"expected to be sent the videos that process {int(failed.argmax())} reads, but it could not "
      "read them: its own output names the video; mend it and start all processes again."
    )
  return gather(facts).swapaxes(0, 1).reshape(-1, facts.shape[1])[:count]


def _exchanged(
  videos: Sequence[Video], store: VideoStore, process: int, processes: int, gather: Callable
) -> list[Video]:
  """All videos with their frames, each sent by the process that has decoded it."""
  longest = max(len(video.frames) for video in videos)
  # Of one shape, one video of each process at a time: one program, and memory for a few.
  block = np.zeros((longest, *videos[0].frames.shape[1:]), np.uint8)
  complete = []
  for start in range(0, len(videos), processes):
    if start + process < len(videos):
      frames = store.frames(start + process)
      block[: len(frames)] = frames
    for video, frames in zip(videos[start : start + processes], gather(block), strict=False):
      complete.append(dataclasses.replace(video, frames=frames[: len(video.frames)]))
  return complete
