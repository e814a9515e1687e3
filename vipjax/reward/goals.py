"""Which frames are the goal, and whether they fit the videos that are measured against them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.runtime.errors import UserError
from vipjax.videos import LazyVideo, fit_square, read_image, read_videos
from vipjax.videos.access import IMAGE_SUFFIXES, existing_path

LAST, ALL_LAST, FRAME = "last", "all-last", "frame="
HELP = (
  "'last' (each video's own last frame), 'frame=N' (its own frame N, from 0; negative from the "
  "end), 'all-last' (the last frames of all the videos), or image or video files with commas "
  "between them (of a video its last frame)"
)
# Found on recordings of two cameras with the scene moved about, where pictures of one camera
# correlate from .5 to 1, and on other footage, up to .5.
_LEAST_LIKENESS = 0.5
_LIKENESS_SIZE = 32  # pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
  """The goal of one video.

  Attributes:
    name: what it is, in words.
    frames: at least one, each uint8 [H, W, 3]; sizes may differ.
  """

  name: str
  frames: tuple[np.ndarray, ...]


def find_goals(goal: str, videos: Sequence[LazyVideo | np.ndarray]) -> list[Goal]:
  """The goal of each video.

  Args:
    goal: `HELP` says what it may be.
    videos: lazy ones, or frames uint8 [T, H, W, 3].

  Returns:
    One for each video.

  Raises:
    UserError: a goal of another form, a file that cannot be read, or a frame that is not there.
  """
  if goal == LAST:
    return [Goal("its last frame", (video[-1],)) for video in videos]
  if goal == ALL_LAST:
    frames = tuple(video[-1] for video in videos)
    return [Goal(f"the last frames of {len(frames)} videos", frames)] * len(videos)
  if goal.startswith(FRAME):
    return [_chosen_frame(goal, video, index) for index, video in enumerate(videos)]
  files = [name.strip() for name in goal.split(",") if name.strip()]
  if not files:
    raise UserError(f"expected a goal, got {goal!r}; it may be {HELP}.")
  frames = tuple(read_goal(name) for name in files)
  names = ", ".join(pathlib.Path(name).name for name in files)
  return [Goal(names, frames)] * len(videos)


def read_goal(path: str | os.PathLike[str]) -> np.ndarray:
  """A goal frame uint8 [H, W, 3]: an image file, or the last frame of a video."""
  found = existing_path(path, f"a goal ({HELP})")
  if found.is_file() and found.suffix.lower() in IMAGE_SUFFIXES:
    return read_image(found)
  videos = read_videos(found)
  if len(videos) > 1:
    raise UserError(
      f"expected an image or one video as the goal, got {len(videos)} videos in {found}; name one."
    )
  return videos[0].frames[-1]


def embed_goal(value: ValueFunction, goal: Goal, goals: str = "mean") -> np.ndarray:
  """Embeds a goal.

  Args:
    value: the value function.
    goal: one frame or several.
    goals: of several, "mean" takes the mean embedding, "nearest" each of them.

  Returns:
    float32 [G, D], G = 1 for "mean".

  Raises:
    UserError: another word for `goals`.
  """
  if goals not in ("mean", "nearest"):
    raise UserError(f"expected goals among mean, nearest, got {goals!r}; choose one of these.")
  embedded = np.concatenate([value.embed(frame[None]) for frame in goal.frames])
  return embedded.mean(axis=0, keepdims=True) if goals == "mean" else embedded


def goal_distances(embeddings: np.ndarray, goals: np.ndarray) -> np.ndarray:
  """float32 [T]: distance of each of [T, D] embeddings to the nearest of [G, D] goals."""
  return np.stack([np.linalg.norm(embeddings - each, axis=-1) for each in goals]).min(axis=0)


def misfits(goal: Goal, frames: np.ndarray) -> list[str]:
  """What speaks against measuring the distance of these frames to the goal, a sentence each.

  A rough test of pixels: it finds another shape, and another scene or a wildly different viewpoint,
  not a camera that was pushed a little.

  Args:
    goal: its frames.
    frames: uint8 [T, H, W, 3], some or all of a video.

  Returns:
    Warnings; none when the goal fits.
  """
  height, width = frames.shape[1:3]
  found = []
  for image in goal.frames:
    tall, wide = image.shape[:2]
    if abs(np.log(tall * width / (wide * height))) > 0.05:
      found.append(
        f"The goal ({goal.name}) is {tall}x{wide} and the video {height}x{width} (height x width): "
        "of shapes so different other parts are cut off, crop one of them."
      )
    likeness = float((_patterns(frames) @ _patterns(image[None]).T).max())
    if likeness < _LEAST_LIKENESS:
      found.append(
        f"The goal ({goal.name}) resembles no frame of the video (correlation of pixels "
        f"{likeness:.2f}): it may show another viewpoint or scene, and then distances mean little."
      )
  return list(dict.fromkeys(found))


def _patterns(frames: np.ndarray) -> np.ndarray:
  """float64 [T, P]: small grey pictures of mean 0 and length 1, whose products are correlations."""
  grey = fit_square(frames, _LIKENESS_SIZE).mean(axis=-1).reshape(len(frames), -1)
  grey = grey - grey.mean(axis=1, keepdims=True)
  return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-9)


def _chosen_frame(goal: str, video: LazyVideo | np.ndarray, index: int) -> Goal:
  text = goal.removeprefix(FRAME)
  try:
    position = int(text)
  except ValueError:
    raise UserError(f"expected a whole number in 'frame=N', got {text!r}; correct it.") from None
  if not -len(video) <= position < len(video):
    raise UserError(
      f"expected a goal frame from {-len(video)} to {len(video) - 1} in video {index}, got "
      f"{position}; choose another."
    )
  return Goal(f"its frame {position}", (video[position],))
