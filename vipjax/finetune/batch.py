"""What one training step looks at: which frames, cropped how, in which negatives and cycles."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vipjax import sampling
from vipjax.finetune import priorities

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
    frames: 4 B frames of B clips in the order o_0, g, o_t, o_t+1 of each, then the V N of TCC.
    permutations: int32 [M, B], of VIP's negatives.
    tcc_indices: int32 [V, N]; None without TCC.
    cycles: int32 [K, T]; None for all ordered pairs.
    starts: int32 [K]; None for all ordered pairs.
    weights: float32 [B], how much each clip counts; None: all the same.
    cells: int32, where the task's clips start, for `priorities.update`; None likewise.
  """

  frames: Frames
  permutations: jax.Array
  tcc_indices: jax.Array | None
  cycles: jax.Array | None
  starts: jax.Array | None
  weights: jax.Array | None = None
  cells: jax.Array | None = None


def sample_batch(
  key: jax.Array,
  lengths: jax.Array,
  max_length: int,
  num_task: int,
  sampler: sampling.Sampler,
  batch_size: int,
  background_clips: int,
  num_negatives: int,
  tcc_frames: int,
  num_cycles: int,
  videos_per_cycle: int,
  last_goal: float = 0.0,
  errors: jax.Array | None = None,
  beta: jax.Array | float = 0.0,
) -> Batch:
  """Draws a batch; jittable. It needs the lengths of the videos and none of their frames.

  Args:
    key: a random key, used up.
    lengths: int32 [N], of the task's videos first, then of the background's.
    max_length: the longest that there can be.
    num_task: V, how many are the task's.
    sampler: draws first frames of the task's clips, and TCC's frames.
    batch_size: clips from the task's videos.
    background_clips: clips from the background's.
    num_negatives: M permutations.
    tcc_frames: N frames of each of the task's videos for TCC; 0 without TCC.
    num_cycles: K cycles; 0 for all ordered pairs.
    videos_per_cycle: T.
    last_goal: share of the task's clips whose goal is the last frame of their video.
    errors: float32 [V, bins] of the prioritised sampler; it needs them, others do not.
    beta: of the prioritised sampler, at this step.
  """
  keys = jax.random.split(key, 6)
  clips, weights, cells = _clips(
    keys[0], lengths[:num_task], 0, batch_size, sampler, last_goal, errors, beta
  )
  if background_clips:
    more, *_ = _clips(keys[1], lengths[num_task:], num_task, background_clips, _UNIFORM)
    clips = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), clips, more)
    if weights is not None:
      weights = jnp.concatenate([weights, jnp.ones(background_clips)])
  count = batch_size + background_clips
  permutations = jnp.zeros((0, count), jnp.int32)
  if num_negatives:
    permutation_keys = jax.random.split(keys[2], num_negatives)
    permutations = jax.vmap(lambda k: jax.random.permutation(k, count))(permutation_keys)
  if not tcc_frames:
    return Batch(clips, permutations, None, None, None, weights, cells)
  indices = sampling.frame_subset(keys[3], sampler, lengths[:num_task], tcc_frames, max_length)
  subsets = Frames(
    jnp.repeat(jnp.arange(num_task, dtype=jnp.int32), tcc_frames),
    indices.reshape(-1),
    jnp.repeat(jax.random.split(keys[4], num_task), tcc_frames),
  )
  frames = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), clips, subsets)
  cycles = starts = None
  if num_cycles:
    cycle_key, start_key = jax.random.split(keys[5])
    cycles = sampling.sample_cycles(cycle_key, num_task, num_cycles, videos_per_cycle)
    starts = sampling.sample_starts(start_key, num_cycles, tcc_frames)
  return Batch(frames, permutations, indices, cycles, starts, weights, cells)


def _clips(
  key, lengths, offset: int, count: int, sampler, last_goal: float = 0.0, errors=None, beta=0.0
):
  """Frames of clips; and their weights and cells, None but with the prioritised sampler."""
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
