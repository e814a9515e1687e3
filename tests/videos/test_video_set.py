"""The padded array, and what it asks of its videos."""

from __future__ import annotations

import numpy as np
import pytest

from tests.videos.clips import moving_picture
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import make_video_set, require_frames


def test_padding_repeats_the_last_frame():
  videos = [Video(moving_picture(length, 8, 6)) for length in (2, 5, 1)]
  video_set = make_video_set(videos)
  assert video_set.frames.shape == (3, 5, 8, 6, 3) and video_set.frames.dtype == np.uint8
  assert video_set.lengths.tolist() == [2, 5, 1] and video_set.lengths.dtype == np.int32
  for row, video in zip(video_set.frames, videos, strict=True):
    length = len(video.frames)
    np.testing.assert_array_equal(row[:length], video.frames)
    for padding in row[length:]:
      np.testing.assert_array_equal(padding, video.frames[-1])


def test_differing_sizes_are_named():
  videos = [
    Video(moving_picture(2, 24, 32), source="first.mp4"),
    Video(moving_picture(2, 24, 32), source="second.mp4"),
    Video(moving_picture(2, 32, 24), source="third.mp4"),
    Video(moving_picture(2, 8, 8)),
  ]
  expected = (
    "expected videos of one size, 24x32 as first.mp4, got third.mp4 (32x24), video 3 (8x8); "
    "set data.size, or open them with size=."
  )
  with pytest.raises(UserError) as error:
    make_video_set(videos)
  assert str(error.value) == expected


def test_no_videos_and_wrong_frames():
  with pytest.raises(UserError, match="expected at least one video, got none"):
    make_video_set([])
  with pytest.raises(UserError, match="expected the frames of a.npy to be uint8 .* got float64"):
    make_video_set([Video(moving_picture(2) / 255, source="a.npy")])


def test_require_frames():
  long, short = Video(moving_picture(2)), Video(moving_picture(1), source="goal.mp4")
  require_frames([long, long])
  require_frames([short], minimum=1)
  with pytest.raises(UserError) as error:
    require_frames([long, short])
  assert str(error.value) == (
    "expected at least 2 frames in every video, got 1 in goal.mp4; "
    "record it longer or leave it out."
  )
  with pytest.raises(UserError, match="at least 3 frames in every video, got 2 in video 0"):
    require_frames([long], minimum=3)
