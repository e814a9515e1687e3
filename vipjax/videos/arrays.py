"""Frames in NumPy files."""

from __future__ import annotations

import pathlib
import zipfile

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import check_frames, decoding


def read_array(path: pathlib.Path, frame_stride: int, max_frames: int | None) -> Video:
  """Reads uint8 [T, H, W, 3] from an `.npy` or `.npz` file; pickled objects are refused.

  An `.npz` holds its frames under the name `frames`, or as its only array, and may hold a number
  `fps`; without it the fps is `Video`'s default. Either is divided by `frame_stride`.

  Raises:
    UserError: no such array, another dtype or shape, or damaged contents.
  """
  # Opened here: np.load leaves a file open that begins like a zip archive and is none.
  with decoding(path), open(path, "rb") as file:
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
      frames, fps = loaded, Video.fps
    else:
      with loaded:
        frames, fps = _frames_of(path, loaded), _fps_of(path, loaded)
  frames = check_frames(frames, f"the frames in {path}")
  kept = np.ascontiguousarray(frames[::frame_stride][:max_frames])
  return Video(frames=kept, fps=fps / frame_stride, source=str(path))


def _frames_of(path: pathlib.Path, loaded: np.lib.npyio.NpzFile) -> np.ndarray:
  if "frames" in loaded.files:
    return loaded["frames"]
  others = [name for name in loaded.files if name != "fps"]
  if len(others) != 1:
    raise UserError(
      f"expected an array named 'frames' in {path}, "
      f"but it holds {', '.join(loaded.files) or 'none'}: rename one."
    )
  return loaded[others[0]]


def read_fps(path: pathlib.Path) -> float:
  """The fps that `read_array` finds, without reading the frames."""
  with decoding(path):
    if not zipfile.is_zipfile(path):
      return Video.fps
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as loaded:
      return _fps_of(path, loaded)


def _fps_of(path: pathlib.Path, loaded: np.lib.npyio.NpzFile) -> float:
  if "fps" not in loaded.files:
    return Video.fps
  value = loaded["fps"]
  if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < float(value.item()) < np.inf:
    raise UserError(
      f"expected 'fps' in {path} to be one positive number, but got {value}: correct it."
    )
  return float(value.item())
