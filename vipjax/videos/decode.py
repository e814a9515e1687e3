"""Video files (mp4, webm, avi, mov, gif, mkv): all of their frames, or some without the rest."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import damaged, decoding, opened

# swscale's fast conversions round downwards, .9 to 1.4 grey levels in the mean, and accurate
# rounding without full chroma interpolation is worse still; together they are right to .1 level.
# All that converts between RGB and YUV uses these, so that a frame read back is not darker.
EXACT_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# Every packet of these is a frame that is shown; other decoders merge some or pass over some.
_A_FRAME_A_PACKET = ("h264", "hevc", "av1", "vp9")
_HEAD = 32
_Frame = tuple[int | None, bool]  # when it is shown, in units of the file; whether it is a key


class VideoFile:
  """The frames of one video file by their position in presentation order.

  They are those that decoding from the start gives, whichever of them are asked for, turned upright
  by the rotation that the file carries, one for each that the file holds (a variable frame rate is
  not resampled). Transparent pixels (gif) are laid on white. Each `read` opens the file anew, so
  that many of these hold no files open.

  Attributes:
    length: T.
    times: float64 [T], seconds from the first frame.
    fps: frames per second, or `Video`'s default where there is none (a gif of one
      frame).
  """

  def __init__(self, path: pathlib.Path):
    """Looks through the file.

    The packets say which frames there are, but not the last word: decoders drop pictures that refer
    to what was cut off before them, or merge fields. Where the first frames that are decoded are
    not those of the packets, or not all need be, all are decoded to be counted.

    Raises:
      UserError: no video stream, an unknown codec, no frames, truncated or corrupt contents.
    """
    self._path = path
    with decoding(path), opened(path) as container:
      stream = _stream(path, container)
      _check_whole(path, stream)
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
      agree = (
        len({stamp for stamp, _ in promised}) == len(packets) and promised[: len(head)] == head
      )
      codec = stream.codec_context.codec
      is_sure = codec.intra_only or codec.canonical_name in _A_FRAME_A_PACKET
      # Where films were cut and joined, those before a key frame may be dropped anywhere.
      is_sure = is_sure and not (codec.canonical_name == "h264" and any_before_keys)
      is_sure = is_sure and len(head) >= _HEAD
      frames = promised if agree and (is_sure or len(head) == len(packets)) else _decoded(path)
      if not frames:
        raise UserError(f"expected at least one frame in {path}, got none; record it again.")
      shown = [stamp for stamp, _ in frames if stamp is not None]
      ascend = len(shown) == len(frames) and shown == sorted(set(shown))
      if not ascend:
        # What avi files state is the order of decoding: wrong, but of the right times.
        shown = sorted({stamp for stamp, _ in promised})
        shown = shown if len(shown) == len(frames) else []
      self.fps = _frame_rate(stream, shown) or Video.fps
      # When each is shown, in units of the file; meaningless without keys.
      self._stamps = np.array(shown, np.int64)
      self.length = len(frames)
      self.times = np.arange(self.length) / self.fps
      if shown:
        self.times = (self._stamps - self._stamps[0]) * float(stream.time_base)
      # A palette is given once, and lost by a seek; frames lost in the middle depend on what was
      # decoded before.
      is_counted = container.format.name == "avi" or stream.codec_context.pix_fmt == "pal8"
      is_counted = is_counted or not ascend
      is_counted = is_counted or _after(promised, head[-1]) != _after(frames, head[-1])
      # The stamps of frames that decoding may begin at; none where frames have no address.
      keys = [] if is_counted else [stamp for stamp, is_key in frames if is_key]
      self._keys = np.array(keys, np.int64)

  def read(self, positions: Sequence[int]) -> Iterator[np.ndarray]:
    """Decodes some frames, seeking past what is not needed.

    Args:
      positions: at least one, each from 0 to T - 1, ascending; some may be the same.

    Yields:
      uint8 [H, W, 3] of each, RGB and upright.

    Raises:
      UserError: damaged contents.
    """
    wanted, repeats = np.unique(positions, return_counts=True)
    wanted = wanted.tolist()
    done = 0
    with decoding(self._path):
      runs = self._runs(wanted)
      # Nothing before the first stretch and nothing to pass over after it: no seek, no doubt.
      is_easy = not runs or (len(runs) == 1 and runs[0][0] is None)
      for read in (self._count,) if is_easy else (self._seek, self._count):
        for frame in read(wanted[done:]):
          yield from itertools.repeat(frame, repeats[done])
          done += 1
        if done == len(wanted):
          return
    raise damaged(self._path, f"frame {wanted[done]} of {len(self.times)} cannot be decoded")

  def _runs(self, wanted: list[int]) -> list[tuple[int | None, list[int]]]:
    """Stretches of `wanted`, each decoded in one go from a key, which is None at the start."""
    keys = self._keys
    if not len(keys):
      return []
    runs: list[tuple[int | None, list[int]]] = []
    # Frames that are shown before the first key are decoded from the start, too.
    groups = np.maximum(np.searchsorted(keys, self._stamps[wanted], side="right") - 1, 0).tolist()
    for index, (position, group) in enumerate(zip(wanted, groups, strict=True)):
      # The next group of pictures follows on its own; only a skipped one is worth a seek.
      if runs and group - groups[index - 1] <= 1:
        runs[-1][1].append(position)
      else:
        runs.append((int(keys[group]) if group else None, [position]))
    return runs

  def _seek(self, wanted: list[int]) -> Iterator[np.ndarray]:
    """The wanted frames by their times, up to the first that cannot be had in this way."""
    with opened(self._path) as container:
      stream = _stream(self._path, container)
      for key, run in self._runs(wanted):
        if key is not None:
          # Past the end of a stretch a decoder has to be flushed by a seek, even a short one.
          container.seek(key, stream=stream)
        left = len(run)
        for frame in self._collect(container.decode(stream), run, key):
          yield frame
          left -= 1
        if left:
          # Here seeking does not lead where the file says: from now on count.
          self._keys = self._keys[:0]
          return

  def _collect(
    self, frames: Iterable[av.VideoFrame], wanted: list[int], key: int | None
  ) -> Iterator[np.ndarray]:
    """The wanted frames by their times, up to the last of them or one that is missed.

    After a seek a decoder may lack what it needs, and say nothing: it is trusted from the key frame
    on, and only if it takes that for one itself (frames of a picture that is renewed bit by bit are
    called keys in files alone).
    """
    stamps, is_trusted = self._stamps[wanted].tolist()[::-1], key is None
    for frame in frames:
      is_trusted = is_trusted or (frame.pts == key and frame.key_frame)
      if frame.pts is None or frame.pts < stamps[-1]:
        continue
      if frame.pts > stamps[-1] or not is_trusted or frame.is_corrupt:
        return
      yield upright_rgb(self._path, frame)
      stamps.pop()
      if not stamps:
        return

  def _count(self, wanted: list[int]) -> Iterator[np.ndarray]:
    """The wanted frames by counting from the first."""
    left = wanted[::-1]
    # Opened anew: after a seek, even to the start, some decoders lack a palette.
    with opened(self._path) as container:
      for position, frame in enumerate(container.decode(_stream(self._path, container))):
        if position == left[-1]:
          yield upright_rgb(self._path, frame)
          left.pop()
        if not left:
          return


def _stream(path: pathlib.Path, container: av.container.InputContainer) -> av.VideoStream:
  """The moving picture, to be decoded by several threads; raises UserError when there is none."""
  # `best` passes over the cover picture that some files carry with their video.
  stream = container.streams.best("video")
  if stream is None:
    raise UserError(f"expected a video stream in {path}, got none; pass a video.")
  if stream.codec_context is None:
    raise UserError(
      f"expected a known codec in {path}, got pictures that cannot be decoded; encode it again as "
      "H.264, or copy it again where it was cut short."
    )
  stream.thread_type = "AUTO"
  return stream


def _decoded(path: pathlib.Path) -> list[_Frame]:
  """All frames, in the order in which they are shown."""
  with opened(path) as container:
    stream = _stream(path, container)
    return [(frame.pts, frame.key_frame) for frame in container.decode(stream)]


def _after(frames: list[_Frame], last: _Frame) -> list[int]:
  """The stamps after a frame."""
  return [stamp for stamp, _ in frames if stamp > last[0]]


def _frame_rate(stream: av.VideoStream, shown: Sequence[int]) -> float:
  """Frames per second as the file states them, or else the mean of its frames; 0 without either.

  The mean is right for a variable rate, where files state the highest or the camera's setting.
  """
  stated = float(stream.average_rate or stream.guessed_rate or 0)
  if len(shown) < 2:
    return stated
  base = float(stream.time_base)
  mean = (len(shown) - 1) / (shown[-1] * base - shown[0] * base)
  return stated if abs(stated / mean - 1) < 0.02 else mean


def _check_whole(path: pathlib.Path, stream: av.VideoStream) -> None:
  """Raises when the file ends before the last frame that its own index promises.

  A file cut short whose index stands at the start decodes without complaint up to the cut.
  """
  size = path.stat().st_size
  entries = list(stream.index_entries)
  missing = sum(entry.pos + entry.size > size for entry in entries)
  if missing:
    raise damaged(path, f"{missing} of its {len(entries)} frames lie beyond its end")


def upright_rgb(path: pathlib.Path, frame: av.VideoFrame) -> np.ndarray:
  """One decoded frame as contiguous uint8 [H, W, 3]."""
  if frame.is_corrupt:
    raise damaged(path, f"the frame at {frame.time} s is damaged")
  if any(component.is_alpha for component in frame.format.components):
    rgba = frame.to_ndarray(format="rgba", interpolation=EXACT_CONVERSION)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    image = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
  else:
    image = frame.to_ndarray(format="rgb24", interpolation=EXACT_CONVERSION)
  # Asked for by its key: iterating gives the values up to PyAV 18 and the keys from 19 on.
  try:
    matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
  except ValueError:
    # Beside a kind that this PyAV does not know (the Exif of a JPEG) it gives none, only the turn.
    image, matrix = np.rot90(image, round(frame.rotation / 90)), None
  if matrix is not None:
    image = _turn(path, image, np.frombuffer(bytes(matrix), np.int32))
  return np.ascontiguousarray(image)


def _turn(path: pathlib.Path, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Applies a display matrix, row-major (a, b, u, c, d, v, x, y, w): x' = ax + cy, y' = bx + dy.

  Only the eight quarter turns and mirror images exist in practice; the offset (x, y) and the scale
  only place the picture on a canvas and are not applied.
  """
  a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
  if a == d == 0 and b != 0 and c != 0:
    image, flip_x, flip_y = image.swapaxes(0, 1), c < 0, b < 0
  elif b == c == 0 and a != 0 and d != 0:
    flip_x, flip_y = a < 0, d < 0
  else:
    raise UserError(
      f"expected {path} to be rotated by quarter turns, got the display matrix "
      f"[[{a}, {b}], [{c}, {d}]] / 65536; encode it again upright."
    )
  return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
