"""Draws of the videos, frames and cycles that a training step sees, from explicit random keys.

Sizes (`num_frames`, `shape`, ...) are Python integers, static under jit; the lengths of videos may
be traced. A `Sampler` is a static pytree, so jit takes it as an argument like any other. The ranges
of arrays are checked wherever their numbers are known, which is always outside jit.
"""

from __future__ import annotations

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError, require_among

SAMPLERS = ("uniform", "exponential", "beta", "prioritised")

# The largest float32 below 1: positions are in [0, 1), but rounding reaches 1.
_BELOW_ONE = float(np.nextafter(np.float32(1.0), np.float32(0.0)))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Sampler:
  """A distribution over positions in a video, 0 its beginning and 1 its end.

  Attributes:
    name: "uniform" (the official VIP scheme), "exponential" (ever likelier towards the end), "beta"
      (around the mode (a - 1) / (a + b - 2) if a, b > 1) or "prioritised" (first frames of clips
      where the value has been most wrong; other frames uniformly).
    rate: of "exponential", > 0: the density at position x is proportional to exp(rate * x); 5 in
      the published experiment.
    a: of "beta", > 0: the density at x is proportional to x^(a - 1) (1 - x)^(b - 1).
    b: of "beta", > 0.
    bins: of "prioritised" as all that follow (see `vipjax.finetune.priorities`), >= 1: the parts of
      each video that have a priority each.
    alpha: from 0, priorities do not matter, to 1.
    beta: at the beginning of training, from 0 to 1, importance weights make up for priorities.
    final_beta: the same at its end.
    floor: share of draws that heed no priority, above 0 and at most 1.
    momentum: of the running mean of errors, from 0 to less than 1.

  Raises:
    UserError: an unknown name, or a value out of its range.
  """

  name: str
  rate: float = 5.0
  a: float = 2.0
  b: float = 2.0
  bins: int = 16
  alpha: float = 0.6
  beta: float = 0.4
  final_beta: float = 1.0
  floor: float = 0.1
  momentum: float = 0.9

  def __post_init__(self):
    require_among("a sampler", self.name, SAMPLERS)
    ranges.check("finetune.sampler", vars(self))


def sample_positions(key: jax.Array, sampler: Sampler, shape: tuple[int, ...]) -> jax.Array:
  """Draws independent positions, float32 [*shape] in [0, 1); `key` is used up."""
  if sampler.name == "beta":
    positions = jax.random.beta(key, sampler.a, sampler.b, shape, jnp.float32)
  else:
    positions = jax.random.uniform(key, shape, jnp.float32)
  if sampler.name == "exponential":
    # The time left to the end is exponential, cut off at 1: its inverse distribution function.
    mass = -math.expm1(-sampler.rate)
    positions = 1.0 + jnp.log1p(-mass * positions) / sampler.rate
  return jnp.clip(positions, 0.0, _BELOW_ONE)


def clip_indices(
  key: jax.Array,
  sampler: Sampler,
  lengths: jax.Array,
  last_goal: float = 0.0,
  positions: jax.Array | None = None,
) -> jax.Array:
  """Draws the four frames of a VIP clip from each video.

  In a video of L frames, o_0 is drawn by the sampler from [0, L - 2), the goal g uniformly from
  [o_0 + 1, L), o_t uniformly from [o_0, g), and o_t+1 follows o_t. With a uniform sampler that is
  the official scheme (arXiv:2210.00030). A video of two frames, which that scheme cannot take,
  gives 0, 1, 0, 1.

  Args:
    key: a random key, used up.
    sampler: distribution of o_0 alone.
    lengths: integers [B], L >= 2 each.
    last_goal: share of clips, 0 to 1, whose goal is the video's last frame instead; 0 is official.
    positions: float32 [B] in [0, 1), places of o_0 drawn elsewhere; None: drawn by the sampler.

  Returns:
    int32 [B, 4], the frames o_0, g, o_t, o_t+1; o_0 <= o_t < o_t+1 <= g < L.

  Raises:
    UserError: lengths are not integers [B], or (where known) a video is too short.
  """
  lengths = check_lengths(lengths, 2)
  start_key, goal_key, current_key, last_key = jax.random.split(key, 4)
  if positions is None:
    positions = sample_positions(start_key, sampler, lengths.shape)
  chex.assert_equal_shape([positions, lengths])
  start = _place(positions, jnp.maximum(lengths - 2, 1))
  goal = jax.random.randint(goal_key, lengths.shape, start + 1, lengths)
  if last_goal:
    is_last = jax.random.bernoulli(last_key, last_goal, lengths.shape)
    goal = jnp.where(is_last, lengths - 1, goal)
  current = jax.random.randint(current_key, lengths.shape, start, goal)
  return jnp.stack([start, goal, current, current + 1], axis=-1)


def frame_subset(
  key: jax.Array, sampler: Sampler, lengths: jax.Array, num_frames: int, max_length: int
) -> jax.Array:
  """Draws sorted frames of each video for TCC, none of them twice where the video is long enough.

  Frames are drawn one after the other without replacement, frame i of L with a probability
  proportional to the sampler's density at its middle, (i + 1/2) / L. (Equivalently, and in one
  go: the frames with the largest log density plus Gumbel noise, arXiv:1903.06059.) A video of
  fewer than `num_frames` frames gives all of them, and some again, drawn by the sampler.

  Args:
    key: a random key, used up.
    sampler: the distribution of frames over each video.
    lengths: integers [B], from 1 to `max_length`.
    num_frames: N >= 1, frames per video.
    max_length: T_max, the longest length there can be; memory is O(B T_max).

  Returns:
    int32 [B, N], ascending in each row, in [0, L).

  Raises:
    UserError: a size is not positive, lengths are not integers [B], or (where known) one is not
      in 1..max_length.
  """
  _check_sizes(num_frames=num_frames, max_length=max_length)
  lengths = check_lengths(lengths, 1, max_length)
  noise_key, repeat_key = jax.random.split(key)
  # At least N candidates, of which those past the video's end come last.
  candidates = jnp.arange(max(max_length, num_frames), dtype=jnp.int32)[None, :]
  exists = candidates < lengths[:, None]
  middles = (jnp.minimum(candidates, lengths[:, None] - 1) + 0.5) / lengths[:, None]
  noise = jax.random.gumbel(noise_key, exists.shape, jnp.float32)
  scores = jnp.where(exists, _log_density(sampler, middles) + noise, -jnp.inf)
  _, chosen = jax.lax.top_k(scores, num_frames)
  positions = sample_positions(repeat_key, sampler, chosen.shape)
  repeated = _place(positions, lengths[:, None])
  return jnp.sort(jnp.where(chosen < lengths[:, None], chosen, repeated), axis=-1)


def progress_pairs(key: jax.Array, lengths: jax.Array, max_length: int) -> jax.Array:
  """Draws two frames of each video, near ones more often (arXiv:2509.26627).

  In a video of L frames their gap k is drawn from 1..L - 1 with a probability proportional to
  1 / k, then the earlier frame uniformly from [0, L - k).

  Args:
    key: a random key, used up.
    lengths: integers [B], from 2 to `max_length`.
    max_length: T_max, the longest length there can be; memory is O(B T_max).

  Returns:
    int32 [B, 2], the earlier and the later frame.

  Raises:
    UserError: lengths are not integers [B], or (where known) one is not in 2..max_length.
  """
  lengths = check_lengths(lengths, 2, max_length)
  gap_key, start_key = jax.random.split(key)
  gaps = np.arange(1, max_length, dtype=np.int32)[None]
  logits = jnp.where(gaps < lengths[:, None], -np.log(gaps), -jnp.inf)
  gap = 1 + jax.random.categorical(gap_key, logits).astype(jnp.int32)
  start = jax.random.randint(start_key, lengths.shape, 0, lengths - gap)
  return jnp.stack([start, start + gap], axis=-1)


def sample_cycles(
  key: jax.Array, num_videos: int, num_cycles: int, videos_per_cycle: int
) -> jax.Array:
  """Draws the videos of each TCC cycle, uniformly and in random order.

  Args:
    key: a random key, used up.
    num_videos: B, the number of videos.
    num_cycles: K >= 1; the published experiment has 20.
    videos_per_cycle: T from 2 to B; the published experiment has 4.

  Returns:
    int32 [K, T] in [0, B), different ones in each row.

  Raises:
    UserError: T < 2, T > B, or a size is not positive.
  """
  _check_sizes(num_videos=num_videos, num_cycles=num_cycles)
  if videos_per_cycle < 2:
    raise UserError(
      f"expected TCC cycles of at least 2 videos, got T={videos_per_cycle}; raise "
      "config.finetune.tcc.videos_per_cycle."
    )
  if videos_per_cycle > num_videos:
    raise UserError(
      f"expected at least {videos_per_cycle} videos for TCC cycles of T={videos_per_cycle}, got "
      f"{num_videos}; lower config.finetune.tcc.videos_per_cycle or add videos."
    )
  # The order of random numbers is a random permutation; top_k sorts only the first T.
  noise = jax.random.uniform(key, (num_cycles, num_videos))
  return jax.lax.top_k(noise, videos_per_cycle)[1].astype(jnp.int32)


def sample_starts(key: jax.Array, num_cycles: int, num_frames: int) -> jax.Array:
  """Draws the frame where each cycle starts: int32 [num_cycles], uniform in [0, num_frames).

  Uses up `key`. Raises UserError if a size is not positive.
  """
  _check_sizes(num_cycles=num_cycles, num_frames=num_frames)
  return jax.random.randint(key, (num_cycles,), 0, num_frames, jnp.int32)


def sample_videos(
  key: jax.Array, num_videos: int, batch: int, weights: jax.Array | None = None
) -> jax.Array:
  """Draws videos independently; one may come up twice.

  Args:
    key: a random key, used up.
    num_videos: N >= 1.
    batch: B >= 1.
    weights: numbers [N] >= 0, not all 0; probabilities are proportional to them. None: equal.

  Returns:
    int32 [B] in [0, N).

  Raises:
    UserError: a size is not positive, or the weights have another shape or (where known) are
      negative, not finite, or all 0.
  """
  _check_sizes(num_videos=num_videos, batch=batch)
  if weights is None:
    return jax.random.randint(key, (batch,), 0, num_videos, jnp.int32)
  if np.shape(weights) != (num_videos,):
    raise UserError(
      f"expected one weight per video, [{num_videos}], got shape {list(np.shape(weights))}; give "
      "as many weights as there are videos."
    )
  if not isinstance(weights, jax.core.Tracer):
    known = np.asarray(weights, np.float64)
    if not (np.isfinite(known).all() and (known >= 0).all() and known.sum() > 0):
      raise UserError(
        f"expected finite video weights >= 0 with a sum > 0, got {known.tolist()}; mend them."
      )
  logits = jnp.log(jnp.asarray(weights, jnp.float32))
  return jax.random.categorical(key, logits, shape=(batch,)).astype(jnp.int32)


def _log_density(sampler: Sampler, positions: jax.Array) -> jax.Array:
  """Log density in (0, 1), up to a constant."""
  if sampler.name == "exponential":
    return sampler.rate * positions
  if sampler.name == "beta":
    # Factors of 0 (a or b = 1) are fine here, for positions are strictly between 0 and 1.
    return (sampler.a - 1.0) * jnp.log(positions) + (sampler.b - 1.0) * jnp.log1p(-positions)
  return jnp.zeros_like(positions)


def _place(positions: jax.Array, count: jax.Array) -> jax.Array:
  """Positions in [0, 1) as int32 places in [0, count); a product may round up to count."""
  return jnp.minimum(jnp.floor(positions * count).astype(jnp.int32), count - 1)


def _check_sizes(**sizes: int) -> None:
  for name, size in sizes.items():
    if size < 1:
      raise UserError(f"expected {name} of at least 1, got {size}; raise it.")


def check_lengths(lengths: jax.Array, low: int, high: int | None = None) -> jax.Array:
  array = jnp.asarray(lengths)
  if array.ndim != 1 or array.size == 0 or not jnp.issubdtype(array.dtype, jnp.integer):
    raise UserError(
      f"expected video lengths as integers [B], got {array.dtype} {list(array.shape)}; give one "
      "length per video."
    )
  if not isinstance(lengths, jax.core.Tracer):
    known = np.asarray(lengths)
    if known.min() < low or (high is not None and known.max() > high):
      raise UserError(
        f"expected video lengths of {low} to {'any' if high is None else high} frames, got "
        f"{known.min()} to {known.max()}; leave those videos out or cut them."
      )
  return array.astype(jnp.int32)
