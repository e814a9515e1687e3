"""The videos that the encoder learns from beside the policy: the task's, and the policy's own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vipjax.envs import Channel
from vipjax.finetune import Contrast
from vipjax.reward import EmbeddingReward
from vipjax.runtime.errors import UserError
from vipjax.sac.frame_replay import Episode, FrameReplay
from vipjax.sac.online_settings import OnlineSettings
from vipjax.sac.own_episodes import Expert, Verdict, judge
from vipjax.scene import View
from vipjax.types import Video, VideoSet
from vipjax.videos import fit_square, require_frames

# Episodes of the highest reward that are looked through: embedding all channels of all takes long.
_CANDIDATES = 16


def filmed(channels: Sequence[Channel]) -> list[Channel]:
  """The reward's channels, then each of them with the robot shown or hidden the other way round."""
  counterparts = [
    dataclasses.replace(channel, robot_visible=not channel.robot_visible) for channel in channels
  ]
  return [*channels, *(each for each in counterparts if each not in channels)]


def rows_showing(
  channels: Sequence[Channel], views: Mapping[str, View], videos: Sequence[Video]
) -> list[tuple[int, ...]]:
  """For each channel the rows of the videos that show it and do not fail.

  Args:
    channels: result of `filmed`.
    views: viewpoints by name.
    videos: the task's; those of unknown view show every view.
  """
  return [
    tuple(
      row for row, video in enumerate(videos)
      if (video.view is None or views.get(video.view) == channel.view)
      and (video.robot_visible is not False) == channel.robot_visible
      and video.success is not False
    )
    for channel in channels
  ]  # fmt: skip


class OwnFilms:
  """The task's videos, own episodes that reached the goal, the latest, and failures of each view.

  Attributes:
    videos: all of them, of one shape from the first to the last training, as one program needs it.
    num_task: how many are the task's or have joined them.
    contrast: of goals against the failures; None where none is asked for.
  """

  def __init__(
    self,
    online: OnlineSettings,
    videos: Sequence[Video],
    frames: FrameReplay,
    horizon: int,
    channels: Sequence[Channel],
    shown: Sequence[tuple[int, ...]],
  ):
    """Lays out the videos; arguments and errors as of `OnlineTraining`."""
    require_frames(videos)
    num_channels, size = frames.shape[1:3]
    self._online, self._frames, self._horizon = online, frames, horizon
    self._channels, self._shown, self._num_videos = channels, shown, len(videos)
    self.num_task = len(videos) + online.best * num_channels
    count = self.num_task + (online.recent * num_channels if online.clips else 0)
    self.contrast = self._make_contrast(count) if online.contrast else None
    count += self.contrast.num_rows if self.contrast else 0
    length = max(horizon + 1, *(len(video.frames) for video in videos))
    self.videos = VideoSet(
      np.zeros((count, length, size, size, 3), np.uint8), np.ones(count, np.int32)
    )
    for row, video in enumerate(videos):
      self._fill(row, fit_square(video.frames, size))

  def write(
    self, reward: EmbeddingReward, embed: Callable[[np.ndarray], np.ndarray]
  ) -> dict[str, float]:
    """Writes the frames of own episodes that are learnt from behind the task's videos.

    Args:
      reward: chooses the episodes to look through.
      embed: frames uint8 [T, H, W, 3] -> embeddings [T, D], by which they are judged.

    Returns:
      "online_joined", how many joined the task's videos, and with a contrast "online_failures", how
      many states are failures.
    """
    online, row, episodes = self._online, self._num_videos, self.whole_episodes()
    judged = self._judge(reward, embed, episodes)
    reached = sorted(
      (each for each in judged if each[1].reached), key=lambda each: -each[1].reached
    )[: online.best]  # fmt: skip
    for episode, verdict in reached:
      # Like a video, an episode ends where the goal is nearest; what follows is no demonstration.
      for frames in self._frames.video(episode):
        self._fill(row, frames[: max(2, 1 + verdict.peak)])
        row += 1
    for place in range(row - self._num_videos, online.best * len(self._channels)):
      # Nothing joined here: the task's own videos, once more.
      rows = self._shown[place % len(self._channels)] or range(self._num_videos)
      video = rows[place // len(self._channels) % len(rows)]
      self._fill(row, self.videos.frames[video, : self.videos.lengths[video]])
      row += 1
    for episode in episodes[-online.recent :] if online.clips else ():
      for frames in self._frames.video(episode):
        self._fill(row, frames)
        row += 1
    facts = {"online_joined": float(len(reached))}
    if online.contrast:
      facts["online_failures"] = float(self._fill_failures(row, judged))
    return facts

  def whole_episodes(self) -> list[Episode]:
    """Finished episodes that reached their time limit; the simulator had to end the others."""
    return [
      episode for episode in self._frames.episodes()
      if episode.last - episode.first + 1 == self._horizon
    ]  # fmt: skip

  def _make_contrast(self, first_row: int) -> Contrast:
    """The contrast of each video with the robot against its view's failures, from a row on."""
    if not all(self._shown):
      raise UserError(
        "expected videos with and without the robot from each of config.policy.views for "
        "config.policy.online.contrast, which tells failures by them, got none of a kind; record "
        "them, or set contrast to 0."
      )
    pairs = [
      (row, first_row + place)
      for place, channel in enumerate(self._plain) for row in self._shown[channel]
    ]  # fmt: skip
    return Contrast(self._online.contrast, *zip(*pairs, strict=True))

  @property
  def _plain(self) -> list[int]:
    """Which channels show the robot."""
    return [place for place, channel in enumerate(self._channels) if channel.robot_visible]

  def _judge(
    self,
    reward: EmbeddingReward,
    embed: Callable[[np.ndarray], np.ndarray],
    episodes: Sequence[Episode],
  ) -> list[tuple[Episode, Verdict]]:
    """The latest episodes and those of the highest reward, judged; none without all films."""
    if not all(self._shown) or not (self._online.best or self._online.contrast):
      return []

    @functools.cache
    def potential(row: int) -> np.ndarray:
      return reward.potential(self._frames.read(row)[:, : reward.num_channels])[0]

    def gained(episode: Episode) -> float:
      first, *_, last = self._frames.rows_of_episode(episode)
      return float(potential(last)[episode.env] - potential(first)[episode.env])

    chosen = sorted(episodes, key=gained, reverse=True)[:_CANDIDATES]
    chosen += [each for each in episodes[-self._online.recent :] if each not in chosen]
    videos = self.videos
    films = [embed(videos.frames[row, : videos.lengths[row]]) for row in range(self._num_videos)]
    experts = [
      Expert(channel.robot_visible, [films[row] for row in rows])
      for channel, rows in zip(self._channels, self._shown, strict=True)
    ]
    return [
      (each, judge([embed(frames) for frames in self._frames.video(each)], experts))
      for each in chosen
    ]

  def _fill_failures(self, row: int, judged: Sequence[tuple[Episode, Verdict]]) -> int:
    """Writes the most valued failures, as many as fit, for each view; returns their number."""
    states = [
      (-verdict.plain[state], place, state)
      for place, (_, verdict) in enumerate(judged) for state in verdict.failures
    ]  # fmt: skip
    states = sorted(states)[: self.videos.frames.shape[1]]
    video = functools.cache(lambda place: self._frames.video(judged[place][0]))
    for channel in self._plain:
      found = [video(place)[channel][state] for _, place, state in states]
      if found:
        self._fill(row, np.stack(found))
      self.videos.lengths[row] = len(found)
      row += 1
    return len(states)

  def _fill(self, row: int, frames: np.ndarray) -> None:
    self.videos.frames[row, : len(frames)] = frames
    self.videos.frames[row, len(frames) :] = frames[-1]
    self.videos.lengths[row] = len(frames)
