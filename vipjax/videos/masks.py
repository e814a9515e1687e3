"""Where the robot is in a video: from what moves, masks that are given, its model, or clicks.

Each returns a function (position in a list of videos, video) -> its masks, bool [T, H, W].
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.scene.silhouette import Silhouette, read_calibration
from vipjax.types import Video
from vipjax.videos.erase import THRESHOLD, motion_masks
from vipjax.videos.files import alpha_of
from vipjax.videos.formats import robomimic
from vipjax.videos.images import fit_square
from vipjax.videos.joints import read_angles
from vipjax.videos.lazy import Choice, FrameCache, LazyVideo
from vipjax.videos.read import local_path, open_videos
from vipjax.videos.sam2 import Click, Sam2

MasksOf = Callable[[int, Video], np.ndarray]


def of_motion(threshold: int = THRESHOLD) -> MasksOf:
  """Masks of what moves: see `motion_masks`."""
  return lambda _, video: motion_masks(video.frames, threshold)


def clicked(folder: str | os.PathLike[str], clicks: Sequence[Click], count: int) -> MasksOf:
  """Masks of what is clicked on, by SAM 2.

  Args:
    folder: see `Sam2`; `~` is the user's home.
    clicks: see `Sam2.follow`; in a frame in which a video has some of its own, those of all videos
      do not count.
    count: how many videos there are.

  Raises:
    UserError: as `Sam2`, or a click on a video that is not there; the masks of a video as
      `Sam2.follow`.
  """
  numbers = [click.video for click in clicks if click.video is not None]
  if numbers and max(numbers) >= count:
    raise UserError(
      f"expected clicks on {count} videos, counted from 0, got one on video {max(numbers)}; "
      "correct its number."
    )
  network = Sam2(pathlib.Path(folder).expanduser())

  def make(index: int, film: Video) -> np.ndarray:
    own = [click for click in clicks if click.video == index]
    taken = {click.frame for click in own}
    of_all = [each for each in clicks if each.video is None and each.frame not in taken]
    return network.follow(film.frames, own + of_all, f"video {index} ({film.source})")

  return make


# Given.


def given(
  path: str | os.PathLike[str],
  videos: Sequence[LazyVideo],
  *,
  view: str | None = None,
  alpha: str | None = None,
  size: int | None = None,
) -> MasksOf:
  """Masks from another source, white where the robot is.

  White is brighter than half of the levels or, in a film with the levels 0 and 1 alone, 1.

  Args:
    path: what `open_videos` takes, with as many videos as there are, in their order. Where all know
      the numbers of their episodes, those of other episodes are passed over.
    videos: those that the masks belong to.
    view: the camera of the masks, where a data set has several; in a robomimic file also an array
      of whole numbers or truth values [T, H, W] or [T, H, W, 1], in which 0 is not the robot.
    alpha: "opaque" or "transparent" where the alpha channel of pictures tells the robot, and which
      part of them it is.
    size: as the videos were opened.

  Raises:
    UserError: as `open_videos`, or another number of masks than videos; the masks of a video raise
      it where they are more or fewer, or of another size, than its frames.
  """
  masks = _matched(path, _open_masks(path, view, alpha, size), videos)

  def make(index: int, film: Video) -> np.ndarray:
    mask, length = masks[index], len(videos[index].file_times())
    if len(mask) != length:
      raise UserError(
        f"expected {length} masks, one for each frame of {film.source}, got {len(mask)} in "
        f"{mask.metadata['source']}; give one for each."
      )
    levels = mask[videos[index].positions].max(axis=-1)
    if levels.shape != film.frames.shape[:3]:
      height, width = film.frames.shape[1:3]
      raise UserError(
        f"expected masks of {height}x{width} for {film.source}, got {levels.shape[1]}x"
        f"{levels.shape[2]} in {mask.metadata['source']}; bring them to one size."
      )
    found = levels > (0 if levels.max() <= 1 else 127)
    return ~found if alpha == "transparent" else found

  return make


def _open_masks(
  path: str | os.PathLike[str], view: str | None, alpha: str | None, size: int | None
) -> list[LazyVideo]:
  place = local_path(path)
  if view and not alpha and place.suffix.lower() in robomimic.SUFFIXES:
    masks = robomimic.demo_masks(place, view)
    return [mask.chosen(Choice(size=size), FrameCache(0)) for mask in masks]
  masks = open_videos(place, view=view, size=size, cache_bytes=0)
  return [alpha_of(mask) for mask in masks] if alpha else masks


def _matched(
  path: str | os.PathLike[str], masks: list[LazyVideo], videos: Sequence[LazyVideo]
) -> list[LazyVideo]:
  """The masks of each video."""
  numbers = [video.metadata.get("episode") for video in videos]
  if None not in (*numbers, *(mask.metadata.get("episode") for mask in masks)):
    masks = [mask for mask in masks if mask.metadata["episode"] in numbers]
    if [mask.metadata["episode"] for mask in masks] != numbers:
      raise UserError(
        f"expected masks of the episodes {numbers} in {path}, got some of "
        f"{[mask.metadata['episode'] for mask in masks]}; give one film of masks for each video, "
        "and where there are several cameras name that of the masks by --masks_view, that of the "
        "videos by --view."
      )
  if len(masks) != len(videos):
    raise UserError(
      f"expected masks for {len(videos)} videos in {path}, got {len(masks)}; give one film or "
      "folder of masks for each, in the same order."
    )
  return masks


# Drawn.


def drawn(
  model: str | os.PathLike[str],
  camera: str,
  joints: str,
  data: pathlib.Path,
  videos: Sequence[LazyVideo],
  *,
  names: Sequence[str] | None = None,
  degrees: bool = False,
  body: str | None = None,
) -> MasksOf:
  """Masks of a robot's model in the pose of each frame.

  Args:
    model, body: as `vipjax.scene.silhouette.Silhouette`.
    camera: the name of one in the model, or a JSON file for `read_calibration`.
    joints: as `read_angles`.
    data: where the videos are.
    videos: those that the masks belong to.
    names, degrees: as `Silhouette.masks`; without names those of the columns count, where all are
      joints of the model.

  Raises:
    UserError: as `read_angles` and `read_calibration`; the masks of a video as `Silhouette`.
  """
  angles = read_angles(joints, data, videos)
  is_file = pathlib.PurePath(camera).suffix.lower() == ".json"
  seen_by = read_calibration(camera) if is_file else camera

  def make(index: int, film: Video) -> np.ndarray:
    video = videos[index]
    height, width = video.chosen(Choice(), FrameCache(0))[0].shape[:2]
    rows = angles.values[index][video.positions]
    with Silhouette(model, seen_by, (height, width), body) as silhouette:
      own = set(angles.names or [""]) <= set(silhouette.joint_names())
      masks = silhouette.masks(rows, names or (angles.names if own else None), degrees)
    if film.frames.shape[1:3] == (height, width):
      return masks
    levels = np.repeat(masks[..., None] * np.uint8(255), 3, axis=-1)
    return fit_square(levels, film.frames.shape[1])[..., 0] > 127

  return make
