"""The encoder goes on learning while the policy does: augmentation and TCC during online training.

Every so often the training step of `finetune` takes some more updates, on the task's videos and on
what the policy has done of late, filmed with and without the robot:

- its latest episodes are background clips of the VIP loss. By their pairs with the videos' goals,
  VIP's negatives, the value of states where the policy loiters falls (arXiv:2210.00030, whose dual
  takes its transitions from any data);
- its best episodes, by how much nearer to the goal they end under the embedding reward, join the
  task's videos, in VIP's clips and in TCC's cycles, up to where they are nearest to it.

Then the rewards of what the replay remembers are computed anew. Nothing but frames is used.

VIP's reward is -1 a frame, so the videos should have about as many frames a second as the policy
takes actions; in configs/demo.py they have 1.5 times as many.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import Channel
from vipjax.finetune import (
  Settings,
  TrainState,
  check_cycles,
  frames_per_step,
  init_state,
  make_train_step,
  scan_steps,
  step_devices,
  with_state,
)
from vipjax.reward import EmbeddingReward
from vipjax.runtime import parallel
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError
from vipjax.sac.frame_replay import Episode, FrameIndex, FrameReplay
from vipjax.sac.online_settings import OnlineSettings, episodes_needed
from vipjax.sac.rollout import LoopState, LoopStep
from vipjax.types import Video, VideoSet
from vipjax.videos import fit_square, require_frames


class OnlineState(NamedTuple):
  """What a checkpoint holds of it (a pytree): the encoder's training state; where frames are."""

  train: TrainState
  index: FrameIndex


def filmed(channels: Sequence[Channel]) -> list[Channel]:
  """The reward's channels, and after them each once more with or without the robot."""
  counterparts = [
    dataclasses.replace(channel, robot_visible=not channel.robot_visible) for channel in channels
  ]
  return [*channels, *(each for each in counterparts if each not in channels)]


class OnlineTraining:
  """Learns from the agent's frames as they come.

  Attributes:
    updates: how many it has made so far.
    frames: what the agent has seen.
  """

  def __init__(
    self,
    online: OnlineSettings,
    settings: Settings,
    max_skipped: int,
    key: jax.Array,
    value: ValueFunction,
    videos: Sequence[Video],
    frames: FrameReplay,
    horizon: int,
  ):
    """Takes the encoder as it is.

    Args:
      online: when and on what.
      settings: of the training step, of which online training changes the rates and the clips.
      max_skipped: updates in a row that may not be finite.
      key: of the run.
      value: the encoder.
      videos: the task's.
      frames: what the agent has seen; closed with this.
      horizon: steps in an episode.

    Raises:
      UserError: a video has a single frame, or TCC's cycles need more videos than there are.
    """
    num_channels, size = frames.shape[1:3]
    self._online, self.frames, self._horizon = online, frames, horizon
    self._value, self._max_skipped = value, max_skipped
    require_frames(videos)
    self._num_videos, self._num_task = len(videos), len(videos) + online.best * num_channels
    settings = dataclasses.replace(
      settings, learning_rate=online.learning_rate, head_learning_rate=0.0, decay_steps=0,
      anneal_steps=0, background_clips=online.clips,
    )  # fmt: skip
    check_cycles(settings.tcc, self._num_task)
    self._devices = step_devices(frames_per_step(settings, self._num_task))
    step = make_train_step(value, settings, self._num_task)
    self._step = parallel.compile_step(scan_steps(step, 1), self._devices)
    self._train = jax.tree.map(_held, init_state(key, value, settings, self._num_task))
    # One shape at all times, for one program: the task's videos, the best episodes, the latest.
    count = self._num_task + (online.recent * num_channels if online.clips else 0)
    length = max(horizon + 1, *(len(video.frames) for video in videos))
    self._videos = VideoSet(
      np.zeros((count, length, size, size, 3), np.uint8), np.ones(count, np.int32)
    )
    for row, video in enumerate(videos):
      self._fill(row, fit_square(video.frames, size))

  @property
  def state(self) -> OnlineState:
    """For a checkpoint."""
    return OnlineState(self._train, self.frames.save())

  def restore(self, state: OnlineState) -> None:
    """Goes on from a checkpoint; raises UserError where the frames are gone."""
    self._train = state.train
    self.frames.restore(state.index)

  @property
  def updates(self) -> int:
    return int(self._train.step)

  @property
  def value(self) -> ValueFunction:
    """The encoder as it is now."""
    return with_state(self._value, self._train)

  def see(self, loop_step: LoopStep) -> None:
    """Keeps the frames of a step."""
    if loop_step.first_frames is not None:
      self.frames.start(loop_step.first_frames)
    step = loop_step.step
    self.frames.add(step.frames, step.truncated, step.reset_frames)

  def due(self, before: int, now: int) -> bool:
    """Whether to learn at step `now` of the environments, when the last step was `before`."""
    every, needed = self._online.every, episodes_needed(self._online)
    return now // every > before // every and len(self._whole_episodes()) >= needed

  def learn(
    self, state: LoopState, reward: EmbeddingReward
  ) -> tuple[LoopState, EmbeddingReward, dict[str, float]]:
    """Takes some updates and computes the rewards of the replay anew.

    Args:
      state: of the loop, with the rewards of `reward`.
      reward: of the encoder as it is.

    Returns:
      The state with new rewards, potential and returns; the reward of the new encoder; metrics of
      the last update, and how the old rewards of the replay correlate with the new ones.
    """
    self._film(reward)
    if self._train.errors is not None:
      # In the places of the best episodes there are others now.
      self._train.errors[self._num_videos :] = -1
    videos = parallel.replicate(self._videos, self._devices)
    train = parallel.replicate(self._train, self._devices)
    for _ in range(self._online.steps):
      train, rows = self._step(train, videos)
    # Off the devices, whose buffers the next updates donate.
    self._train = jax.tree.map(_held, train)
    if self._train.skipped[1] >= self._max_skipped:
      raise UserError(
        f"expected finite losses and gradients while the encoder learns beside the policy, but "
        f"{self._train.skipped[1]} updates in a row had none; the last checkpoint is from before: "
        "lower config.policy.online.learning_rate."
      )
    metrics = {f"online_{name}": float(values[-1]) for name, values in rows.items()}
    reward = reward.with_value(self.value)
    old, size = np.asarray(state.replay.transitions.reward), int(state.replay.size)
    state = self._with_rewards(state, reward)
    both = old[:size], state.replay.transitions.reward[:size]
    if all(each.std() > 0 for each in both):
      metrics["online_reward_correlation"] = float(np.corrcoef(*both)[0, 1])
    return state, reward, metrics

  def __enter__(self) -> OnlineTraining:
    return self

  def __exit__(self, *unused) -> None:
    self.frames.close()

  def _film(self, reward: EmbeddingReward) -> None:
    """Puts the best and the latest episodes behind the task's videos."""
    episodes, row = self._whole_episodes(), self._num_videos
    potential = functools.cache(functools.partial(_potential, reward, self.frames))

    def gained(episode: Episode) -> float:
      first, *_, last = self.frames.rows_of_episode(episode)
      return float(potential(last)[episode.env] - potential(first)[episode.env])

    for episode in sorted(episodes, key=gained, reverse=True)[: self._online.best]:
      values = [potential(each)[episode.env] for each in self.frames.rows_of_episode(episode)]
      # Like the videos they end where the goal is nearest; what follows is the way back, or rest.
      length = max(2, 1 + int(np.argmax(values)))
      for frames in self.frames.video(episode):
        self._fill(row, frames[:length])
        row += 1
    for episode in episodes[-self._online.recent :] if self._online.clips else ():
      for frames in self.frames.video(episode):
        self._fill(row, frames)
        row += 1

  def _fill(self, row: int, frames: np.ndarray) -> None:
    self._videos.frames[row, : len(frames)] = frames
    self._videos.frames[row, len(frames) :] = frames[-1]
    self._videos.lengths[row] = len(frames)

  def _whole_episodes(self) -> list[Episode]:
    """Those that went on to their time limit, and not those that the simulator had to end."""
    return [
      episode for episode in self.frames.episodes()
      if episode.last - episode.first + 1 == self._horizon
    ]  # fmt: skip

  def _with_rewards(self, state: LoopState, reward: EmbeddingReward) -> LoopState:
    """The loop's state as if `reward` had been its reward all along."""
    known, num_envs = self.frames.known_steps(), len(state.returns)
    kept = np.array(state.replay.transitions.reward)
    rows = range(self.frames.rows_of(known.start)[0], int(self.frames.index.rows))
    # As many at once as while acting: the same program, and for the same encoder the same rewards.
    embed = functools.partial(_potential, reward, self.frames)
    with ThreadPoolExecutor(usable_cores()) as pool:
      potentials = np.stack(list(pool.map(embed, rows)))
    returns = np.zeros(num_envs)
    for step in known:
      before, after = (potentials[row - rows.start] for row in self.frames.rows_of(step))
      each = reward.reward(before, after)
      kept[(step * num_envs + np.arange(num_envs)) % len(kept)] = each
      returns = np.where(self.frames.ended(step), 0.0, returns + each)
    transitions = state.replay.transitions._replace(reward=kept)
    return state._replace(
      replay=state.replay._replace(transitions=transitions),
      potential=potentials[int(self.frames.index.current) - rows.start],
      returns=returns,
    )


def _potential(reward: EmbeddingReward, frames: FrameReplay, row: int) -> np.ndarray:
  return reward.potential(frames.read(row)[:, : reward.num_channels])[0]


def _held(leaf: Any) -> Any:
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return leaf
  return np.array(leaf)
