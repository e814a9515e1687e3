"""The encoder goes on learning while the policy does: augmentation and TCC during online training.

From time to time the encoder takes some more updates of `finetune`'s training step, on the task's
videos and on the policy's own episodes, filmed with and without the robot:

- Its latest episodes are background clips of the VIP loss. VIP's negatives pair them with the goals
  of the videos, so the value falls where the policy loiters (arXiv:2210.00030, whose dual takes its
  transitions from any data).
- Episodes that come near to the goal with the robot and without it, in the expert's order, join the
  task's videos, in VIP's clips and in TCC's cycles. They are cut where they are nearest. The value
  alone does not tell: the episodes of highest reward are those that mime the expert's last pose.
- The frames of those that mime are failures of a contrast against the goals, on request
  (`losses.contrast_loss`; `own_episodes` tells both apart).

Then the rewards in the replay are computed anew. All of this uses frames alone.

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
from vipjax.sac.frame_replay import FrameIndex, FrameReplay
from vipjax.sac.online_settings import OnlineSettings
from vipjax.sac.own_films import OwnFilms
from vipjax.sac.rollout import LoopState, LoopStep
from vipjax.types import Video


class OnlineState(NamedTuple):
  """What a checkpoint holds of online training: the encoder's training, and where frames are."""

  train: TrainState
  index: FrameIndex


class OnlineTraining:
  """The encoder's training on the agent's frames.

  Attributes:
    frames: what the agent saw; closed at the end of the `with` statement.
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
    channels: Sequence[Channel],
    shown: Sequence[tuple[int, ...]],
  ):
    """Starts from an encoder as it is.

    Args:
      online: when and on what it learns.
      settings: of the training step; online training has its own learning rate and clips.
      max_skipped: how many updates in a row may be skipped because they are not finite.
      key: random key of the training.
      value: the encoder.
      videos: the task's.
      frames: what the agent saw.
      horizon: steps in an episode.
      channels: what the frames show, see `filmed`.
      shown: result of `rows_showing`; where a channel has no videos, no episode is judged.

    Raises:
      UserError: a video has a single frame, TCC's cycles need more videos than there are, or the
        contrast has no videos with and without the robot.
    """
    self._online, self.frames, self._num_videos = online, frames, len(videos)
    self._value, self._max_skipped = value, max_skipped
    self._films = OwnFilms(online, videos, frames, horizon, channels, shown)
    num_task, contrast = self._films.num_task, self._films.contrast
    settings = dataclasses.replace(
      settings, learning_rate=online.learning_rate, head_learning_rate=0.0, decay_steps=0,
      anneal_steps=0, background_clips=online.clips,
    )  # fmt: skip
    check_cycles(settings.tcc, num_task)
    self._devices = step_devices(frames_per_step(settings, num_task, contrast))
    step = make_train_step(value, settings, num_task, contrast=contrast)
    self._step = parallel.compile_step(scan_steps(step, 1), self._devices)
    self._train = jax.tree.map(_held, init_state(key, value, settings, num_task))

  @property
  def state(self) -> OnlineState:
    """What a checkpoint holds; the frames are written through to the disk."""
    return OnlineState(self._train, self.frames.save())

  def restore(self, state: OnlineState) -> None:
    """Goes on from a checkpoint.

    Raises:
      UserError: the frames are gone.
    """
    self._train = state.train
    self.frames.restore(state.index)

  @property
  def updates(self) -> int:
    """How many updates the encoder has taken."""
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
    """Whether to learn after environment step `now`, where the last call was at step `before`."""
    every, needed = self._online.every, self._online.episodes
    return now // every > before // every and len(self._films.whole_episodes()) >= needed

  def learn(
    self, state: LoopState, reward: EmbeddingReward
  ) -> tuple[LoopState, EmbeddingReward, dict[str, float]]:
    """Takes `OnlineSettings.steps` updates and computes the rewards in the replay anew.

    Args:
      state: the loop's, with rewards of `reward`.
      reward: that of the encoder before these updates.

    Returns:
      The state with new rewards, potential and returns; the new encoder's reward; metrics of the
      last update, and the correlation of the replay's old rewards with the new ones.

    Raises:
      UserError: too many updates in a row were not finite.
    """
    facts = self._films.write(reward, self.value.embed)
    if self._train.errors is not None:
      # Other episodes have joined the task's videos: nothing is known of them.
      self._train.errors[self._num_videos :] = -1
    videos = parallel.replicate(self._films.videos, self._devices)
    train = parallel.replicate(self._train, self._devices)
    for _ in range(self._online.steps):
      train, rows = self._step(train, videos)
    # Copied to the host, because the next updates donate the device's buffers.
    self._train = jax.tree.map(_held, train)
    if self._train.skipped[1] >= self._max_skipped:
      raise UserError(
        "expected finite losses and gradients while the encoder learns beside the policy, got none "
        f"in {self._train.skipped[1]} updates in a row; lower config.policy.online.learning_rate "
        "and go on from the last checkpoint, which is from before."
      )
    metrics = {f"online_{name}": float(values[-1]) for name, values in rows.items()} | facts
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

  def _with_rewards(self, state: LoopState, reward: EmbeddingReward) -> LoopState:
    """The loop's state as it would be had `reward` been its reward from the start."""
    known, num_envs = self.frames.known_steps(), len(state.returns)
    kept = np.array(state.replay.transitions.reward)
    rows = range(self.frames.rows_of(known.start)[0], int(self.frames.index.rows))
    # In batches of the size that acting uses: the same program gives the same encoder's rewards.
    embed = functools.partial(_state, reward, self.frames)
    with ThreadPoolExecutor(usable_cores()) as pool:
      states = np.stack(list(pool.map(embed, rows)))
    returns = np.zeros(num_envs)
    for step in known:
      before, after = (states[row - rows.start] for row in self.frames.rows_of(step))
      each = reward.reward(before, after)
      kept[(step * num_envs + np.arange(num_envs)) % len(kept)] = each
      returns = np.where(self.frames.ended(step), 0.0, returns + each)
    transitions = state.replay.transitions._replace(reward=kept)
    return state._replace(
      replay=state.replay._replace(transitions=transitions),
      potential=states[int(self.frames.index.current) - rows.start],
      returns=returns,
    )


def _state(reward: EmbeddingReward, frames: FrameReplay, row: int) -> np.ndarray:
  """What the reward remembers of the states that a row of the frames shows, [N, *state_shape]."""
  return reward.state(frames.read(row)[:, : reward.num_channels])[0]


def _held(leaf: Any) -> Any:
  """A NumPy copy of an array; random keys stay as they are."""
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return leaf
  return np.array(leaf)
