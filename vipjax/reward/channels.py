"""Makes the reward from videos: finds the goal frames and the pictures that the reward needs."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from absl import logging

from vipjax.encoder import ValueFunction
from vipjax.envs import Channel
from vipjax.reward.embedding import EmbeddingReward
from vipjax.reward.goals import LAST, Goal, embed_goal, find_goals, misfits, names_files
from vipjax.reward.settings import PREDICTED, RewardSettings
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.scene import View
from vipjax.types import Video
from vipjax.videos import fit_square, write_image


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGoal:
  """The goal of one channel of the reward.

  Attributes:
    view: name of the viewpoint.
    channel: the picture that the channel needs at each step.
    goal: the goal frames, in their own sizes.
    videos: at least one video of the channel, all square and of one size.
    weight: weight of the channel in the potential.
  """

  view: str
  channel: Channel
  goal: Goal
  videos: Sequence[Video]
  weight: float

  @property
  def frames(self) -> np.ndarray:
    """uint8 [G, H, W, 3], the goal frames in the videos' size."""
    size = self.videos[0].frames.shape[1]
    return np.concatenate([fit_square(image[None], size) for image in self.goal.frames])


@dataclasses.dataclass(frozen=True)
class Channels:
  """The pictures of the potential, and their goals.

  Attributes:
    views: viewpoints by name, at least one; they share the weights evenly.
    goal: the goal frames; `goals.HELP` lists the forms.
    plain_weight: weight of the pictures with the robot, >= 0.
    robot_free_weight: weight of the pictures without the robot, >= 0.
  """

  views: Mapping[str, View]
  goal: str = LAST
  plain_weight: float = 1.0
  robot_free_weight: float = 0.0


def channel_goals(channels: Channels, videos: Sequence[Video]) -> list[ChannelGoal]:
  """Returns the goal of each channel: each view, with and without the robot if its weight is not 0.

  Goals are frames of all videos of the view: the last ones unless `channels.goal` chooses others;
  or the files that it names, for a single view with the robot. With one view, videos that do not
  say what view they show count too.

  Raises:
    UserError: a channel without videos, several views and a video that does not say its own, or a
      goal that does not fit.
  """
  goal, found = channels.goal or LAST, []
  if names_files(goal) and (len(channels.views) > 1 or channels.robot_free_weight):
    raise UserError(
      "expected one view in config.policy.views and config.reward.robot_free_weight=0 for a "
      f"config.reward.goal from files, which show one view with the robot, got "
      f"{list(channels.views)} and {channels.robot_free_weight}; change these or the goal."
    )
  unknown = any(video.view is None and video.success is not False for video in videos)
  if len(channels.views) > 1 and unknown:
    raise UserError(
      "expected videos that say which view they show, because config.policy.views has "
      f"{list(channels.views)}, got one that does not; note it in videos.json, or set "
      "config.policy.views to the one view that they show."
    )
  for name, view in channels.views.items():
    for visible, weight in ((True, channels.plain_weight), (False, channels.robot_free_weight)):
      if weight == 0:
        continue
      chosen = _goal_videos(videos, name, visible)
      sources = [video.source or f"video {index}" for index, video in enumerate(chosen)]
      each = find_goals(goal, [video.frames for video in chosen], sources)
      # Views share the weight, so that the reward's range does not depend on their number.
      weight = weight / len(channels.views)
      found.append(ChannelGoal(name, Channel(view, visible), _joined(each), chosen, weight))
  return found


def make_reward(
  goals: Sequence[ChannelGoal],
  value: ValueFunction,
  settings: RewardSettings | None = None,
  devices: Sequence[jax.Device] | None = None,
  robot_free: Sequence[ValueFunction] = (),
) -> EmbeddingReward:
  """Returns the reward with a channel for each goal, which sees `picture_channels`.

  Args:
    goals: result of `channel_goals`.
    value: the value function.
    settings: None is as published.
    devices: devices that share the states of a call; None is JAX's first.
    robot_free: embed pictures with the robot as `value` embeds those without; for
      settings.robot_free = "predicted", else they are not used.

  Raises:
    UserError: goal frames of different sizes, or as `EmbeddingReward`.
  """
  settings = settings or RewardSettings()
  frames = [each.frames for each in goals]
  if len({goal.shape[1:] for goal in frames}) > 1:
    raise UserError(
      f"expected goal frames of one size, got {[goal.shape[1:3] for goal in frames]}; resize the "
      "videos with vipjax.videos.fit_square."
    )
  firsts, weights = [each.videos[0].frames[0] for each in goals], [each.weight for each in goals]
  films = [[video.frames for video in each.videos] for each in goals]
  visible = [each.channel.robot_visible for each in goals]
  predicted = settings.robot_free == PREDICTED
  shown = [each.view for each in picture_channels(goals, settings)]
  return EmbeddingReward(
    value, frames, firsts, weights, settings, devices, films, visible,
    robot_free if predicted else (),
    [shown.index(each.channel.view) for each in goals] if predicted else None,
  )  # fmt: skip


def picture_channels(goals: Sequence[ChannelGoal], settings: RewardSettings) -> list[Channel]:
  """Returns the pictures of a state that the reward of these goals sees.

  They are one for each channel; where what is without the robot is predicted, one for each view,
  with the robot.
  """
  channels = [each.channel for each in goals]
  if settings.robot_free != PREDICTED:
    return channels
  return [Channel(view, True) for view in dict.fromkeys(each.view for each in channels)]


def _joined(goals: Sequence[Goal]) -> Goal:
  """Returns one goal with the frames of all different goals."""
  different = list({id(goal): goal for goal in goals}.values())
  if len(different) == 1:
    return different[0]
  frames, sources = (
    tuple(item for goal in different for item in getattr(goal, name))
    for name in ("frames", "sources")
  )
  return Goal(f"{len(frames)} frames of the videos", frames, sources)


def _goal_videos(videos: Sequence[Video], view: str, visible: bool) -> list[Video]:
  """Returns the channel's videos that do not fail, after checks."""
  chosen = [
    video
    for video in videos
    if video.view in (None, view)
    and (video.robot_visible is not False) == visible
    and video.success is not False
  ]
  if not chosen:
    kind = "with the robot" if visible else "without the robot"
    raise UserError(
      f"expected a video {kind} from view {view!r} as the goal of the reward, got none; record "
      "one, choose other config.policy.views or set its weight in config.reward to 0."
    )
  shapes = {video.frames.shape[1:3] for video in chosen}
  if len(shapes) > 1 or any(height != width for height, width in shapes):
    raise UserError(
      f"expected square goal frames of one size, got {sorted(shapes)}; resize the videos with "
      "vipjax.videos.fit_square."
    )
  return chosen


def record_goals(
  folder: pathlib.Path, value: ValueFunction, goals: Sequence[ChannelGoal], goal_reduction: str
) -> None:
  """Writes the goal frames with their origins for the report; warns of those that do not fit.

  Args:
    folder: gets `goals.json` and `goal<n>.png`.
    value: the value function.
    goals: result of `channel_goals`.
    goal_reduction: "mean" or "nearest", for several goal frames.
  """
  records = []
  for each in goals:
    embedded = embed_goal(
      value, Goal(each.goal.name, tuple(each.frames), each.goal.sources), goal_reduction
    )
    warnings: list[str] = []
    for video in each.videos:
      embeddings = value.embed(video.frames)
      distances = value.distances(embeddings, embedded)
      warnings += misfits(value, each.goal, video.frames, embeddings, distances)
    # One warning is enough, because the videos of a channel usually share their faults.
    for warning in warnings[:1]:
      logging.warning(warning)
    for frame, source in zip(each.goal.frames, each.goal.sources, strict=True):
      file = f"goal{len(records)}.png"
      write_image(folder / file, frame, overwrite=True)
      records.append({
        "file": file, "source": source, "view": each.view, "weight": each.weight,
        "robot_visible": each.channel.robot_visible, "warnings": warnings[:1],
      })  # fmt: skip
  files.write_json(folder / "goals.json", {"goals": goal_reduction, "frames": records})
