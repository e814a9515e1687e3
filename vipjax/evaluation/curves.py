"""Distance curves of videos: how far each frame is from the goal, and what that says."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vipjax.encoder import ValueFunction
from vipjax.evaluation import statistics
from vipjax.runtime.errors import UserError
from vipjax.types import Video

STATISTICS = (
  "rank_correlation", "kendall_correlation", "falling_fraction", "largest_rise", "smoothness",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceCurve:
  """The distance to the goal along one video.

  Attributes:
    name: which video, such as "episode 0, left, robot-free".
    distances: float32 [T], T >= 2, distance of each frame to the goal, in embedding units.
    times: float64 [T], episode time of each frame in s, from 0, ascending.
    rank_correlation, kendall_correlation, largest_rise, smoothness: see `statistics`.
    falling_fraction: see `statistics.falling_fraction`, of single frames.
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
    """All of it as values that JSON can hold; an infinite largest rise is None."""
    numbers = {key: getattr(self, key) for key in STATISTICS}
    return {
      "name": self.name,
      "distances": [float(distance) for distance in self.distances],
      "times": [float(time) for time in self.times],
      **{key: number if np.isfinite(number) else None for key, number in numbers.items()},
    }


def distance_curve(
  value: ValueFunction, video: Video, goal: np.ndarray | None = None, name: str | None = None
) -> DistanceCurve:
  """The distance of every frame of a video to a goal.

  Args:
    value: the value function.
    video: at least two frames.
    goal: uint8 [H, W, 3], or [G, H, W, 3] whose embeddings are averaged, of the frames' size;
      None takes the last frame of the video itself.
    name: what to call the curve; None takes `video_name(video)`.

  Raises:
    UserError: a video of one frame, a goal of another size, or distances that are not finite.
  """
  name = video_name(video) if name is None else name
  if len(video.frames) < 2:
    raise UserError(
      f"Expected at least two frames in the video '{name}', but {len(video.frames)} came: record "
      "a longer one."
    )
  goal = video.frames[-1] if goal is None else goal
  return make_curve(value.distance(video.frames, goal), video.seconds, name)


def make_curve(distances: np.ndarray, times: np.ndarray, name: str) -> DistanceCurve:
  """The curve of known distances [T] at times [T], in s, T >= 2, with its statistics."""
  return DistanceCurve(
    name=name,
    distances=distances,
    times=times,
    **{key: getattr(statistics, key)(distances) for key in STATISTICS},
  )


def distance_curves(value: ValueFunction, videos: Sequence[Video]) -> list[DistanceCurve]:
  """The curve of each video to its own last frame, in the order of the videos.

  Args:
    value: the value function.
    videos: at least one; they get the names of `video_names`.

  Raises:
    UserError: no videos, or as `distance_curve`.
  """
  if not videos:
    raise UserError("Expected at least one video to measure, but none came: record some first.")
  names = video_names(videos)
  return [
    distance_curve(value, video, name=name) for video, name in zip(videos, names, strict=True)
  ]


def summary(curves: Sequence[DistanceCurve]) -> dict[str, Any]:
  """Means over the curves, and each curve, as values that JSON can hold.

  Args:
    curves: at least one.

  Returns:
    {"mean": {statistic: number}, "videos": [record, ...]} with the names in `STATISTICS` and
    `DistanceCurve.record`; a mean that is infinite is None.

  Raises:
    UserError: no curves.
  """
  if not curves:
    raise UserError("Expected at least one curve to sum up, but none came: measure some videos.")
  means = {key: float(np.mean([getattr(curve, key) for curve in curves])) for key in STATISTICS}
  return {
    "mean": {key: mean if np.isfinite(mean) else None for key, mean in means.items()},
    "videos": [curve.record() for curve in curves],
  }


def off_path_correlation(potential: npt.ArrayLike, progress: npt.ArrayLike) -> float:
  """Spearman correlation of a potential with the true progress, over states off the expert's path.

  It foretells, at no cost of training, whether a policy that climbs the potential gets anywhere.

  Args:
    potential: float [S], S >= 2: the value V(o, g), or any potential that the reward climbs, in
      each state; higher is meant to be better.
    progress: float [S], the simulator's own measure in the same states; higher is better.

  Returns:
    A number in [-1, 1]; 0.0 when either is constant.

  Raises:
    UserError: too few states, different lengths, or values that are not finite.
  """
  return statistics.spearman(potential, progress)


def video_name(video: Video) -> str:
  """Which video it is, in words, from what is known of it: "episode 0, left, robot-free".

  Where nothing is known, the name of its file; bytes in it that are no UTF-8 as \\udc80, which
  every page and picture can show.
  """
  words = [] if video.episode is None else [f"episode {video.episode}"]
  words += [word for word in (video.view,) if word]
  words += ["robot-free"] if video.robot_visible is False else []
  name = ", ".join(words) or pathlib.PurePath(video.source).name or "video"
  return name.encode("utf-8", "backslashreplace").decode("utf-8")


def video_names(videos: Sequence[Video]) -> list[str]:
  """`video_name` of each; names that would repeat get numbers: "left (1)", "left (2)"."""
  names = [video_name(video) for video in videos]
  seen: dict[str, int] = {}
  numbered = []
  for name in names:
    seen[name] = seen.get(name, 0) + 1
    numbered.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
  return numbered
