"""From a list of videos to the padded array that training samples from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video, VideoSet
from vipjax.videos.access import check_frames
from vipjax.videos.images import fit_square


def make_video_set(videos: Sequence[Video], size: int | None = None) -> VideoSet:
  """Puts videos into one array, each padded by repeating its last frame.

  Args:
    videos: at least one.
    size: side in pixels of the square that each video is brought to by `fit_square`; None leaves
      the frames as they are, and all must have one height and width.

  Returns:
    A VideoSet of NumPy arrays: frames uint8 [N, T_max, H, W, 3], lengths int32 [N].

  Raises:
    UserError: no videos, frames that are not uint8 [T, H, W, 3], or differing sizes without `size`.
  """
  if not videos:
    raise UserError("expected at least one video, but got none: check the path and the selection.")
  videos = [
    dataclasses.replace(
      video, frames=check_frames(video.frames, f"the frames of {describe(video, index)}")
    )
    for index, video in enumerate(videos)
  ]
  if size is not None:
    videos = [dataclasses.replace(video, frames=fit_square(video.frames, size)) for video in videos]
  check_same_size(videos)
  clips = [video.frames for video in videos]
  height, width = clips[0].shape[1:3]
  lengths = np.array([len(clip) for clip in clips], np.int32)
  frames = np.empty((len(clips), lengths.max(), height, width, 3), np.uint8)
  for row, clip in zip(frames, clips, strict=True):
    row[: len(clip)] = clip
    row[len(clip) :] = clip[-1]
  return VideoSet(frames=frames, lengths=lengths)


def check_same_size(videos: Sequence[Video]) -> None:
  """Raises UserError unless all frames are of one height and width; looks at their shape alone."""
  sizes = [video.frames.shape[1:3] for video in videos]
  differing = [
    f"{describe(video, index)} ({size[0]}x{size[1]})"
    for index, (video, size) in enumerate(zip(videos, sizes, strict=True))
    if size != sizes[0]
  ]
  if differing:
    height, width = sizes[0]
    raise UserError(
      f"expected videos of one size, {height}x{width} as {describe(videos[0], 0)}, "
      f"but got {', '.join(differing)}: pass size= to resize them."
    )


def require_frames(videos: Sequence[Video], minimum: int = 2) -> None:
  """Checks that every video is long enough to train on.

  Args:
    videos: may be empty.
    minimum: number of frames that each needs; a pair of successive frames needs 2.

  Raises:
    UserError: naming the first video that is too short.
  """
  for index, video in enumerate(videos):
    if len(video.frames) < minimum:
      raise UserError(
        f"expected at least {minimum} frames in every video, but {describe(video, index)} has "
        f"{len(video.frames)}: record it longer or leave it out."
      )


def select(
  videos: Sequence[Video],
  *,
  view: str | None = None,
  robot_visible: bool | None = None,
  episode: int | None = None,
  task: str | None = None,
  success: bool | None = None,
) -> list[Video]:
  """The videos whose metadata match, in their order; the list may be empty.

  An argument of None does not filter. A video that does not know a value matches no filter on it.
  """
  wanted = {
    "view": view,
    "robot_visible": robot_visible,
    "episode": episode,
    "task": task,
    "success": success,
  }
  wanted = {name: value for name, value in wanted.items() if value is not None}
  return [
    video
    for video in videos
    if all(getattr(video, name) == value for name, value in wanted.items())
  ]


def describe(video: Video, index: int) -> str:
  """How a message names a video: its source, or its position where that is unknown."""
  return video.source or f"video {index}"
