"""Measures groups of videos together, with one embedding of each video for curve and alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.encoder import ValueFunction, reduce_goals
from vipjax.evaluation.alignment import align
from vipjax.evaluation.curves import DistanceCurve, make_curve, video_names
from vipjax.types import Video


def measure_groups(
  value: ValueFunction, groups: dict[str, Sequence[Video]]
) -> tuple[dict[str, list[DistanceCurve]], dict[str, dict[str, Any]]]:
  """Returns curves and alignment of groups of videos.

  Args:
    value: the value function.
    groups: videos by name of the group. The goals of the group "failed" are the last frames of
      the videos in "recorded" and "robot_free" with the same view and visibility of the robot.

  Returns:
    Curves by group; and `align` of each other group of at least two videos, with "both" for the
    recorded and robot-free videos together.
  """
  embedded = {
    group: [value.embed(video.frames) for video in videos] for group, videos in groups.items()
  }
  goals: dict[tuple, list[np.ndarray]] = {}
  for group in ("recorded", "robot_free"):
    for video, embeddings in zip(groups.get(group, ()), embedded.get(group, ()), strict=True):
      goals.setdefault((video.view, video.robot_visible), []).append(embeddings[-1])
  curves, alignment = {}, {}
  for group, videos in groups.items():
    names = video_names(videos)
    curves[group] = []
    for video, embeddings, name in zip(videos, embedded[group], names, strict=True):
      goal = embeddings[-1:]
      if group == "failed":
        goal = reduce_goals(np.stack(goals[video.view, video.robot_visible]))
      distances = value.distances(embeddings, goal)
      curves[group].append(make_curve(distances, video.seconds, name))
    if len(videos) > 1 and group != "failed":
      alignment[group] = align(embedded[group], names)
  if "recorded" in groups and "robot_free" in groups:
    both = [*groups["recorded"], *groups["robot_free"]]
    alignment["both"] = align([*embedded["recorded"], *embedded["robot_free"]], video_names(both))
  return curves, alignment
