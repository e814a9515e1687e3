"""Single frames out of video files, without decoding all that lies before them."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Sequence

import av
import numpy as np

from vipjax.types import Video
from vipjax.videos.access import damaged, decoding
from vipjax.videos.containers import frame_rate, upright_rgb, video_stream


@functools.lru_cache(maxsize=256)
def _index(
  path: pathlib.Path, size: int, modified: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
  """Times of all frames and of key frames, the length of their unit in s, frames per second.

  `size` and `modified` tell two versions of a file apart.
  """
  with decoding(path), av.open(str(path)) as container:
    stream = video_stream(path, container)
    stamps, keys = [], []
    for packet in container.demux(stream):
      # The last packet, of size 0, only flushes; an edit list discards packets it hides.
      if packet.size and not packet.is_discard:
        stamps.append(packet.pts)
        if packet.is_keyframe and packet.pts is not None:
          keys.append(packet.pts)
    if not stamps:
      raise damaged(path, "it holds no frame")
    base = float(stream.time_base)
    # What avi files state is the order of decoding.
    if container.format.name == "avi" or None in stamps or len(set(stamps)) < len(stamps):
      # Without times of their own frames have no address: an empty list of keys says so.
      rate = frame_rate(stream, len(stamps), None, None) or Video.fps
      return np.rint(np.arange(len(stamps)) / (rate * base)), np.zeros(0), base, rate
    stamps.sort()
    rate = frame_rate(stream, len(stamps), stamps[0] * base, stamps[-1] * base) or Video.fps
  return np.array(stamps, np.int64), np.array(sorted(keys), np.int64), base, rate


class VideoFile:
  """The frames of one video file by their position in presentation order.

  Made by reading the file's packets once, without decoding any. Each `read` opens the file anew,
  so that many of these hold no files open.

  Attributes:
    times: float64 [T], seconds from the first frame.
    fps: frames per second, as `read_container` gives them.
  """

  def __init__(self, path: pathlib.Path):
    """Indexes the file; raises UserError as `read_container`, or when it holds no frame."""
    self._path = path
    with decoding(path):
      status = path.stat()
    self._stamps, self._keys, base, self.fps = _index(path, status.st_size, status.st_mtime_ns)
    self.times = (self._stamps - self._stamps[0]) * base

  def read(self, positions: Sequence[int]) -> np.ndarray:
    """Decodes some frames, seeking past what is not needed.

    Args:
      positions: at least one, each from 0 to T - 1, in any order, repeated or not.

    Returns:
      uint8 [len(positions), H, W, 3], RGB and upright.

    Raises:
      UserError: damaged contents.
    """
    wanted = sorted(set(int(position) for position in positions))
    found: dict[int, np.ndarray] = {}
    with decoding(self._path), av.open(str(self._path)) as container:
      stream = video_stream(self._path, container)
      stream.thread_type = "AUTO"
      if len(self._keys):
        for run in self._runs(wanted):
          # Past the end of a stretch a decoder has to be flushed by a seek, even a short one.
          container.seek(int(self._stamps[run[0]]), stream=stream)
          found |= self._collect(container.decode(stream), run)
      if len(found) < len(wanted):
        # Some decoders give frames other times than their packets: count from the start.
        container.seek(0)
        found |= self._count(container.decode(stream), wanted)
    missing = [position for position in wanted if position not in found]
    if missing:
      raise damaged(self._path, f"frame {missing[0]} of {len(self.times)} cannot be decoded")
    return np.stack([found[int(position)] for position in positions])

  def _runs(self, wanted: list[int]) -> list[list[int]]:
    """Positions in stretches, each decoded in one go."""
    runs: list[list[int]] = []
    groups = np.searchsorted(self._keys, self._stamps[wanted], side="right").tolist()
    for index, position in enumerate(wanted):
      # The next group of pictures follows on its own; only a skipped one is worth a seek.
      if runs and groups[index] - groups[index - 1] <= 1:
        runs[-1].append(position)
      else:
        runs.append([position])
    return runs

  def _collect(
    self, frames: Iterator[av.VideoFrame], wanted: Sequence[int]
  ) -> dict[int, np.ndarray]:
    """The wanted frames by their times, up to the last of them."""
    by_stamp = {int(self._stamps[position]): position for position in wanted}
    found = {}
    for frame in frames:
      position = by_stamp.pop(frame.pts, None)
      if position is not None:
        found[position] = upright_rgb(self._path, frame)
      if not by_stamp or (frame.pts is not None and frame.pts > max(by_stamp)):
        break
    return found

  def _count(self, frames: Iterator[av.VideoFrame], wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """The wanted frames by counting from the first."""
    left, found = set(wanted), {}
    for position, frame in enumerate(frames):
      if position in left:
        found[position] = upright_rgb(self._path, frame)
        left.discard(position)
      if not left:
        break
    return found
