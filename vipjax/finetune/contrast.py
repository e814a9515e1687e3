"""The draws of the contrast of goals against failures (`losses.contrast_loss`)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Contrast:
  """Goals that are to be nearer to the expert's late frames than to failures.

  Attributes:
    weight: factor of the loss beside that of the clips.
    goals: at least one row of the VideoSet: videos of the task, whose last frames are the goals.
    failures: as many rows, the failures of each goal's channel; no clips are drawn from them. They
      are the VideoSet's last rows, and one of length 0 has none yet.
    clips: goals in each batch.
  """

  weight: float
  goals: tuple[int, ...]
  failures: tuple[int, ...]
  clips: int = 8

  @property
  def num_frames(self) -> int:
    """How many frames a batch has for it."""
    return 4 * self.clips

  @property
  def num_rows(self) -> int:
    """How many rows of the VideoSet hold failures."""
    return len(set(self.failures))

  def draw(self, key: jax.Array, lengths: jax.Array) -> tuple[jax.Array, ...]:
    """Draws for each goal o_0, g, a frame of the last tenth before g, and a failure, in one crop.

    Args:
      key: a random key, used up.
      lengths: int32 [N], of all videos.

    Returns:
      The leaves of `batch.Frames`, 4 frames of each clip in this order.
    """
    pair_key, late_key, failure_key, crop_key = jax.random.split(key, 4)
    shape = (self.clips,)
    pair = jax.random.randint(pair_key, shape, 0, len(self.goals))
    video, failure = (jnp.asarray(rows, jnp.int32)[pair] for rows in (self.goals, self.failures))
    goal = lengths[video] - 1
    late = jax.random.randint(late_key, shape, goal - jnp.maximum(goal // 10, 1), goal)
    place = jax.random.randint(failure_key, shape, 0, jnp.maximum(lengths[failure], 1))
    return (
      jnp.stack([video, video, video, failure], axis=-1).reshape(-1),
      jnp.stack([jnp.zeros_like(goal), goal, late, place], axis=-1).reshape(-1),
      jnp.repeat(jax.random.split(crop_key, self.clips), 4),
    )
