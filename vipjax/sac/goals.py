"""From a run's videos to the reward: which frames are goals, and which pictures it needs."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
from absl import logging

from vipjax.encoder import ValueFunction
from vipjax.envs import Channel
from vipjax.reward import EmbeddingReward, RewardSettings
from vipjax.reward.goals import find_goals, misfits
from vipjax.runtime.errors import UserError
from vipjax.scene import View, views_from_config
from vipjax.types import Video
from vipjax.videos import fit_square


def make_reward(
  config: ml_collections.ConfigDict,
  value: ValueFunction,
  videos: Sequence[Video],
  devices: Sequence[jax.Device] | None = None,
) -> tuple[EmbeddingReward, list[Channel], int]:
  """The reward, the pictures that it needs of each step, and their size in pixels.

  Goals are the last frames of all videos of a view (and, where the view of videos is unknown, of
  those too), separately with and without the robot; or the images of config.reward.goal, for a
  single view with the robot. An image that does not seem to fit the videos is warned of. The
  devices, None for one, share the states of a call.
  """
  goals, firsts, channels, factors = [], [], [], []
  for name, view in policy_views(config).items():
    for visible, weight in (
      (True, config.reward.plain_weight), (False, config.reward.robot_free_weight),
    ):  # fmt: skip
      if weight == 0:
        continue
      chosen = _goal_videos(videos, name, visible)
      goals.append(_goal_frames(config, chosen))
      firsts.append(chosen[0].frames[0])
      channels.append(Channel(view, visible))
      # Views share the weight: the reward's range does not depend on how many there are.
      factors.append(weight / len(config.policy.views))
  if len({goal.shape[1:] for goal in goals}) > 1:
    raise UserError(
      f"expected goal frames of one size, got {[goal.shape[1:3] for goal in goals]}; resize the "
      "videos with vipjax.videos.fit_square."
    )
  settings = RewardSettings(
    form=config.reward.form,
    discount=config.policy.discount,
    scale=config.reward.scale,
    normalise=config.reward.normalise,
    goals=config.reward.goals,
  )
  reward = EmbeddingReward(value, goals, firsts, factors, settings, devices)
  return reward, channels, goals[0].shape[1]


def _goal_frames(config: ml_collections.ConfigDict, videos: Sequence[Video]) -> np.ndarray:
  """uint8 [G, H, W, 3]: of the videos, or those that the config names, at the videos' size."""
  if not config.reward.goal:
    return np.stack([video.frames[-1] for video in videos])
  if len(config.policy.views) > 1 or config.reward.robot_free_weight:
    raise UserError(
      "expected one view in config.policy.views and config.reward.robot_free_weight=0 with a "
      f"config.reward.goal, which shows one view with the robot, got {list(config.policy.views)} "
      f"and {config.reward.robot_free_weight}; change these, or leave the goal to the videos."
    )
  frames = [video.frames for video in videos]
  (goal, *_) = find_goals(config.reward.goal, frames)
  for warning in misfits(goal, frames[0]):
    logging.warning(warning)
  return np.concatenate([fit_square(image[None], frames[0].shape[1]) for image in goal.frames])


def policy_views(config: ml_collections.ConfigDict) -> dict[str, View]:
  """The viewpoints that the reward sees, by name; raises UserError for one that there is not."""
  views = views_from_config(config.views)
  missing = [name for name in config.policy.views if name not in views]
  if missing or not config.policy.views:
    raise UserError(
      f"expected config.policy.views among {', '.join(sorted(views))}, got "
      f"{list(config.policy.views)}; choose one or more of these."
    )
  return {name: views[name] for name in config.policy.views}


def _goal_videos(videos: Sequence[Video], view: str, visible: bool) -> list[Video]:
  """Videos whose last frames are goals of a channel, checked."""
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
