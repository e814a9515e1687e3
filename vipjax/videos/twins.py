"""Films and their twins without the robot, side by side in a folder that every reader takes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.erase import Erased, camera_shift, erase
from vipjax.videos.formats.folders import film_entry, film_stem, write_film, write_manifest
from vipjax.videos.lazy import LazyVideo

# A static camera's picture moves by fewer pixels.
STATIC = 1.0
_BORDER = 0.015


class Twin(NamedTuple):
  """A film and what became of it.

  Attributes:
    video: the film with the robot.
    erased: the film without.
    camera_shift: see `vipjax.videos.erase.camera_shift`.
  """

  video: Video
  erased: Erased
  camera_shift: float


def write_twins(
  folder: pathlib.Path,
  videos: Sequence[LazyVideo],
  masks_of: Callable[[int, Video], np.ndarray],
  *,
  grow: float | None = None,
  feather: float | None = None,
  tail: float = 0.0,
  check_camera: bool = True,
) -> Iterator[Twin]:
  """Writes each video and its twin, `robot_visible` False, as mp4, and in the end the manifest.

  One video at a time is in memory. A video and its twin share an episode's number: where numbers
  are not known, or two videos share one and their view, all are numbered anew.

  Args:
    folder: where no manifest is yet.
    videos: at least one; those that are known to be without the robot are passed over.
    masks_of: makes bool [T, H, W], where the robot is, from the position of a video in `videos` and
      the video itself.
    grow, feather: as `erase`, pixels; None is 1.5% of the shorter side: 2 of 128, 7 of 480.
    tail: seconds at the end of each video in which the task is done and the robot leaves; see
      `erase`.
    check_camera: whether to refuse a camera that moves.

  Yields:
    Each film when it is written.

  Raises:
    UserError: none with a robot, a camera that moves, masks without a pixel, a tail that leaves no
      frame, or as `erase`.
  """
  chosen = [(index, video) for index, video in enumerate(videos) if shows_robot(video)]
  if not chosen:
    raise UserError(
      f"expected a video with the robot, got {len(videos)} that say they are without; give those "
      "with it."
    )
  entries = []
  for (index, video), episode in zip(chosen, _episodes([each for _, each in chosen]), strict=True):
    film = dataclasses.replace(video.read(), robot_visible=True, episode=episode)
    last = int((film.seconds > film.seconds[-1] - tail + 1e-6).sum())
    if last >= len(film.frames) or not tail >= 0:
      raise UserError(
        f"expected a tail from 0 s to less than each video has, got {tail:g} s for {film.source}, "
        f"which has {film.seconds[-1]:g} s; change it."
      )
    shift = camera_shift(film.frames)
    if check_camera and shift >= STATIC:
      raise UserError(
        f"expected a camera that stands still, got one that moves by about {shift:.1f} pixels in "
        f"{film.source}; choose another camera by --view, or, where you know that it stands still, "
        "pass --static_camera."
      )
    masks = masks_of(index, film)
    if not masks.any():
      raise UserError(
        f"expected the robot somewhere in {film.source}, got masks without a pixel; check where "
        "they come from (in a still film there is no motion to find)."
      )
    border = _BORDER * min(masks.shape[1:])
    widths = (border if width is None else width for width in (grow, feather))
    erased = erase(film.frames, masks, *widths, last)
    film = film.first(len(erased.frames))
    twin = dataclasses.replace(
      film, frames=erased.frames, robot_visible=False, source=f"{film.source}, robot erased"
    )
    for each in (film, twin):
      entry = film_entry(film_stem(each, index), each, keep="ends")
      write_film(folder, entry, each, overwrite=False)
      entries.append(entry)
    yield Twin(film, erased, shift)
  write_manifest(folder, entries)


def shows_robot(video: LazyVideo) -> bool:
  """Whether a video may show the robot."""
  return video.metadata.get("robot_visible") is not False


def _episodes(videos: Sequence[LazyVideo]) -> list[int]:
  """The number of each video's episode, its own or, where those are not distinct, a new one."""
  numbers = [video.metadata.get("episode") for video in videos]
  shown = {
    (number, video.metadata.get("view")) for number, video in zip(numbers, videos, strict=True)
  }
  if None in numbers or len(shown) < len(videos):
    return list(range(len(videos)))
  return numbers
