"""A run's videos: each process decodes its share, and others when frames are drawn from them."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import LazyVideo, check_same_size, require_frames
from vipjax.videos.lazy import FrameCache


def read_shares(
  found: Sequence[LazyVideo],
  resident_mb: float,
  cache_mb: float,
  process: int = 0,
  processes: int = 1,
  gather: Callable[[np.ndarray], np.ndarray] = hosts.gather,
) -> tuple[list[Video], bool]:
  """Decodes every `processes`-th video, checks all, and exchanges the frames if they are few.

  So one process decodes each video and finds whether it is sound; all read its metadata, which
  costs little. Where a device can hold the videos, each process sends the others its frames,
  because any frame may be drawn for any device. Where none can, each process decodes a video of
  another when a frame of it is drawn for one of its own devices.

  Args:
    found: videos, not yet decoded; at least one, the same ones in all processes.
    resident_mb: MiB of padded videos that a device may hold.
    cache_mb: MiB of decoded frames that this process keeps if a device cannot hold them; those not
      used for longest go first.
    process, processes: which one this is, of how many.
    gather: [...] of each process -> [processes, ...] in every process.

  Returns:
    The videos, whose frames are arrays, or LazyVideos that decode them whole when they are indexed;
    and whether a device can hold them.

  Raises:
    UserError: as decoding does, in whichever process; videos of fewer than two frames, of different
      sizes, or other ones in another process.
  """
  _require_same(found, gather)
  # What a device could hold is not dropped before that is known.
  cache = FrameCache(max(resident_mb, cache_mb) * 2**20)
  found = [video.whole(cache) for video in found]
  facts = _gather_facts(found, process, processes, gather)
  videos = []
  for video, (*shape, low, high) in zip(found, facts.tolist(), strict=True):
    fps = float(np.array([low, high], np.int32).view(np.float64)[0])
    video.shape = (*shape, 3)
    videos.append(Video(video, fps, **video.metadata))
  require_frames(videos, minimum=2)
  check_same_size(videos)
  if padded_megabytes(videos) > resident_mb:
    cache.limit(cache_mb * 2**20)
    held = sum(np.prod(video.shape) for video in found) / 2**20
    if held > cache_mb:
      print(
        f"videos take {held:.0f} MiB, of which data.cache_mb = {cache_mb:g} are kept; the others "
        "are decoded again when they are drawn."
      )
    return videos, False
  if processes == 1:
    return [dataclasses.replace(video, frames=video.frames.all_frames()) for video in videos], True
  return _exchanged(videos, process, processes, gather), True


def padded_megabytes(videos: Sequence[Video]) -> float:
  """The size of a VideoSet of these, in MiB."""
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
      "expected the same videos in all processes, got others, of which they find "
      f"{', '.join(map(str, sums[:, 0].tolist()))}; give all hosts the same ones."
    )


def _gather_facts(
  found: Sequence[LazyVideo], process: int, processes: int, gather: Callable
) -> np.ndarray:
  """Decodes this process's share; int32 [N, 5]: T, H, W and, in two words, the fps of all."""
  # As many rows in each process, so that they can be gathered: the last may have nothing to say.
  facts = np.zeros((-(-len(found) // processes), 5), np.int32)
  error = None
  try:
    for row, video in zip(facts, found[process::processes], strict=False):
      # A double in two words: JAX's own arrays would round it.
      row[:] = *video.all_frames().shape[:3], *np.array([video.fps], np.float64).view(np.int32)
  except UserError as raised:
    error = raised
  # The others should not have to wait until they notice that this one is gone.
  hosts.wait_for_all("read the videos")
  failed = gather(np.int32(error is not None))
  if error is not None:
    raise error
  if failed.any():
    raise UserError(
      f"expected the videos of process {int(failed.argmax())}, got one that it cannot read; mend "
      "the video that its own output names and start all processes again."
    )
  return gather(facts).swapaxes(0, 1).reshape(-1, facts.shape[1])[: len(found)]


def _exchanged(
  videos: Sequence[Video], process: int, processes: int, gather: Callable
) -> list[Video]:
  """All videos with their frames, each sent by the process that has decoded it."""
  longest = max(len(video.frames) for video in videos)
  # Blocks of one shape need one program; one video of each process at a time, little memory.
  block = np.zeros((longest, *videos[0].frames.shape[1:]), np.uint8)
  complete = []
  for start in range(0, len(videos), processes):
    if start + process < len(videos):
      frames = videos[start + process].frames.all_frames()
      block[: len(frames)] = frames
    for video, frames in zip(videos[start : start + processes], gather(block), strict=False):
      complete.append(dataclasses.replace(video, frames=frames[: len(video.frames)]))
  return complete
