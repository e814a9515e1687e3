"""The frames of video files, all or some of them, without decoding all that lies before these."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import av
import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import damaged, decoding, opened
from vipjax.videos.containers import check_whole, frame_rate, upright_rgb, video_stream

# Every packet of these is a frame that is shown; other decoders merge some or pass over some.
_A_FRAME_A_PACKET = ("h264", "hevc", "av1", "vp9")
_HEAD = 32
_Frame = tuple[int | None, bool]  # when it is shown, in units of the file; whether it is a key


class _Index(NamedTuple):
  """Where the frames of a file are.

  Attributes:
    times: float64 [T], seconds from the first frame.
    fps: frames per second.
    stamps: int64 [T], when each is shown, in units of the file; meaningless without keys.
    keys: int64 [K], stamps of those that decoding may begin at; none where frames have no address,
      so that they are counted from the start.
  """

  times: np.ndarray
  fps: float
  stamps: np.ndarray
  keys: np.ndarray


@functools.lru_cache(maxsize=256)
def _index(path: pathlib.Path, size: int, modified: int) -> _Index:
  """Looks through a file; `size` and `modified` tell two versions of it apart.

  The packets say which frames there are, but not the last word: decoders drop pictures that refer
  to what was cut off before them, or merge fields. Where the first frames that are decoded are not
  those of the packets, or not all need be, all are decoded to be counted.
  """
  with decoding(path), opened(path) as container:
    stream = _stream(path, container)
    check_whole(path, stream)
    packets: list[_Frame] = []
    head: list[_Frame] = []
    newest_key, any_before_keys = None, False
    for packet in container.demux(stream):
      # The last packet, of size 0, only flushes; an edit list discards packets it hides.
      if packet.size and not packet.is_discard:
        packets.append((packet.pts, packet.is_keyframe))
        if packet.is_keyframe:
          newest_key = packet.pts
        elif None not in (packet.pts, newest_key):
          any_before_keys = any_before_keys or packet.pts < newest_key
      if len(head) < _HEAD:
        head += [(frame.pts, frame.key_frame) for frame in packet.decode()]
    promised = sorted(packet for packet in packets if packet[0] is not None)
    agree = len({stamp for stamp, _ in promised}) == len(packets) and promised[: len(head)] == head
    codec = stream.codec_context.codec
    is_sure = codec.intra_only or codec.canonical_name in _A_FRAME_A_PACKET
    # Where films were cut and joined, those before a key frame may be dropped anywhere.
    is_sure = is_sure and not (codec.canonical_name == "h264" and any_before_keys)
    is_sure = is_sure and len(head) >= _HEAD
    frames = promised if agree and (is_sure or len(head) == len(packets)) else _decoded(path)
    if not frames:
      raise UserError(f"expected at least one frame in {path}, but it holds none: record it again.")
    shown = [stamp for stamp, _ in frames if stamp is not None]
    ascend = len(shown) == len(frames) and shown == sorted(set(shown))
    if not ascend:
      # What avi files state is the order of decoding: wrong, but of the right times.
      shown = sorted({stamp for stamp, _ in promised})
      shown = shown if len(shown) == len(frames) else []
    base = float(stream.time_base)
    ends = (shown[0] * base, shown[-1] * base) if shown else (None, None)
    fps = frame_rate(stream, len(frames), *ends) or Video.fps
    stamps = np.array(shown, np.int64)
    times = (stamps - stamps[0]) * base if shown else np.arange(len(frames)) / fps
    # A palette is given once, and lost by a seek; frames lost in the middle depend on what was
    # decoded before.
    is_counted = container.format.name == "avi" or stream.codec_context.pix_fmt == "pal8"
    if is_counted or not ascend or _after(promised, head[-1]) != _after(frames, head[-1]):
      return _Index(times, fps, stamps, np.zeros(0, np.int64))
    return _Index(times, fps, stamps, np.array([stamp for stamp, is_key in frames if is_key]))


def _after(frames: list[_Frame], last: _Frame) -> list[int]:
  """The stamps after a frame."""
  return [stamp for stamp, _ in frames if stamp > last[0]]


def _stream(path: pathlib.Path, container: av.container.InputContainer) -> av.VideoStream:
  """The moving picture, to be decoded by several threads."""
  stream = video_stream(path, container)
  stream.thread_type = "AUTO"
  return stream


def _decoded(path: pathlib.Path) -> list[_Frame]:
  """All frames, in the order in which they are shown."""
  with opened(path) as container:
    stream = _stream(path, container)
    return [(frame.pts, frame.key_frame) for frame in container.decode(stream)]


class VideoFile:
  """The frames of one video file by their position in presentation order.

  They are those that decoding from the start gives, whichever of them are asked for, turned upright
  by the rotation that the file carries, one for each that the file holds (a variable frame rate is
  not resampled). Transparent pixels (gif) are laid on white. Each `read` opens the file anew, so
  that many of these hold no files open.

  Attributes:
    times: float64 [T], seconds from the first frame.
    fps: frames per second, the `frame_rate`, or `Video`'s default where there is none (a gif of one
      frame).
  """

  def __init__(self, path: pathlib.Path):
    """Indexes the file.

    Raises:
      UserError: no video stream, an unknown codec, no frames, truncated or corrupt contents.
    """
    self._path = path
    with decoding(path):
      status = path.stat()
    index = _index(path, status.st_size, status.st_mtime_ns)
    self.times, self.fps, self._stamps, self._keys = index

  def read(self, positions: Sequence[int]) -> np.ndarray:
    """Decodes some frames, seeking past what is not needed.

    Args:
      positions: at least one, each from 0 to T - 1, in any order, repeated or not.

    Returns:
      uint8 [len(positions), H, W, 3], RGB and upright.

    Raises:
      UserError: damaged contents, or frames that change their size.
    """
    wanted = sorted(set(int(position) for position in positions))
    runs = self._runs(wanted)
    found: dict[int, np.ndarray] = {}
    with decoding(self._path):
      # Nothing before the first stretch and nothing to pass over after it: no seek, no doubt.
      if len(runs) > 1 or (runs and runs[0][0] > 0):
        found = self._seek(runs, wanted)
      if len(found) < len(wanted):
        found |= self._count([position for position in wanted if position not in found])
    missing = [position for position in wanted if position not in found]
    if missing:
      raise damaged(self._path, f"frame {missing[0]} of {len(self.times)} cannot be decoded")
    shapes = {frame.shape for frame in found.values()}
    if len(shapes) > 1:
      sizes = sorted(f"{height}x{width}" for height, width, _ in shapes)
      raise UserError(
        f"expected frames of one size in {self._path}, but they change ({', '.join(sizes)}): "
        "encode it again at one size."
      )
    return np.stack([found[int(position)] for position in positions])

  def _runs(self, wanted: list[int]) -> list[tuple[int, int, int]]:
    """Stretches of `wanted`, each decoded in one go: which key it begins at, and its slice."""
    if not len(self._keys):
      return []
    runs: list[tuple[int, int, int]] = []
    # Of what is shown before the first key too, decoding begins at the start.
    groups = np.searchsorted(self._keys, self._stamps[wanted], side="right") - 1
    groups = np.maximum(groups, 0).tolist()
    for index, group in enumerate(groups):
      # The next group of pictures follows on its own; only a skipped one is worth a seek.
      if runs and group - groups[index - 1] <= 1:
        runs[-1] = (*runs[-1][:2], index + 1)
      else:
        runs.append((group, index, index + 1))
    return runs

  def _seek(self, runs: list[tuple[int, int, int]], wanted: list[int]) -> dict[int, np.ndarray]:
    """The wanted frames by their times, as far as they can be had in this way."""
    found: dict[int, np.ndarray] = {}
    with opened(self._path) as container:
      stream = _stream(self._path, container)
      for group, start, end in runs:
        key = int(self._keys[group])
        if group:
          # Past the end of a stretch a decoder has to be flushed by a seek, even a short one.
          container.seek(key, stream=stream)
        run = self._collect(container.decode(stream), wanted[start:end], key if group else None)
        found |= run
        if len(run) < end - start:
          # Here seeking does not lead where the file says: from now on count.
          self._keys = self._keys[:0]
          break
    return found

  def _collect(
    self, frames: Iterable[av.VideoFrame], wanted: Sequence[int], key: int | None
  ) -> dict[int, np.ndarray]:
    """The wanted frames by their times, up to the last of them.

    After a seek a decoder may lack what it needs, and say nothing: it is trusted from the key frame
    on, and only if it takes that for one itself (frames of a picture that is renewed bit by bit are
    called keys in files alone).
    """
    by_stamp = {int(self._stamps[position]): position for position in wanted}
    last = max(by_stamp)
    found, trusted = {}, key is None
    for frame in frames:
      trusted = trusted or (frame.pts == key and frame.key_frame)
      if trusted and frame.pts in by_stamp and not frame.is_corrupt:
        found[by_stamp.pop(frame.pts)] = upright_rgb(self._path, frame)
      if not by_stamp or (frame.pts is not None and frame.pts > last):
        break
    return found

  def _count(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """The wanted frames by counting from the first."""
    left, found = set(wanted), {}
    # Opened anew: after a seek, even to the start, some decoders lack a palette.
    with opened(self._path) as container:
      stream = _stream(self._path, container)
      for position, frame in enumerate(container.decode(stream)):
        if position in left:
          found[position] = upright_rgb(self._path, frame)
          left.discard(position)
        if not left:
          break
    return found
