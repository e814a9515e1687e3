"""Videos in and out: every format users have becomes uint8 RGB frames `[T, H, W, 3]`.

Reading: `read_video`, `read_videos` (dispatch in `read.py`), `read_image`.
Writing: `write_video`, `write_videos`, `write_image`.
Films of one moment's robot over another's scene: `composite_videos`.
Many videos as one padded array: `make_video_set`, with `require_frames` before it.
"""

from vipjax.videos.composite import composite_videos
from vipjax.videos.export import write_dataset
from vipjax.videos.formats.folders import write_videos
from vipjax.videos.images import fit_square, read_image, resize_frames, shrunk, write_image
from vipjax.videos.lazy import LazyVideo, evenly
from vipjax.videos.read import local_path, open_videos, read_video, read_videos
from vipjax.videos.video_set import check_same_size, make_video_set, require_frames
from vipjax.videos.write import write_video

__all__ = [
  "LazyVideo",
  "check_same_size",
  "composite_videos",
  "evenly",
  "fit_square",
  "local_path",
  "make_video_set",
  "open_videos",
  "read_image",
  "read_video",
  "read_videos",
  "require_frames",
  "resize_frames",
  "shrunk",
  "write_dataset",
  "write_image",
  "write_video",
  "write_videos",
]
