"""Finds goal frames, and checks that they fit the videos measured against them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vipjax.encoder import ValueFunction, reduce_goals
from vipjax.runtime.errors import UserError
from vipjax.videos import LazyVideo, fit_square, open_videos, read_image, read_videos
from vipjax.videos.access import IMAGE_SUFFIXES, existing_path
from vipjax.videos.twins import shows_robot

LAST, ALL_LAST, FRAME = "last", "all-last", "frame="
HELP = (
  "'last' (each video's own last frame), 'frame=N' (its own frame N, from 0; negative from the "
  "end), 'all-last' (the last frames of all the videos), or image or video files with commas "
  "between them (of a video its last frame)"
)
HELP_FILES = (
  "images, videos or data sets with commas between them (of each video that did not fail its last "
  "frame)"
)
# In recordings of two cameras with a rearranged scene, pictures of one camera have correlations
# from .5 to 1; with other footage they have up to .5.
_LEAST_LIKENESS = 0.5
_LIKENESS_SIZE = 32  # pixels
_SAME = 1.0  # grey levels of such small pictures: a codec's changes of a still


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
  """The goal of one video.

  Attributes:
    name: description of the goal.
    frames: at least one, each uint8 [H, W, 3]; sizes may differ.
    sources: origin of each frame.
  """

  name: str
  frames: tuple[np.ndarray, ...]
  sources: tuple[str, ...]


def find_goals(
  goal: str, videos: Sequence[LazyVideo | np.ndarray], names: Sequence[str]
) -> list[Goal]:
  """Returns the goal of each video.

  Args:
    goal: `HELP` lists its forms.
    videos: lazy videos, or frames uint8 [T, H, W, 3].
    names: name of each video in `Goal.sources`.

  Raises:
    UserError: a goal of another form, an unreadable file, or a missing frame.
  """
  if goal == LAST or goal == ALL_LAST:
    frames = [video[-1] for video in videos]
    sources = [f"{name}, last frame" for name in names]
    if goal == ALL_LAST:
      together = Goal(f"the last frames of {len(frames)} videos", tuple(frames), tuple(sources))
      return [together] * len(frames)
    return [Goal("its last frame", (f,), (s,)) for f, s in zip(frames, sources, strict=True)]
  if not names_files(goal):
    return [_chosen_frame(goal, video, name) for video, name in zip(videos, names, strict=True)]
  files = goal_files(goal)
  if not files:
    raise UserError(f"expected a goal, got {goal!r}; give {HELP}.")
  known = ", ".join(pathlib.Path(name).name for name in files)
  return [Goal(known, tuple(read_goal(name) for name in files), tuple(files))] * len(videos)


def names_files(goal: str) -> bool:
  """Returns whether a goal names files, not frames of the videos."""
  if goal in (LAST, ALL_LAST):
    return False
  return not goal.startswith(FRAME) or os.path.exists(goal)  # frame=3.png may be one


def goal_files(goal: str) -> list[str]:
  """Returns the names between commas; names contain commas, so the longest existing name counts."""
  parts, files = goal.split(","), []
  while parts:
    names = [",".join(parts[:end]).strip() for end in range(len(parts), 0, -1)]
    there = [os.path.exists(os.path.expanduser(name)) and bool(name) for name in names]
    taken = len(parts) - there.index(True) if any(there) else 1
    files.append(names[len(parts) - taken])
    parts = parts[taken:]
  return [name for name in files if name]


def read_goal(path: str | os.PathLike[str]) -> np.ndarray:
  """Returns a goal frame uint8 [H, W, 3]: an image, or the last frame of a video."""
  found = existing_path(path, f"a goal ({HELP})")
  if found.is_file() and found.suffix.lower() in IMAGE_SUFFIXES:
    return read_image(found)
  videos = read_videos(found)
  if len(videos) > 1:
    raise UserError(
      f"expected an image or one video as the goal, got {len(videos)} videos in {found}; name one."
    )
  return videos[0].frames[-1]


def goal_frames(goal: str, camera: str | None) -> list[np.ndarray]:
  """Returns goal frames, each uint8 [H, W, 3]; sizes may differ.

  Args:
    goal: `HELP_FILES` lists its forms.
    camera: of data sets with several cameras this one alone, with the robot.

  Raises:
    UserError: no goal, or one that cannot be read.
  """
  frames: list[np.ndarray] = []
  for name in goal_files(goal):
    path = existing_path(name, f"a goal ({HELP_FILES})")
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
      frames.append(read_image(path))
      continue
    videos = open_videos(path)
    views = {video.metadata.get("view") for video in videos}
    frames += [
      video[-1]
      for video in videos
      if video.metadata.get("success") is not False
      and shows_robot(video)
      and (len(views) == 1 or video.metadata.get("view") == camera)
    ]
  if not frames:
    raise UserError(
      f"expected a goal of the camera {camera}, got none in {goal!r}; give {HELP_FILES}."
    )
  return frames


def embed_goal(value: ValueFunction, goal: Goal, goal_reduction: str = "mean") -> np.ndarray:
  """Embeds a goal.

  Args:
    value: the value function.
    goal: one frame or several.
    goal_reduction: for several frames, "mean" gives their mean embedding, "nearest" each one's.

  Returns:
    float32 [G, D], G = 1 for "mean".

  Raises:
    UserError: another value of `goal_reduction`.
  """
  embedded = np.concatenate([value.embed(frame[None]) for frame in goal.frames])
  return reduce_goals(embedded, goal_reduction)


def misfits(
  value: ValueFunction,
  goal: Goal,
  frames: np.ndarray,
  embeddings: np.ndarray,
  distances: np.ndarray,
  size: tuple[int, int] | None = None,
) -> list[str]:
  """Returns reasons against measuring the distance of a video to the goal, one sentence each.

  Two tests detect another scene or viewpoint: the goal's pixels hardly correlate with any frame's;
  or the goal is farther from every frame than any frame is from the video's end, so that the goal
  is farther than the whole path that the video shows. On recordings of two cameras 25 degrees
  apart, with a rearranged scene, they reject 44 of 50 goals of the other camera and none of 40 of
  the same camera (encoder: mini; 46 and 5 after fine-tuning on two episodes of them).

  Args:
    value: the value function.
    goal: the goal.
    frames: uint8 [N, H, W, 3], some or all frames of the video.
    embeddings: float32 [T, D], embeddings of frames of the video up to its last.
    distances: float32 [T], distances of the same frames to the goal.
    size: height and width of the video; None is that of the frames, which may be smaller.

  Returns:
    Warnings; [] if the goal fits.
  """
  height, width = size or frames.shape[1:3]
  sizes = [image.shape[:2] for image in goal.frames]
  others = [
    f"{tall}x{wide}" for tall, wide in sizes if abs(np.log(tall * width / (wide * height))) > 0.05
  ]
  found = []
  if others:
    found.append(
      f"The goal ({goal.name}) is {others[0]} and the video {height}x{width} (height x width): the "
      "network's crops of such different shapes show different parts; crop one of them."
    )
  small = _small(frames)
  if (np.abs(small - small[0]) <= _SAME).all():
    return [*found, "The pictures do not change: distances and rewards of this video mean nothing."]
  patterns = _patterns(small)
  likenesses = [float((patterns @ _patterns(_small(image[None])).T).max()) for image in goal.frames]
  away, way = distances.min(), value.distances(embeddings, embeddings[-1:]).max()
  if max(likenesses) < _LEAST_LIKENESS:
    found.append(
      f"The goal ({goal.name}) resembles no frame of the video (correlation of pixels "
      f"{max(likenesses):.2f}): it may show another viewpoint or scene, for which distances mean "
      "little."
    )
  elif away > way:
    found.append(
      f"The goal ({goal.name}) is at least {away:.3g} from every frame of the video, which itself "
      f"covers {way:.3g} up to its end: it may show another viewpoint or scene, for which "
      "distances mean little."
    )
  return found


def _small(frames: np.ndarray) -> np.ndarray:
  """Returns small grey pictures, float64 [T, P]."""
  return fit_square(frames, _LIKENESS_SIZE).mean(axis=-1).reshape(len(frames), -1)


def _patterns(grey: np.ndarray) -> np.ndarray:
  """Returns float64 [T, P + 1]: pictures of mean 0 and length 1, whose products are correlations.

  The last number is one grey level in all pictures, so that two pictures without pattern correlate.
  """
  grey = grey - grey.mean(axis=1, keepdims=True)
  grey = np.pad(grey, ((0, 0), (0, 1)), constant_values=np.sqrt(grey.shape[1]))
  return grey / np.linalg.norm(grey, axis=1, keepdims=True)


def _chosen_frame(goal: str, video: LazyVideo | np.ndarray, name: str) -> Goal:
  text = goal.removeprefix(FRAME)
  try:
    position = int(text)
  except ValueError:
    raise UserError(f"expected a whole number in 'frame=N', got {text!r}; correct it.") from None
  if not -len(video) <= position < len(video):
    raise UserError(
      f"expected a goal frame from {-len(video)} to {len(video) - 1} in {name}, got {position}; "
      "choose another."
    )
  return Goal(f"its frame {position}", (video[position],), (f"{name}, frame {position}",))
