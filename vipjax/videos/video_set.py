"""From a list of videos to the padded array that training samples from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.types import Video, VideoSet


def make_video_set(videos: Sequence[Video]) -> VideoSet:
  """Puts videos of one size into one array, each padded by repeating its last frame.

  Returns:
    A VideoSet of NumPy arrays: frames uint8 [N, T_max, H, W, 3], lengths int32 [N].

  Raises:
    UserError: no videos, frames that are not uint8 [T, H, W, 3], or differing sizes.
  """
  if not videos:
    raise UserError("expected at least one video, got none; check the path and the selection.")
  clips = [
    check_frames(video.frames, f"the frames of {describe(video, index)}")
    for index, video in enumerate(videos)
  ]
  check_same_size(videos)
  lengths = np.array([len(clip) for clip in clips], np.int32)
  frames = np.empty((len(clips), lengths.max(), *clips[0].shape[1:]), np.uint8)
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
      f"expected videos of one size, {height}x{width} as {describe(videos[0], 0)}, got "
      f"{', '.join(differing)}; set data.size, or open them with size=."
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
        f"expected at least {minimum} frames in every video, got {len(video.frames)} in "
        f"{describe(video, index)}; record it longer or leave it out."
      )


def describe(video: Video, index: int) -> str:
  """The name of a video in messages: its source, or its position where that is unknown."""
  return video.source or f"video {index}"
