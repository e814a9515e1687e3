"""Masks of a robot that somebody else has made: films and pictures of them, or an alpha channel."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.videos.files import alpha_of
from vipjax.videos.formats import robomimic
from vipjax.videos.lazy import Choice, FrameCache, LazyVideo
from vipjax.videos.read import local_path, open_videos

# Which part of the pictures the robot is, where their alpha channel says it.
ALPHAS = ("opaque", "transparent")


def given_masks(
  path: str | os.PathLike[str],
  videos: Sequence[LazyVideo],
  *,
  view: str | None = None,
  alpha: str | None = None,
  size: int | None = None,
) -> list[LazyVideo]:
  """The masks of each video, in their order.

  Args:
    path: what `open_videos` takes, with as many videos as there are.
    videos: those that the masks belong to; where both know their episode's number, only masks of
      these episodes are looked at.
    view: the camera of the masks, where a data set has several; in a robomimic file also an array
      of whole numbers or truth values [T, H, W] or [T, H, W, 1], in which 0 is not the robot.
    alpha: None; or that the alpha channel of pictures is the mask, and which part is the robot.
    size: as the videos were opened.

  Raises:
    UserError: as `open_videos`, another number of masks, or masks of other episodes.
  """
  numbers = [video.metadata.get("episode") for video in videos]
  place = local_path(path)
  if view and not alpha and place.suffix.lower() in robomimic.SUFFIXES:
    choice, cache = Choice(size=size), FrameCache(0)
    masks = [mask.chosen(choice, cache) for mask in robomimic.demo_masks(place, view)]
  else:
    masks = open_videos(path, view=view, size=size, cache_bytes=0)
  known = {mask.metadata.get("episode") for mask in masks}
  if None not in numbers and None not in known:
    masks = [mask for mask in masks if mask.metadata["episode"] in numbers]
  if len(masks) != len(videos):
    raise UserError(
      f"expected masks for {len(videos)} videos in {path}, got {len(masks)} of these; give as many, "
      "in the same order, and name their camera by --masks_view where there are several."
    )
  for mask, video, number in zip(masks, videos, numbers, strict=True):
    if None not in (number, mask.metadata.get("episode")) and mask.metadata["episode"] != number:
      raise UserError(
        f"expected masks of episode {number} for {video.metadata['source']}, got "
        f"{mask.metadata['source']}; give masks in the order of the videos."
      )
  return [alpha_of(mask) for mask in masks] if alpha else masks


def read_masks(mask: LazyVideo, video: LazyVideo, alpha: str | None = None) -> np.ndarray:
  """The masks of the frames that are taken of a video: where the robot is.

  White is the robot: what is brighter than half of the levels, or, where a film knows but the
  levels 0 and 1, what is 1.

  Args:
    mask: one of `given_masks`.
    video: its video.
    alpha: as `given_masks`.

  Returns:
    bool [T, H, W].

  Raises:
    UserError: there are more or fewer masks than frames.
  """
  count, length = len(mask), len(video.file_times())
  if count != length:
    raise UserError(
      f"expected {length} masks, one for each frame of {video.metadata['source']}, got {count} in "
      f"{mask.metadata['source']}; give one for each."
    )
  levels = mask[video.positions].max(axis=-1)
  masks = levels > (0 if levels.max() <= 1 else 127)
  return ~masks if alpha == "transparent" else masks
