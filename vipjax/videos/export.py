"""Recorded videos in other people's formats; `write_dataset` chooses the writer by its name."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vipjax.runtime.errors import UserError, require_among
from vipjax.types import Video
from vipjax.videos.access import check_free, permitted
from vipjax.videos.formats import folders, lerobot, rlds
from vipjax.videos.formats.episodes import by_episode
from vipjax.videos.video_set import describe

FORMATS = ("mp4", "frames", "tfds", "lerobot")


def write_dataset(
  folder: str | os.PathLike[str], videos: Sequence[Video], form: str, *, overwrite: bool = False
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
    "mp4": folders.write_videos,
    "frames": folders.write_frames,
    "tfds": lambda folder, videos: rlds.write_tfds(folder, by_episode(videos)),
    "lerobot": lambda folder, videos: lerobot.write_lerobot(folder, by_episode(videos)),
  }
  require_among("a format", form, writers)
  if not videos:
    raise UserError(f"expected at least one video to write to {folder}, got none; record some.")
  for index, video in enumerate(videos if form != "mp4" else ()):
    grid = np.linspace(0, video.seconds[-1], len(video.frames))
    if (np.abs(video.seconds - grid) * video.fps > 0.5).any():
      raise UserError(
        f"expected frames at even times to write them as {form}, got others in "
        f"{describe(video, index)}; read it with fps=, which makes them even, or write it as mp4."
      )
  folder = pathlib.Path(folder).expanduser()
  with whole_folder(folder, overwrite) as partial:
    writers[form](partial, videos)
  return folder


@contextlib.contextmanager
def whole_folder(folder: pathlib.Path, overwrite: bool) -> Iterator[pathlib.Path]:
  """Gives a hidden name to write to, and moves it to `folder` when the block ends without error.

  Raises:
    UserError: something is there and `overwrite` is False, or the place cannot be written.
  """
  partial = folder.with_name(f".{folder.name}.partial")
  with permitted(folder):
    check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
      yield partial
      if folder.exists():
        shutil.rmtree(folder)
      os.replace(partial, folder)
    finally:
      shutil.rmtree(partial, ignore_errors=True)
