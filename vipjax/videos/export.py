"""Recorded videos in other people's formats; the writers are chosen by name in `write_dataset`."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import check_free, permitted
from vipjax.videos.folders import MANIFEST
from vipjax.videos.images import write_image
from vipjax.videos.selection import ROBOT_FREE
from vipjax.videos.video_set import describe
from vipjax.videos.write import plain, video_stem, write_videos

FORMATS = ("mp4", "frames", "tfds", "lerobot")


class Episode(NamedTuple):
  """One episode from all its cameras.

  Attributes:
    number: which.
    cameras: by name, which ends in "_robot_free" where the robot was not rendered; all of one
      length and fps.
  """

  number: int
  cameras: dict[str, Video]

  @property
  def first(self) -> Video:
    """Any of its videos: what is known of the episode itself is the same in all."""
    return next(iter(self.cameras.values()))

  def __len__(self) -> int:
    return len(self.first.frames)


def write_dataset(
  folder: str | os.PathLike[str],
  videos: Sequence[Video],
  form: str,
  *,
  overwrite: bool = False,
) -> pathlib.Path:
  """Writes videos as a data set, which `read_videos` reads again.

  Args:
    folder: appears under its name only when it is whole.
    videos: at least one.
    form: "mp4" (`write_videos`), "frames" (a folder of `0.png`, `1.png`, ... for each video, as VIP
      wants them), "tfds" (RLDS in array_record, for `tfds.builder_from_directory(folder)`) or
      "lerobot" (v3.0, one mp4 for each camera).
    overwrite: whether a folder that is there may be replaced.

  Returns:
    The folder.

  Raises:
    UserError: another form, no videos, a folder that is there, or videos that the form cannot hold:
      all but "mp4" know nothing of times but a rate.
  """
  writers: dict[str, Callable[[pathlib.Path, Sequence[Video]], object]] = {
    "mp4": write_videos,
    "frames": _write_frames,
    "tfds": _write_tfds,
    "lerobot": _write_lerobot,
  }
  if form not in writers:
    raise UserError(f"expected a format among {', '.join(FORMATS)}, got {form!r}; choose one.")
  if not videos:
    raise UserError(f"expected at least one video to write to {folder}, got none; record some.")
  for index, video in enumerate(videos if form != "mp4" else ()):
    grid = np.linspace(0, video.seconds[-1], len(video.frames))
    if (np.abs(video.seconds - grid) * video.fps > 0.5).any():
      raise UserError(
        f"expected frames at even times to write them as {form}, got others in "
        f"{describe(video, index)}: read it with fps=, which makes them even, or write it as mp4."
      )
  folder = pathlib.Path(folder).expanduser()
  partial = folder.with_name(f".{folder.name}.partial")
  with permitted(folder):
    check_free(folder, overwrite)
    shutil.rmtree(partial, ignore_errors=True)
    try:
      writers[form](partial, videos)
      if folder.exists():
        shutil.rmtree(folder)
      os.replace(partial, folder)
    finally:
      shutil.rmtree(partial, ignore_errors=True)
  return folder


def by_episode(videos: Sequence[Video]) -> list[Episode]:
  """The videos by episode and camera, in the order in which episodes first come.

  A video without an episode is one of its own.

  Raises:
    UserError: two videos of one camera and episode, episodes with different cameras, a camera whose
      size changes, cameras of one episode that differ in length, or different rates.
  """
  episodes: dict[int, dict[str, Video]] = {}
  for index, video in enumerate(videos):
    number = index if video.episode is None else video.episode
    name = re.sub(r"\W", "_", video.view or "camera")
    name += ROBOT_FREE if video.robot_visible is False else ""
    cameras = episodes.setdefault(number, {})
    if name in cameras:
      raise UserError(f"expected one video of {name} in episode {number}, got two; number them.")
    cameras[name] = video
  found = [Episode(number, cameras) for number, cameras in episodes.items()]
  names = list(found[0].cameras)
  for episode in found:
    shapes = {name: video.frames.shape[1:] for name, video in episode.cameras.items()}
    if shapes != {name: video.frames.shape[1:] for name, video in found[0].cameras.items()}:
      raise UserError(
        f"expected the cameras {', '.join(names)} of one size each in every episode, got others in "
        f"episode {episode.number}; write it apart."
      )
    lengths = {len(video.frames) for video in episode.cameras.values()}
    rates = {video.fps for video in (*episode.cameras.values(), found[0].first)}
    if len(lengths) > 1 or len(rates) > 1:
      raise UserError(
        f"expected videos of one length and rate in episode {episode.number}, got lengths "
        f"{sorted(lengths)} and rates {sorted(rates)}; resample them."
      )
  return found


def _write_frames(folder: pathlib.Path, videos: Sequence[Video]) -> None:
  entries = []
  for index, video in enumerate(videos):
    stem = video_stem(video, index)
    for time, frame in enumerate(video.frames):
      write_image(folder / stem / f"{time}.png", frame)
    entries.append({"file": stem, **video.metadata()})
  text = json.dumps(entries, indent=2, default=plain) + "\n"
  (folder / MANIFEST).write_text(text, encoding="utf-8")


def _write_tfds(folder: pathlib.Path, videos: Sequence[Video]) -> None:
  from vipjax.videos.write_tfds import write_tfds  # Here: it takes seconds to import.

  write_tfds(folder, by_episode(videos))


def _write_lerobot(folder: pathlib.Path, videos: Sequence[Video]) -> None:
  from vipjax.videos.write_lerobot import write_lerobot

  write_lerobot(folder, by_episode(videos))
