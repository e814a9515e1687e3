"""Video files that people can play."""

from __future__ import annotations

import fractions
import math
import os
import pathlib

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.videos.access import whole_file
from vipjax.videos.decode import EXACT_CONVERSION

# ITU-T H.273 number of BT.709, for primaries, transfer and matrix alike. Stated in the file,
# because players guess differently when it is not.
_BT709 = 1
# swscale centres a colour sample between its four pixels, where H.264 by default has it on the left
# two: unsaid, colours come back half a pixel to the side.
_CHROMA_AT_CENTRE = "chromaloc=1"
# The unit of times that are not even, in s.
_UNIT = fractions.Fraction(1, 90_000)


def write_video(
  path: str | os.PathLike[str],
  frames: np.ndarray,
  fps: float,
  *,
  times: np.ndarray | None = None,
  crf: int = 12,
  overwrite: bool = False,
) -> None:
  """Writes an mp4 (H.264, yuv420p: any browser plays it), or a small gif for a preview.

  The file appears under its name only when it is whole; folders on the way are made. An mp4 keeps
  every frame and the fps. H.264 in yuv420p needs even sizes: an odd height or width grows by one
  pixel, a copy of the last row or column. Colour is stored at half the resolution, so a frame that
  is read back resembles the one written and does not equal it; use an `.npz` where that matters. A
  gif has 256 colours a frame, times in hundredths of a second, and merges equal neighbours.

  Args:
    path: a name that ends in `.mp4` or `.gif`.
    frames: uint8 [T, H, W, 3], T >= 1.
    fps: frames per second (> 0).
    times: float [T], when each frame is shown, in s from the first, ascending, as `Video.times`;
      None, or ones that differ from the fps by less than a tenth of a frame, show them at the fps.
    crf: constant rate factor of the mp4, 0 (best) to 51 (smallest); 12 is hard to tell from the
      original.
    overwrite: whether a file that is there may be replaced.

  Raises:
    UserError: frames of another dtype or rank, an fps or crf out of range, times that do not ascend
      or are not one for each frame, another suffix, or the file is there already.
  """
  path = pathlib.Path(path).expanduser()
  frames = np.asarray(check_frames(frames))
  if not (math.isfinite(fps) and fps > 0):
    raise UserError(f"expected a finite fps above 0, got {fps}; pass frames per second.")
  if not 0 <= crf <= 51:
    raise UserError(f"expected a crf from 0 (best) to 51 (smallest), got {crf}; change it.")
  suffix = path.suffix.lower()
  if suffix not in (".mp4", ".gif"):
    raise UserError(f"expected a video name ending in .mp4 or .gif, got {path}; rename it.")
  if times is not None and (np.shape(times) != (len(frames),) or (np.diff(times) <= 0).any()):
    raise UserError(
      f"expected {len(frames)} ascending times, one for each frame, got {np.shape(times)} from "
      f"{np.min(times)} to {np.max(times)}; pass seconds from the first frame."
    )
  times = times if are_uneven(times, fps) else None
  with whole_file(path, overwrite) as partial:
    if suffix == ".mp4":
      _write_mp4(partial, frames, fps, times, crf)
    else:
      _write_gif(partial, frames, fps, times)


def are_uneven(times: np.ndarray | None, fps: float) -> bool:
  """True where a frame is off its place by the fps by more than a tenth of a frame."""
  return times is not None and bool((np.abs(times * fps - np.arange(len(times))) > 0.1).any())


def even_sizes(frames: np.ndarray) -> np.ndarray:
  """Frames whose height and width are even: an odd one grows by a copy of its last line."""
  height, width = frames.shape[1:3]
  return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _write_mp4(
  path: pathlib.Path, frames: np.ndarray, fps: float, times: np.ndarray | None, crf: int
) -> None:
  padded = even_sizes(frames)
  rate = fractions.Fraction(fps).limit_denominator(1001)
  unit, stamps = 1 / rate, np.arange(len(frames))
  if times is not None:
    unit, stamps = _UNIT, np.rint(times / float(_UNIT)).astype(np.int64)
  # The index goes to the front, so that a browser can start before it has the whole file.
  options = {"movflags": "+faststart"}
  # By its absolute name: FFmpeg takes a relative one with a colon for an address.
  with av.open(os.path.abspath(path), "w", format="mp4", options=options) as container:
    stream = container.add_stream("libx264", rate=rate)
    stream.codec_context.time_base = unit
    stream.height, stream.width = padded.shape[1:3]
    stream.pix_fmt = "yuv420p"
    # Without it x264 lets vector code, which differs by processor, weigh blocks by their descent
    # ("mbtree"): films of 32 pixels then come out differently (docs/results/faults.md).
    stream.options = {"crf": str(crf), "x264-params": f"cpu-independent=1:{_CHROMA_AT_CENTRE}"}
    stream.codec_context.colorspace = _BT709
    stream.codec_context.color_primaries = _BT709
    stream.codec_context.color_trc = _BT709
    stream.codec_context.color_range = ColorRange.MPEG
    for stamp, image in zip(stamps.tolist(), padded, strict=True):
      frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT_CONVERSION,
      )
      frame.pts, frame.time_base = stamp, unit
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _write_gif(
  path: pathlib.Path, frames: np.ndarray, fps: float, times: np.ndarray | None
) -> None:
  images = [Image.fromarray(frame) for frame in frames]
  shown: float | list[float] = 1000 / fps
  if times is not None:
    # In whole hundredths of a second, so that roundings do not add up; the last as in the mean.
    shown = [*np.maximum(10 * np.diff(np.rint(100 * times)), 10).tolist(), 1000 / fps]
  images[0].save(
    path, format="GIF", save_all=True, append_images=images[1:], duration=shown, loop=0
  )
