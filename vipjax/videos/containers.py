"""Streams and frames of video containers (mp4, webm, avi, mov, gif, mkv), by PyAV."""

from __future__ import annotations

import pathlib

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation

from vipjax.runtime.errors import UserError
from vipjax.videos.access import damaged

# swscale's fast conversions round downwards, .9 to 1.4 grey levels in the mean, and accurate
# rounding without full chroma interpolation is worse still; together they are right to .1 level.
# All that converts between RGB and YUV uses these, so that a frame read back is not darker.
EXACT_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def video_stream(path: pathlib.Path, container: av.container.InputContainer) -> av.VideoStream:
  """The moving picture in a container; raises UserError when there is none that can be decoded."""
  # `best` passes over the cover picture that some files carry beside their video.
  stream = container.streams.best("video")
  if stream is None:
    raise UserError(f"expected a video stream in {path}, but it holds none: pass a video.")
  if stream.codec_context is None:
    raise UserError(
      f"expected a known codec in {path}, but its pictures cannot be decoded: "
      "encode it again as H.264, or copy it again where it was cut short."
    )
  return stream


def frame_rate(
  stream: av.VideoStream, count: int, first: float | None, last: float | None
) -> float:
  """Frames per second of a stream; 0 where nothing tells.

  As the file states it, unless its frames say otherwise: of a variable rate files state the
  highest, or what the camera was set to; then it is the mean over the frames.

  Args:
    stream: the stream.
    count: how many frames there are.
    first: when the first of them is shown, in s; None where the file does not say.
    last: when the last of them is shown.
  """
  stated = float(stream.average_rate or stream.guessed_rate or 0)
  if first is None or last is None or last <= first:
    return stated
  mean = (count - 1) / (last - first)
  return stated if abs(stated / mean - 1) < 0.02 else mean


def check_whole(path: pathlib.Path, stream: av.VideoStream) -> None:
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
      f"expected {path} to be rotated by quarter turns, but its display matrix is "
      f"[[{a}, {b}], [{c}, {d}]] / 65536: encode it again upright."
    )
  return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
