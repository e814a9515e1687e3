"""Which reader takes which path: a file by its suffix, a folder by what it holds."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import (
  ARRAY_SUFFIXES,
  CONTAINER_SUFFIXES,
  IMAGE_SUFFIXES,
  VIDEO_SUFFIXES,
  existing_path,
  listed,
  permitted,
  with_suffix,
)
from vipjax.videos.arrays import read_array
from vipjax.videos.containers import read_container
from vipjax.videos.folders import MANIFEST, apply_metadata, read_frame_folder, read_manifest


def read_video(
  path: str | os.PathLike[str], *, frame_stride: int = 1, max_frames: int | None = None
) -> Video:
  """Reads one video.

  Args:
    path: a video file, an array file, a folder of numbered images, or any folder that
      `read_videos` takes and that holds exactly one video.
    frame_stride: keep every n-th frame, from the first; the fps is divided by it.
    max_frames: keep at most so many frames (counted after the stride); None keeps all.

  Returns:
    The video, frames uint8 [T, H, W, 3], RGB and upright, T >= 1.

  Raises:
    UserError: as `read_videos`, or the folder holds several videos.
  """
  _check_limits(frame_stride, max_frames)
  # Several videos are refused before any is decoded.
  found = _find_videos(path)
  if len(found) > 1:
    raise UserError(
      f"expected one video in {path}, but it holds {len(found)}: "
      "pass one of them, or use read_videos."
    )
  return found[0].read(frame_stride, max_frames)


def read_videos(
  path: str | os.PathLike[str], *, frame_stride: int = 1, max_frames: int | None = None
) -> list[Video]:
  """Reads every video at a path.

  The path is one of
  - a file: mp4, webm, avi, mov, gif or mkv; npz or npy with uint8 frames [T, H, W, 3];
  - a folder with `videos.json`, as `write_videos` makes it: the videos that it lists, in its
    order, with the metadata that it gives (its fps wins over the file's);
  - a folder of numbered png or jpg images: one video (VIP's layout);
  - a folder of video files and of such image folders: those videos in natural order. Other files
    and hidden ones are passed over.

  Args:
    path: see above.
    frame_stride: keep every n-th frame of each video, from the first; the fps is divided by it.
    max_frames: keep at most so many frames of each video (counted after the stride); None keeps
      all.

  Returns:
    At least one video; frames uint8 [T, H, W, 3], RGB and upright, T >= 1.

  Raises:
    UserError: nothing is at the path, permission is denied, the format is unknown, there are no
      videos or no frames, a file is truncated or corrupt, or a manifest does not hold.
  """
  _check_limits(frame_stride, max_frames)
  found = _find_videos(path)
  return [source.read(frame_stride, max_frames) for source in found]


class _Source(NamedTuple):
  """A place that holds one video, and what a manifest says of it."""

  path: pathlib.Path
  metadata: Mapping[str, Any] = {}

  def read(self, frame_stride: int, max_frames: int | None) -> Video:
    if self.path.is_dir():
      images = with_suffix(listed(self.path), IMAGE_SUFFIXES)
      if not images:
        raise UserError(
          f"expected numbered images in {self.path}, but it holds none: pass a folder of images."
        )
      video = read_frame_folder(self.path, images, frame_stride, max_frames)
    else:
      video = _read_file(self.path, frame_stride, max_frames)
    return apply_metadata(video, self.metadata, frame_stride)


def _read_file(path: pathlib.Path, frame_stride: int, max_frames: int | None) -> Video:
  """The reader of a file, by its suffix."""
  suffix = path.suffix.lower()
  if suffix in CONTAINER_SUFFIXES:
    return read_container(path, frame_stride, max_frames)
  if suffix in ARRAY_SUFFIXES:
    return read_array(path, frame_stride, max_frames)
  hint = ": use read_image" if suffix in IMAGE_SUFFIXES else ": convert it"
  raise UserError(
    f"expected a video file ({', '.join(VIDEO_SUFFIXES)}) or a folder, "
    f"but got {path} ({suffix or 'no extension'}){hint}."
  )


def _check_limits(frame_stride: int, max_frames: int | None) -> None:
  for name, value in (("frame_stride", frame_stride), ("max_frames", max_frames)):
    if value is None and name == "max_frames":
      continue
    if not isinstance(value, int) or value < 1:
      raise UserError(
        f"expected {name} to be an integer of at least 1, but got {value!r}: correct it."
      )


def _find_videos(path: str | os.PathLike[str]) -> list[_Source]:
  """Where the videos of a path are, by what a folder holds; nothing is decoded yet."""
  path = existing_path(path, "a video file or folder")
  if path.is_file():
    return [_Source(path)]
  entries = listed(path)
  if any(entry.name == MANIFEST for entry in entries):
    return [_Source(file, metadata) for file, metadata in read_manifest(path / MANIFEST)]
  images = with_suffix(entries, IMAGE_SUFFIXES)
  videos = with_suffix(entries, VIDEO_SUFFIXES)
  if images and videos:
    raise UserError(
      f"expected either videos or numbered images in {path}, but it holds {len(videos)} videos "
      f"and {len(images)} images: give each their own folder."
    )
  if images:
    return [_Source(path)]
  found = [_Source(entry) for entry in entries if entry in videos or _is_frame_folder(entry)]
  if not found:
    raise UserError(_no_videos(path, entries))
  return found


def _no_videos(path: pathlib.Path, entries: list[pathlib.Path]) -> str:
  """The message for a folder without videos; names subfolders that may be what was meant."""
  folders = [entry.name for entry in entries if entry.is_dir()]
  names = ", ".join(entry.name for entry in entries[:4])
  came = f"it holds others ({names})" if entries else "it is empty"
  advice = f"pass one of its folders ({', '.join(folders[:4])})" if folders else "check the path"
  return (
    f"expected videos ({', '.join(VIDEO_SUFFIXES)}), folders of numbered images or {MANIFEST} "
    f"in {path}, but {came}: {advice}."
  )


def _is_frame_folder(path: pathlib.Path) -> bool:
  with permitted(path):
    is_folder = path.is_dir()
  return is_folder and bool(with_suffix(listed(path), IMAGE_SUFFIXES))
