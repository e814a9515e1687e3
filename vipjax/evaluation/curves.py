"""Distance curves of videos: the distance of each frame to the goal, with statistics."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.encoder.progress import PROGRESS, signed_progress
from vipjax.evaluation import statistics
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.types import Video

STATISTICS = (
  "rank_correlation", "kendall_correlation", "falling_fraction", "largest_rise", "smoothness",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceCurve:
  """The distance to the goal along one video.

  Attributes:
    name: the video's name, such as "episode 0, left, robot-free".
    distances: float32 [T], T >= 2, distance of each frame to the goal, in embedding units.
    times: float64 [T], episode time of each frame in s, from 0, ascending.
    rank_correlation, kendall_correlation, falling_fraction, largest_rise, smoothness: see
      `statistics`.
  """

  name: str
  distances: np.ndarray
  times: np.ndarray
  rank_correlation: float
  kendall_correlation: float
  falling_fraction: float
  largest_rise: float
  smoothness: float

  def record(self) -> dict[str, Any]:
    """Returns all attributes as JSON-able values; an infinite largest rise becomes None."""
    return files.jsonable(dataclasses.asdict(self))


def distance_curve(
  value: ValueFunction, video: Video, goal: np.ndarray | None = None, name: str | None = None
) -> DistanceCurve:
  """Returns the curve of distances of a video's frames to a goal.

  Args:
    value: the value function.
    video: at least two frames.
    goal: uint8 [H, W, 3], or [G, H, W, 3] whose embeddings are averaged, of the frames' size;
      None is the video's last frame.
    name: the curve's name; None is `video_name(video)`.

  Raises:
    UserError: a video of one frame, a goal of another size, or distances that are not finite.
  """
  name = video_name(video) if name is None else name
  if len(video.frames) < 2:
    raise UserError(
      f"expected at least two frames in the video '{name}', got {len(video.frames)}; record a "
      "longer one."
    )
  goal = video.frames[-1] if goal is None else goal
  return make_curve(value.distance(video.frames, goal), video.seconds, name)


def make_curve(distances: np.ndarray, times: np.ndarray, name: str) -> DistanceCurve:
  """Returns the curve of distances [T] at times [T], in s, T >= 2, with its statistics."""
  return DistanceCurve(
    name=name,
    distances=distances,
    times=times,
    **{key: getattr(statistics, key)(distances) for key in STATISTICS},
  )


def distance_curves(value: ValueFunction, videos: Sequence[Video]) -> list[DistanceCurve]:
  """Returns the curve of each video to its own last frame, in the order of the videos.

  Args:
    value: the value function.
    videos: at least one; `video_names` gives the names.

  Raises:
    UserError: no videos, or as `distance_curve`.
  """
  if not videos:
    raise UserError("expected at least one video to measure, got none; record some first.")
  names = video_names(videos)
  return [
    distance_curve(value, video, name=name) for video, name in zip(videos, names, strict=True)
  ]


def progress_sums(value: ValueFunction, frames: np.ndarray) -> np.ndarray:
  """Returns what a reward of progress has paid up to each frame, as a share of the task.

  It is the cumulative sum of the signed progress from frame to frame, for an encoder that sees
  progress but need not see it as the difference of a potential; along an expert's video it should
  rise as time does, to about 1.

  Args:
    value: a value function with a progress head.
    frames: uint8 [T, H, W, 3], of one film.

  Returns:
    float32 [T], 0 first.

  Raises:
    UserError: no progress head, or wrong frames.
  """
  value.require_progress()
  embeddings = value.embed(frames)
  steps = signed_progress(value.variables[PROGRESS], embeddings[:-1], embeddings[1:])
  return np.append(np.float32(0), np.cumsum(np.asarray(steps)))


def video_name(video: Video) -> str:
  """Returns a video's name from its metadata, such as "episode 0, left, robot-free".

  Without metadata it is the file's name; bytes in it that are not UTF-8 become \\udc80, which every
  page and picture can show.
  """
  words = [] if video.episode is None else [f"episode {video.episode}"]
  words += [word for word in (video.view,) if word]
  words += ["robot-free"] if video.robot_visible is False else []
  name = ", ".join(words) or pathlib.PurePath(video.source).name or "video"
  return name.encode("utf-8", "backslashreplace").decode("utf-8")


def video_names(videos: Sequence[Video]) -> list[str]:
  """Returns `video_name` of each; equal names get numbers: "left (1)", "left (2)"."""
  names = [video_name(video) for video in videos]
  seen: dict[str, int] = {}
  numbered = []
  for name in names:
    seen[name] = seen.get(name, 0) + 1
    numbered.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
  return numbered
