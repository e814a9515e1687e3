"""Draws of steps with an outcome and an intent, for an intention-conditioned value function."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from vipjax.runtime.errors import UserError
from vipjax.sampling.frames import check_lengths


class IntentFrames(NamedTuple):
  """Frames of B rows in the order s, s', s+, z: a step, an outcome and an intent.

  Attributes:
    video: int32 [B, 4], the video of each frame.
    index: int32 [B, 4], where it lies in it.
    is_outcome: bool [B], whether s is s+.
    is_intent: bool [B], whether s is z.
  """

  video: jax.Array
  index: jax.Array
  is_outcome: jax.Array
  is_intent: jax.Array


def intent_indices(
  key: jax.Array,
  lengths: jax.Array,
  batch: int,
  current: float = 0.2,
  future: float = 0.7,
  same: float = 0.5,
  intent_in_video: bool = True,
  frames: tuple[jax.Array, jax.Array] | None = None,
) -> IntentFrames:
  """Draws steps of any videos, and for each an outcome s+ and an intent z of `losses.icvf_loss`.

  A goal of a frame s is s itself, with the share `current`; a frame of the same video from s to its
  last, with the share `future`: the one nearest to a place uniform over that time, so that s and
  the last count half; or any frame of any video. z is such a goal, s+ is z with the share `same`,
  else a goal of its own. So draws the code of ICVF's authors (arXiv:2304.04782): for simulated
  states with future=.5 and intents of any video, for videos with these defaults.

  Args:
    key: a random key, used up.
    lengths: integers [N], L >= 2 each.
    batch: B >= 1.
    current: share from 0 to 1.
    future: share from 0 to 1; the two together at most 1.
    same: share from 0 to 1.
    intent_in_video: whether z is always of the video of s, where nobody wants what another one
      shows: what is not `current` is `future` then.
    frames: integers [B] each, the videos and indices of s, drawn elsewhere, where the last frame of
      a video is followed by itself; None: uniform over all frames that another one follows.

  Returns:
    Videos and indices of the frames, and which goals are reached.

  Raises:
    UserError: lengths are not integers [N], or (where known) a video is too short; a share is out
      of its range, or B is not positive.
  """
  lengths = check_lengths(lengths, 2)
  shares = {"current": current, "future": future, "same": same}
  for name, share in {**shares, "current + future": current + future}.items():
    if not 0 <= share <= 1 + 1e-9:
      raise UserError(f"expected {name} from 0 to 1, got {share}; mend these shares of goals.")
  if batch < 1:
    raise UserError(f"expected batch of at least 1, got {batch}; raise it.")
  step_key, intent_key, outcome_key, same_key = jax.random.split(key, 4)
  if frames is None:
    frames = any_frames(step_key, lengths - 1, batch)
  video, index = (jnp.asarray(each, jnp.int32) for each in frames)
  chex.assert_shape([video, index], (batch,))
  last = lengths[video] - 1

  def goal(key, elsewhere):
    kind_key, place_key, any_key = jax.random.split(key, 3)
    kind = jax.random.uniform(kind_key, (batch,))
    # Rounded to the nearest: half a bin for each end.
    ahead = jnp.round(jax.random.uniform(place_key, (batch,)) * (last - index)).astype(jnp.int32)
    ahead = jnp.where(kind < current, 0, ahead)
    if not elsewhere:
      return video, index + ahead
    any_video, any_index = any_frames(any_key, lengths, batch)
    is_any = kind >= current + future
    return jnp.where(is_any, any_video, video), jnp.where(is_any, any_index, index + ahead)

  intent = goal(intent_key, not intent_in_video)
  outcome = goal(outcome_key, True)
  is_same = jax.random.bernoulli(same_key, same, (batch,))
  outcome = tuple(jnp.where(is_same, *pair) for pair in zip(intent, outcome, strict=True))
  reached = [(of_video == video) & (at == index) for of_video, at in (outcome, intent)]
  return IntentFrames(
    jnp.stack([video, video, outcome[0], intent[0]], axis=-1),
    jnp.stack([index, jnp.minimum(index + 1, last), outcome[1], intent[1]], axis=-1),
    *reached,
  )


def any_frames(key: jax.Array, lengths: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """Draws frames uniformly out of those of all videos.

  Args:
    key: a random key, used up.
    lengths: integers [N].
    batch: how many.

  Returns:
    Their videos and indices, int32 [B] each.
  """
  ends = jnp.cumsum(lengths)
  frame = jax.random.randint(key, (batch,), 0, ends[-1], jnp.int32)
  video = jnp.searchsorted(ends, frame, side="right").astype(jnp.int32)
  return video, frame - (ends - lengths)[video]
