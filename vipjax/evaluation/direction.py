"""Whether the distance knows a direction: how far it is forth and back, against true steps.

An L2 distance is as far back as forth by construction. A head that need not be may know that it is
harder to undo a task than to do it, or may only be noisy: its asymmetry, and how far its distances
follow the steps between frames in either direction, tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vipjax.encoder import ValueFunction
from vipjax.evaluation import statistics
from vipjax.types import Video
from vipjax.videos import evenly


def direction(distances: npt.ArrayLike, times: npt.ArrayLike) -> dict[str, float]:
  """Compares the distances between the frames of one video with the steps between them.

  Args:
    distances: float [T, T], T >= 3, >= 0, from each frame (row) to each (column).
    times: float [T], ascending, when each frame is seen, in steps.

  Returns:
    "asymmetry": mean of |d(a, b) - d(b, a)| / (d(a, b) + d(b, a)) over pairs of frames, from 0 to
    1, where 0 / 0 is 0. "steps_correlation": Spearman's correlation of d(a, b) with the steps from
    a to a later b; "steps_slope": the distance of a step, of the line through 0 that fits them with
    least squares. "steps_correlation_backward" and "steps_slope_backward": the same of d(b, a).
  """
  distances, times = np.asarray(distances, np.float64), np.asarray(times, np.float64)
  earlier, later = np.triu_indices(len(times), 1)
  forth, back = distances[earlier, later], distances[later, earlier]
  steps = times[later] - times[earlier]
  both = forth + back
  result = {"asymmetry": float(np.mean(np.abs(forth - back) / np.where(both > 0, both, 1.0)))}
  for each, suffix in ((forth, ""), (back, "_backward")):
    result[f"steps_correlation{suffix}"] = statistics.spearman(each, steps)
    result[f"steps_slope{suffix}"] = float(each @ steps / (steps @ steps))
  return result


def measure_direction(
  value: ValueFunction, videos: Sequence[Video], max_frames: int = 64
) -> dict[str, float]:
  """Returns the means of `direction` over videos; {} where none has three frames.

  Args:
    value: the value function.
    videos: at least one; those of two frames say nothing. A step is one from frame to frame.
    max_frames: of each video at most so many are compared, evenly spaced; at least 3.
  """
  found = []
  for video in videos:
    if (count := len(video.frames)) < 3:
      continue
    times = evenly(count, max_frames)
    embeddings = value.embed(video.frames[times])
    columns = [value.distances(embeddings, goal[None]) for goal in embeddings]
    found.append(direction(np.stack(columns, axis=1), times))
  return {name: float(np.mean([each[name] for each in found])) for name in (found or [{}])[0]}
