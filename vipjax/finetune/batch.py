"""The draws of one training step: its frames and their crops, its negatives and its cycles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vipjax import sampling
from vipjax.finetune import priorities
from vipjax.finetune.contrast import Contrast
from vipjax.finetune.settings import Settings

# Background clips have no hard part to skew towards.
_UNIFORM = sampling.Sampler("uniform")


class Frames(NamedTuple):
  """Frames by reference; leaves have the same leading axis, so that devices can share them.

  Attributes:
    video: int32 [F], row in the VideoSet.
    index: int32 [F], position in that video.
    crop: random keys [F]; frames of one clip share theirs, so they share their crop.
  """

  video: jax.Array
  index: jax.Array
  crop: jax.Array


class Batch(NamedTuple):
  """A step's frames and the draws of its losses.

  Attributes:
    frames: 4 B frames of B clips in the order o_0, g, o_t, o_t+1 of each, for the loss "icvf" of B
      steps in the order s, s', s+, z (`sampling.IntentFrames`), then the V N of TCC, then
      the 2 P of progress, of each pair the earlier and the later, then those of the contrast.
    permutations: int32 [M, B], of VIP's negatives.
    tcc_indices: int32 [V, N]; None without TCC.
    cycles: int32 [K, T], the videos of each cycle; None for all ordered pairs.
    starts: int32 [K], the frame in which each cycle starts; None for all ordered pairs.
    weights: float32 [B], how much each clip counts; None where all count the same.
    cells: int32, where the task's clips start, for `priorities.update`; None without priorities.
    progress: float32 [P], how far each later frame is ahead, as a share of its video; None without
      a progress head.
    reached: bool [2, B], for "icvf" whether s is s+, and whether it is z; None for other losses.
  """

  frames: Frames
  permutations: jax.Array
  tcc_indices: jax.Array | None
  cycles: jax.Array | None
  starts: jax.Array | None
  weights: jax.Array | None = None
  cells: jax.Array | None = None
  progress: jax.Array | None = None
  reached: jax.Array | None = None


def make_draw(
  settings: Settings, num_task: int, max_length: int, contrast: Contrast | None = None
) -> Callable[..., Batch]:
  """Makes the function that draws a step's batch from the lengths of the videos alone; jittable.

  It draws the same on the device and on the host, so a run is the same wherever its videos lie.

  Args:
    settings: of the training step.
    num_task: V, how many of the videos, the first ones, are the task's; the composites follow, the
      others are background.
    max_length: no video is longer.
    contrast: goals against failures, whose rows are no background; None for none.

  Returns:
    (the run's key, step, lengths int32 [N], `TrainState.errors` or None) -> the batch.
  """
  sampler, tcc, num_shown = settings.sampler, settings.tcc, num_task + settings.made_videos
  count = settings.batch_size + settings.background_clips

  def draw(key, step, lengths, errors=None):
    key = jax.random.fold_in(key, step)
    keys = jax.random.split(key, 6)
    task, weights, cells, reached = lengths[:num_task], None, None, None
    if settings.loss == "icvf":
      frames, reached = _steps(keys[0], lengths, num_shown, settings)
    else:
      frames, weights, cells = _clips(
        keys[0], lengths[:num_shown], 0, settings.batch_size, sampler, settings.last_goal, errors,
        priorities.annealed(sampler, settings.anneal_steps, step),
      )  # fmt: skip
    if settings.background_clips and settings.loss != "icvf":
      background = lengths[num_shown : len(lengths) - (contrast.num_rows if contrast else 0)]
      more, *_ = _clips(keys[1], background, num_shown, settings.background_clips, _UNIFORM)
      frames = _joined(frames, more)
      if weights is not None:
        weights = jnp.concatenate([weights, jnp.ones(settings.background_clips)])
    permutations = jnp.zeros((0, count), jnp.int32)
    if settings.num_negatives:
      permutation_keys = jax.random.split(keys[2], settings.num_negatives)
      permutations = jax.vmap(lambda k: jax.random.permutation(k, count))(permutation_keys)
    indices = cycles = starts = None
    if tcc.weight:
      indices = sampling.frame_subset(keys[3], sampler, task, tcc.frames, max_length)
      subsets = Frames(
        jnp.repeat(jnp.arange(num_task, dtype=jnp.int32), tcc.frames),
        indices.reshape(-1),
        jnp.repeat(jax.random.split(keys[4], num_task), tcc.frames),
      )
      frames = _joined(frames, subsets)
    if tcc.weight and tcc.num_cycles:
      cycle_key, start_key = jax.random.split(keys[5])
      cycles = sampling.sample_cycles(cycle_key, num_task, tcc.num_cycles, tcc.videos_per_cycle)
      starts = sampling.sample_starts(start_key, tcc.num_cycles, tcc.frames)
    # Keys beside the six, so that the other draws are the same without these.
    progress = None
    if settings.progress.weight:
      pairs, progress = _pairs(
        jax.random.fold_in(key, 7), task, settings.progress.pairs, max_length
      )
      frames = _joined(frames, pairs)
    if contrast:
      frames = _joined(frames, Frames(*contrast.draw(jax.random.fold_in(key, 6), lengths)))
    return Batch(
      frames, permutations, indices, cycles, starts, weights, cells, progress, reached
    )  # fmt: skip

  return draw


def _pairs(key, lengths, count: int, max_length: int):
  """Frames of pairs, and how far the later one of each is ahead."""
  video_key, index_key, crop_key = jax.random.split(key, 3)
  video = sampling.sample_videos(video_key, lengths.shape[0], count)
  indices = sampling.progress_pairs(index_key, lengths[video], max_length)
  frames = Frames(
    jnp.repeat(video, 2), indices.reshape(-1), jnp.repeat(jax.random.split(crop_key, count), 2)
  )
  return frames, (indices[:, 1] - indices[:, 0]) / (lengths[video] - 1)


def _steps(key, lengths, num_shown: int, settings: Settings):
  """Frames of steps with outcomes and intents, and which of these are reached.

  The steps are drawn evenly from the frames of the task's videos, and of the background's so many
  as it has clips; outcomes may be of any video. The four frames of a step share their crop, as
  those of a clip do: the policy's frames all have the same one.
  """
  task_key, background_key, goal_key, crop_key = jax.random.split(key, 4)
  video, index = sampling.any_frames(task_key, lengths[:num_shown] - 1, settings.batch_size)
  if count := settings.background_clips:
    more, at = sampling.any_frames(background_key, lengths[num_shown:] - 1, count)
    video, index = jnp.append(video, more + num_shown), jnp.append(index, at)
  shares = settings.intents
  drawn = sampling.intent_indices(
    goal_key, lengths, len(video), shares.current, shares.future, shares.same, shares.in_video,
    (video, index),
  )  # fmt: skip
  crops = jnp.repeat(jax.random.split(crop_key, len(video)), 4)
  frames = Frames(drawn.video.reshape(-1), drawn.index.reshape(-1), crops)
  return frames, jnp.stack([drawn.is_outcome, drawn.is_intent])


def _joined(first: Frames, second: Frames) -> Frames:
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def _clips(
  key, lengths, offset: int, count: int, sampler, last_goal: float = 0.0, errors=None, beta=0.0
):
  """Frames of clips; their weights and cells, which only the prioritised sampler has."""
  video_key, index_key, crop_key = jax.random.split(key, 3)
  positions = weights = cells = None
  if errors is None:
    video = sampling.sample_videos(video_key, lengths.shape[0], count)
  else:
    video, positions, cells, weights = priorities.draw(video_key, errors, sampler, beta, count)
  indices = sampling.clip_indices(index_key, sampler, lengths[video], last_goal, positions)
  frames = Frames(
    jnp.repeat(video + offset, 4),
    indices.reshape(-1),
    jnp.repeat(jax.random.split(crop_key, count), 4),
  )
  return frames, weights, cells
