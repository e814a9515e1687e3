"""Prioritised sampling: clips start where the value has been most wrong of late.

Prioritised experience replay (Schaul et al., arXiv:1511.05952) for a few videos: each video is cut
into bins of equal length, and each bin has a running mean of the TD errors
|r + discount V(o_t+1, g) - V(o_t, g)| of the clips that started there. Errors are float32
[V, bins], -1 where no clip has started yet. All functions are jittable.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.sampling import Sampler

_UNKNOWN = -1.0
# Keeps a priority of exactly 0 away from the logarithm; it is the floor that keeps bins alive.
_TINY = 1e-6


def init_errors(num_videos: int, bins: int) -> jax.Array:
  """Errors float32 [num_videos, bins] before any clip."""
  return jnp.full((num_videos, bins), _UNKNOWN, jnp.float32)


def probabilities(errors: jax.Array, sampler: Sampler) -> jax.Array:
  """How likely a clip is to start in each bin.

  It is (1 - floor) p^alpha / sum p^alpha, equation 1 of the paper, plus floor / (V bins), which is
  the same for all. p is the bin's mean error; an unknown one counts as the greatest known one, so
  that clips soon start there (algorithm 1).

  Args:
    errors: float32 [V, bins].
    sampler: gives alpha and floor.

  Returns:
    float32 [V, bins] with sum 1.
  """
  known = errors >= 0
  greatest = jnp.where(known.any(), jnp.max(jnp.where(known, errors, 0.0)), 1.0)
  priority = (jnp.where(known, errors, greatest) + _TINY) ** sampler.alpha
  share = priority / jnp.sum(priority)
  return (1.0 - sampler.floor) * share + sampler.floor / errors.size


def annealed(sampler: Sampler, steps: int, done: jax.Array) -> jax.Array:
  """The sampler's beta after `done` updates, a float32 scalar.

  It moves on a line to final_beta in `steps` updates (section 3.4); with 0 steps it stays.
  """
  share = jnp.minimum(done / steps, 1.0) if steps else 0.0
  return jnp.float32(sampler.beta) + (sampler.final_beta - sampler.beta) * share


def draw(
  key: jax.Array, errors: jax.Array, sampler: Sampler, beta: jax.Array | float, count: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Draws where clips start, and weights that make up for how often each start is drawn.

  Args:
    key: a random key, used up.
    errors: float32 [V, bins].
    sampler: gives alpha and floor.
    beta: from `annealed`, 0 to 1.
    count: B clips.

  Returns:
    int32 [B], the videos; float32 [B] in [0, 1), positions in them, uniform within the bin; int32
    [B], the bins as places in the flattened errors; float32 [B], importance weights
    (V bins P)^-beta (section 3.4), divided by their mean in the batch: with the paper's greatest
    weight as the divisor a batch of all the same weights would count for less or more than 1.
  """
  bin_key, place_key = jax.random.split(key)
  likely = probabilities(errors, sampler).reshape(-1)
  cells = jax.random.categorical(bin_key, jnp.log(likely), shape=(count,)).astype(jnp.int32)
  videos, bins = jnp.divmod(cells, errors.shape[1])
  positions = (bins + jax.random.uniform(place_key, (count,), jnp.float32)) / errors.shape[1]
  weights = (errors.size * likely[cells]) ** -beta
  return videos, jnp.minimum(positions, 1.0 - 1e-7), cells, weights / jnp.mean(weights)


def update(errors: jax.Array, cells: jax.Array, found: jax.Array, momentum: float) -> jax.Array:
  """The running means after a batch.

  Args:
    errors: float32 [V, bins].
    cells: int32 [B], from `draw`.
    found: float [B], TD errors of the clips, >= 0; each bin takes the mean of its clips.
    momentum: how much of the mean before stays, 0 to 1; an unknown bin takes its clips' mean alone.

  Returns:
    float32 [V, bins].
  """
  before, rows = errors.reshape(-1), jnp.arange(len(cells))
  # Each clip sums the clips of its bin, and the first of these writes: scatter-add would let
  # replicas differ, because a GPU chooses its order.
  same = cells[:, None] == cells[None, :]
  mean = jnp.sum(jnp.where(same, found.astype(before.dtype), 0.0), axis=1) / jnp.sum(same, axis=1)
  known = before[cells]
  blended = jnp.where(known < 0, mean, momentum * known + (1.0 - momentum) * mean)
  places = jnp.where(jnp.argmax(same, axis=1) == rows, cells, before.size + rows)
  after = before.at[places].set(blended, mode="drop", unique_indices=True)
  return after.reshape(errors.shape)
