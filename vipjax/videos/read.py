"""Reading any path: a file by its suffix, a folder by its contents."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Sequence

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import is_dead_link, refuse_stand_ins
from vipjax.types import Video
from vipjax.videos.access import (
  IMAGE_SUFFIXES,
  VIDEO_SUFFIXES,
  existing_path,
  listed,
  permitted,
  with_suffix,
)
from vipjax.videos.files import open_file
from vipjax.videos.formats import hub, lerobot, rlds, robomimic
from vipjax.videos.formats.folders import MANIFEST, STILLS, TABLE, read_manifest, read_table
from vipjax.videos.lazy import CACHE_BYTES, Choice, FrameCache, LazyVideo
from vipjax.videos.selection import Selection

_MOST_SEARCHED = 10_000
# Folders of these names in one say how their episodes ended.
OUTCOMES = {"success": True, "failure": False}


def read_video(
  path: str | os.PathLike[str],
  *,
  frame_stride: int = 1,
  max_frames: int | None = None,
  fps: float | None = None,
  view: str | None = None,
  episodes: Sequence[int] | None = None,
  task: str | None = None,
  success: bool | None = None,
) -> Video:
  """Reads one video.

  Args:
    path: a video file, an array file, a folder of numbered images, or any other path that
      `read_videos` takes and that, selected, holds exactly one video.
    frame_stride, max_frames, fps, view, episodes, task, success: as `read_videos`.

  Returns:
    The video, frames uint8 [T, H, W, 3], RGB and upright, T >= 1.

  Raises:
    UserError: as `read_videos`, or there are several videos.
  """
  selection = Selection(view, episodes, task, success)
  found = _open(path, selection, Choice(frame_stride, max_frames, fps))
  if len(found) > 1:
    raise UserError(
      f"expected one video in {path}, got {len(found)}; pass one of them, or use read_videos."
    )
  return found[0].read()


def read_videos(
  path: str | os.PathLike[str],
  *,
  frame_stride: int = 1,
  max_frames: int | None = None,
  fps: float | None = None,
  view: str | None = None,
  episodes: Sequence[int] | None = None,
  task: str | None = None,
  success: bool | None = None,
) -> list[Video]:
  """Reads every video at a path.

  The path is one of
  - a file: mp4, webm, avi, mov, gif or mkv; npz or npy with uint8 frames [T, H, W, 3];
  - a folder with `videos.json`, as `write_videos` makes it: the videos that it lists, in its
    order, with the metadata that it gives (its fps wins over the file's) and the first and last
    frames that it keeps as images;
  - a robomimic HDF5 file (hdf5, h5): every camera of every demonstration is a video;
  - a LeRobot data set (v2.1, v3) in a local folder, or "hf://owner/name[@revision]": then
    huggingface_hub fetches the files that the selection needs;
  - a TFDS data set (array_record, parquet or TFRecord; RLDS as in Open X-Embodiment, or any other
    with sequences of images) in the folder of its version, or the only one in a folder; or a single
    TFRecord file. Every camera of every episode is a video; depth is left out;
  - a folder with `manifest.csv`, as VIP and R3M list their folders of Ego4D frames;
  - a folder of numbered png or jpg images: one video (VIP's layout). Decimal numbers and numbers
    of seconds since 1970, or of parts of them, are times and give the fps;
  - a folder of video files and of such image folders: those videos in natural order. Other files
    and hidden ones are passed over;
  - a folder with the folders `success` and `failure`, each of them any of these: their videos, with
    that outcome; those of the second are numbered on from those of the first.

  Args:
    path: see above.
    frame_stride: keep every n-th frame of each video, from the first; the fps is divided by it.
    max_frames: keep at most so many frames of each video (counted after the stride); None keeps
      all.
    fps: take frames at this rate (before the stride): those shown at 0, 1 / fps, 2 / fps, ... s,
      which also makes a variable rate even; None takes every frame.
    view: keep this camera alone; None keeps all, as below.
    episodes: keep the episodes of these numbers.
    task: keep episodes of this task.
    success: keep episodes that ended so. A video that does not know a value fits no demand on it.

  Returns:
    At least one video; frames uint8 [T, H, W, 3], RGB and upright, T >= 1.

  Raises:
    UserError: nothing is at the path, permission is denied, the format is unknown, there are no
      videos or no frames, none is left by the selection, a file is truncated or corrupt, or a
      manifest does not hold.
  """
  selection = Selection(view, episodes, task, success)
  return [video.read() for video in _open(path, selection, Choice(frame_stride, max_frames, fps))]


def open_videos(
  path: str | os.PathLike[str],
  *,
  frame_stride: int = 1,
  max_frames: int | None = None,
  fps: float | None = None,
  view: str | None = None,
  episodes: Sequence[int] | None = None,
  task: str | None = None,
  success: bool | None = None,
  size: int | None = None,
  cache_bytes: int = CACHE_BYTES,
) -> list[LazyVideo]:
  """Every video at a path, to be decoded as it is indexed: `open_videos(path)[0][100:110]`.

  Args:
    path, frame_stride, max_frames, fps, view, episodes, task, success: as `read_videos`.
    size: side in pixels of the squares that frames are brought to by `fit_square`; None leaves
      them as they are.
    cache_bytes: of decoded frames to keep, for all these videos together.

  Raises:
    UserError: as `read_videos`; errors in the frames of a file come when they are read.
  """
  selection = Selection(view, episodes, task, success)
  return _open(path, selection, Choice(frame_stride, max_frames, fps, size), cache_bytes)


def _open(
  path: str | os.PathLike[str], selection: Selection, choice: Choice, cache_bytes: int = 0
) -> list[LazyVideo]:
  """The videos at a path that are wanted; nothing is decoded."""
  _check_choice(choice)
  path = local_path(path, selection)
  found = find_videos(path, selection)
  cache = FrameCache(cache_bytes)
  kept = [video.chosen(choice, cache) for video in found if selection.keeps(video.metadata)]
  if not kept:
    raise selection.nothing_found(path, [video.metadata for video in found])
  return kept


def local_path(path: str | os.PathLike[str], selection: Selection | None = None) -> pathlib.Path:
  """The place of the videos at a path on this machine.

  Args:
    path: as `read_videos` takes it; a data set of the hub is fetched.
    selection: the part of such a data set to fetch; None fetches all of it.

  Raises:
    UserError: nothing is there, or as `vipjax.videos.formats.hub.fetch`.
  """
  if hub.on_hub(path):
    return hub.fetch(os.fspath(path), selection)
  return existing_path(path, "a video file or folder")


def find_videos(path: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos at an existing path; nothing is decoded yet.

  The selection spares looking at episodes that are not wanted; it is not fully applied.
  """
  if path.is_file():
    return _in_file(path, selection)
  entries = listed(path)
  names = {entry.name for entry in entries}
  if MANIFEST in names:
    return [
      open_file(
        entry.lossless or entry.file,
        entry.metadata | {"source": entry.metadata.get("source") or str(entry.file)},
        entry.stills,
      )
      for entry in read_manifest(path / MANIFEST)
    ]
  if lerobot.is_dataset(path):
    return lerobot.lerobot_videos(path, selection)
  images = with_suffix(entries, IMAGE_SUFFIXES)
  videos = with_suffix(entries, VIDEO_SUFFIXES)
  if images and videos:
    raise UserError(
      f"expected either videos or numbered images in {path}, got {len(videos)} videos and "
      f"{len(images)} images; give each their own folder."
    )
  if images:
    return [open_file(path, {})]
  if TABLE in names:
    return [open_file(folder, metadata) for folder, metadata in read_table(path / TABLE)]
  dataset = rlds.find_dataset(path)
  if dataset is not None:
    return rlds.dataset_videos(dataset, selection)
  if OUTCOMES.keys() <= names:
    return _by_outcome(path, selection)
  videos += with_suffix(entries, robomimic.SUFFIXES)
  found = [entry for entry in entries if entry in videos or _is_frame_folder(entry)]
  if not found:
    # Such as those of a copied cache of the hub, whose files lie elsewhere.
    for inner in itertools.islice(path.rglob("*"), _MOST_SEARCHED):
      if is_dead_link(inner):
        refuse_stand_ins(inner)
    raise UserError(_no_videos(path, entries))
  return [video for entry in found for video in _in_file(entry, selection)]


def _by_outcome(path: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos in the folders of `OUTCOMES`."""
  found: list[LazyVideo] = []
  for name, success in OUTCOMES.items():
    numbers = [each.metadata["episode"] for each in found if "episode" in each.metadata]
    start = 1 + max(numbers, default=-1)
    # Episodes are chosen from once they have their new numbers.
    for video in find_videos(path / name, dataclasses.replace(selection, episodes=None)):
      known = video.metadata.get("episode")
      video.metadata |= {"success": success} | ({} if known is None else {"episode": start + known})
      found.append(video)
  return found


def _in_file(path: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos in a file or a folder of images."""
  if ".tfrecord" in path.name:
    return rlds.dataset_videos(path, selection)
  if path.suffix.lower() in robomimic.SUFFIXES:
    return robomimic.demo_videos(path, selection)
  return [open_file(path, {})]


def _check_choice(choice: Choice) -> None:
  for name in ("frame_stride", "max_frames", "size"):
    value = getattr(choice, name)
    if (value is not None or name == "frame_stride") and (not isinstance(value, int) or value < 1):
      raise UserError(f"expected {name} to be an integer of at least 1, got {value!r}; correct it.")
  fps = choice.fps
  if fps is not None and not (math.isfinite(fps) and fps > 0):
    raise UserError(f"expected a finite fps above 0, got {fps!r}; pass frames per second.")


def _no_videos(path: pathlib.Path, entries: list[pathlib.Path]) -> str:
  """The message for a folder without videos; names subfolders that may be meant."""
  folders = [entry.name for entry in entries if entry.is_dir()]
  names = ", ".join(entry.name for entry in entries[:4])
  got = f"others ({names})" if entries else "an empty folder"
  advice = f"pass one of its folders ({', '.join(folders[:4])})" if folders else "check the path"
  return (
    f"expected videos ({', '.join(VIDEO_SUFFIXES)}), folders of numbered images or {MANIFEST} "
    f"in {path}, got {got}; {advice}."
  )


def _is_frame_folder(path: pathlib.Path) -> bool:
  with permitted(path):
    is_folder = path.is_dir()
    # A letter after the point is the suffix of some other file.
    if is_dead_link(path) and not path.suffix[1:2].isalpha():
      refuse_stand_ins(path)
  # Without its manifest a folder of films is still one of films alone.
  return is_folder and path.name != STILLS and bool(with_suffix(listed(path), IMAGE_SUFFIXES))
