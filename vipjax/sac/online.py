"""The encoder goes on learning while the policy does: augmentation and TCC during online training.

Every so often the training step of `finetune` takes some more updates, on the task's videos and on
what the policy has done of late, filmed with and without the robot:

- its latest episodes are background clips of the VIP loss. By their pairs with the videos' goals,
  VIP's negatives, the value of states where the policy loiters falls (arXiv:2210.00030, whose dual
  takes its transitions from any data);
- its best episodes, by their return under the embedding reward, join the task's videos, in VIP's
  clips and in TCC's cycles.

Then the rewards of what the replay remembers are computed anew. Nothing but frames is used.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
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
  repeat,
  step_devices,
  with_state,
)
from vipjax.reward import EmbeddingReward
from vipjax.runtime import parallel
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError
from vipjax.runtime.numbers import require_at_least
from vipjax.sac.own_frames import Episode, FrameIndex, OwnFrames
from vipjax.sac.rollout import LoopState, Tick
from vipjax.types import Video, VideoSet
from vipjax.videos import fit_square, require_frames


@dataclasses.dataclass(frozen=True)
class OnlineSettings:
  """When and on what the encoder goes on learning.

  Attributes:
    every: environment steps from one time to the next; 0 is never, as published.
    steps: updates each time, at least 1.
    learning_rate: of Adam, of all layers, > 0.
    clips: of the agent's latest episodes in each batch of the VIP loss; 0 for none.
    recent: how many latest episodes these are from; at least 1 where there are clips.
    best: how many of its best episodes join the task's videos; 0 for none.
    frames_mb: MiB of the file of frames, on which depends how much the replay remembers.

  Raises:
    UserError: one of them is out of its range, or the agent's episodes would not be used at all.
  """

  every: int = 0
  steps: int = 50
  learning_rate: float = 1e-4
  clips: int = 8
  recent: int = 9
  best: int = 2
  frames_mb: int = 4096

  def __post_init__(self):
    least = {"every": 0, "steps": 1, "clips": 0, "recent": 1, "best": 0, "frames_mb": 1}
    for name, smallest in least.items():
      require_at_least(f"config.policy.online.{name}", getattr(self, name), smallest)
    if not self.learning_rate > 0:
      raise UserError(
        f"expected config.policy.online.learning_rate above 0, got {self.learning_rate}."
      )
    if self.every and not self.clips + self.best:
      raise UserError(
        "expected the agent's own episodes in online training, got config.policy.online.clips and "
        "best of 0: set one of them, or config.policy.online.every to 0."
      )


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
    capacity: how many transitions the replay may hold, so that the frames of each are there.
    updates: how many it has made so far.
    frames: what the agent has seen.
  """

  def __init__(
    self,
    online: OnlineSettings,
    settings: Settings,
    key: jax.Array,
    value: ValueFunction,
    videos: Sequence[Video],
    path: pathlib.Path,
    shape: tuple[int, ...],
    steps: int,
    horizon: int,
    spare_steps: int,
  ):
    """Opens the file of frames and takes the encoder as it is.

    Args:
      online: when and on what.
      settings: of the training step, of which online training changes the rates and the clips.
      key: of the run.
      value: the encoder.
      videos: the task's.
      path: of the file of frames.
      shape: [N, C, H, W, 3], of the frames of a step; H = W.
      steps: environment steps of the whole run.
      horizon: steps in an episode.
      spare_steps: environment steps that may be taken again on resume.

    Raises:
      UserError: the file may not hold the episodes that are asked for, or TCC's cycles need more
        videos than there are.
    """
    num_envs, num_channels, size = shape[:3]
    self._online, self._videos = online, list(videos)
    require_frames(self._videos)
    # Rows are of steps and, where an episode ends, of the state to go on from.
    remembered, spare = (
      -(-count // num_envs) + -(-count // num_envs // horizon) + 2 for count in (steps, spare_steps)
    )
    fits = online.frames_mb * 2**20 // int(np.prod(shape))
    rows = min(remembered, fits - spare)
    wanted = -(-max(online.recent, online.best) // num_envs) * (horizon + 2)
    if rows < wanted:
      need = -(-(wanted + spare) * int(np.prod(shape)) // 2**20)
      raise UserError(
        f"expected config.policy.online.frames_mb of at least {need} for "
        f"{max(online.recent, online.best)} episodes and for going on after an interruption, got "
        f"{online.frames_mb}: raise it, or lower config.policy.checkpoint_every."
      )
    self.capacity = min(rows * horizon // (horizon + 1), -(-steps // num_envs)) * num_envs
    self.frames = OwnFrames(path, shape, self.capacity // num_envs, rows, spare)
    self._shape = (max(horizon + 1, max(len(v.frames) for v in videos)), size)
    self._num_task = len(videos) + online.best * num_channels
    settings = dataclasses.replace(
      settings, learning_rate=online.learning_rate, head_learning_rate=0.0, decay_steps=0,
      background_clips=online.clips,
    )  # fmt: skip
    check_cycles(settings.tcc, self._num_task)
    self._devices = step_devices(frames_per_step(settings, self._num_task))
    step = make_train_step(value, settings, self._num_task, len(self._devices))
    self._step = parallel.compile_step(repeat(step, 1), self._devices)
    self._value = value
    self._train = jax.tree.map(_held, init_state(key, value, settings, self._num_task))

  @property
  def state(self) -> OnlineState:
    """For a checkpoint; set it to go on from one."""
    return OnlineState(self._train, self.frames.index)

  @state.setter
  def state(self, state: OnlineState) -> None:
    self._train, self.frames.index = state

  @property
  def updates(self) -> int:
    return int(self._train.step)

  @property
  def value(self) -> ValueFunction:
    """The encoder as it is now."""
    return with_state(self._value, self._train)

  def see(self, tick: Tick) -> None:
    """Keeps the frames of a step."""
    if tick.first_frames is not None:
      self.frames.start(tick.first_frames)
    step = tick.step
    self.frames.add(step.frames, step.truncated, step.reset_frames)

  def due(self, before: int, now: int) -> bool:
    """Whether to learn at step `now` of the environments, when the last step was `before`."""
    every = self._online.every
    enough = max(self._online.recent if self._online.clips else 0, self._online.best)
    return now // every > before // every and len(self.frames.episodes()) >= enough

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
    videos = self._video_set(np.asarray(state.replay.transitions.reward), state)
    videos = parallel.replicate(videos, self._devices)
    train = parallel.replicate(self._train, self._devices)
    for _ in range(self._online.steps):
      train, rows = self._step(train, videos)
    # Off the devices, whose buffers the next updates donate.
    self._train = jax.tree.map(_held, train)
    if self._train.skipped[1] >= self._online.steps:
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

  def _video_set(self, rewards: np.ndarray, state: LoopState) -> VideoSet:
    """The task's videos, the agent's best episodes, its latest ones."""
    episodes = self.frames.episodes()
    num_envs = len(state.returns)

    def gained(episode: Episode) -> float:
      steps = np.arange(episode.first, episode.last + 1)
      return float(rewards[(steps * num_envs + episode.env) % len(rewards)].sum())

    best = sorted(episodes, key=gained, reverse=True)[: self._online.best]
    recent = episodes[-self._online.recent :] if self._online.clips else []
    length, size = self._shape
    clips = [fit_square(video.frames, size) for video in self._videos]
    clips += [frames for episode in [*best, *recent] for frames in self.frames.video(episode)]
    # One shape at all times, for one program.
    padded = [clip[np.minimum(np.arange(length), len(clip) - 1)] for clip in clips]
    return VideoSet(np.stack(padded), np.array([len(clip) for clip in clips], np.int32))

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


def _potential(reward: EmbeddingReward, frames: OwnFrames, row: int) -> np.ndarray:
  return reward.potential(frames.read(row)[:, : reward.num_channels])[0]


def _held(leaf: Any) -> Any:
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return leaf
  return np.array(leaf)
