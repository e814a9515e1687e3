"""Temporal cycle-consistency (Dwibedi et al., arXiv:1904.07846), over cycles of any length.

A cycle starts at a frame of its first video, jumps to the nearest frame of each next video in
turn, and back into the first. The loss asks it to come back to where it started; the nearest
frame is a soft one (an average weighted by a softmax), so that gradients flow all the way round.

Cycles run together, and no array has both a cycle axis, a frame axis and an embedding axis. Scores
against *all* B N frames are one dense product; a mask keeps those of a cycle's own next video:
O(K B N) memory instead of O(K N D) for gathered videos (B is far below D here), and a gradient free
of scattered sums. As a soft frame is a weighted mean of frames, the scores of K queries are
`weights @ frames @ frames.T`, multiplied from either end: through the queries [K, D], or through
the Gram matrix [B N, B N], which is without D and which all pairs and many cycles share.
`_cycle_logits` takes the cheaper way. Against gathering (two busy CPU cores, with gradients,
D = 1024): 2 to 12 times as fast in a quarter to a sixtieth of the memory for 4 to 8 videos; for 20
cycles over 32 videos, 4 times slower in as much memory.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.losses import checks
from vipjax.runtime.errors import UserError, require_among

TCC_LOSSES = ("regression_mse", "regression_mse_var", "regression_huber", "classification")
TCC_SIMILARITIES = ("l2", "cosine")
TCC_TEMPERATURE_UNITS = ("absolute", "mean_squared_distance")

# Least variance of a predicted position, in squared units of the positions. Sharp similarities
# put all weight on one frame; the variance then underflows to 0 and its log to -inf. Real
# variances were seen down to 6e-8 of a video's squared length.
_VARIANCE_FLOOR = 1e-10
# Least mean squared distance as a unit, for frames that are all alike.
_UNIT_FLOOR = 1e-12


def tcc_loss(
  embeddings: jax.Array,
  frame_indices: jax.Array,
  video_lengths: jax.Array,
  cycles: jax.Array | None = None,
  starts: jax.Array | None = None,
  loss: str = "regression_mse",
  similarity: str = "l2",
  temperature: float = 0.1,
  normalize_indices: bool = True,
  variance_weight: float = 0.001,
  huber_delta: float = 0.1,
  label_smoothing: float = 0.1,
  temperature_unit: str = "absolute",
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Mean loss of coming back to another frame than the start (arXiv:1904.07846, section 3).

  Args:
    embeddings: floats [B, N, D], N >= 2 frames of each of B videos.
    frame_indices: numbers [B, N], where those frames lie in their video, in frames.
    video_lengths: numbers [B], lengths of the videos in frames, > 0.
    cycles: integers [K, T] in [0, B), the T >= 2 videos of each cycle in order; the jump back
      into the first one is implied. None: every ordered pair of different videos from every
      frame, K = B (B - 1) N, T = 2.
    starts: integers [K] in [0, N), the frame of the first video where each cycle starts (its
      place in `embeddings`, not in the video); None exactly when `cycles` is.
    loss: "regression_mse": squared error between the position come back to, averaged over the
      softmax, and the position of the start; "regression_huber": its Huber loss;
      "regression_mse_var": squared error / variance + variance_weight log(variance);
      "classification": cross entropy with the start as the class.
    similarity: "l2": -squared distance / D; "cosine": inner product, embeddings taken as they
      are. Both are divided by `temperature`.
    temperature: of every softmax, > 0.
    normalize_indices: measure positions in lengths of the video instead of in frames.
    variance_weight: weight of the log variance in "regression_mse_var".
    huber_delta: error at which "regression_huber" turns linear, in units of the positions.
    label_smoothing: s in [0, 1): the targets of "classification" are s / (N - 1) plus (1 - s) at
      the start (as XIRL has it; they sum to a little more than 1).
    temperature_unit: "absolute" (published); or, with "l2", "mean_squared_distance" takes the
      temperature in units of `tcc_mean_squared_distance` / D, through which no gradient flows: the
      softmax is then as sharp for embeddings that span 20 units as for those that span 1.

  Returns:
    The loss, a float scalar, and scalars by name: `tcc_loss`, `tcc_index_error` (mean difference,
    in places of `embeddings`, between the likeliest frame come back to and the start),
    `tcc_accuracy` (share of cycles whose likeliest frame is the start), `tcc_position_error`
    (mean difference of positions, in their units), `tcc_mean_squared_distance` (over all pairs of
    the B N frames, in squared embedding units) and `tcc_perplexity` (mean over the cycles of
    exp(entropy) of their first soft nearest neighbour: 1 where it is one frame, N where it is all
    of them alike, so that the loss says nothing of them yet).

  Raises:
    UserError: an unknown name, a wrong rank, shape, dtype or index, or fewer than two videos.
  """
  require_among("the TCC loss", loss, TCC_LOSSES)
  require_among("the TCC similarity", similarity, TCC_SIMILARITIES)
  require_among("the TCC temperature_unit", temperature_unit, TCC_TEMPERATURE_UNITS)
  if temperature_unit != "absolute" and similarity != "l2":
    raise UserError(
      f"expected the TCC temperature_unit 'absolute' with the similarity {similarity!r}, got "
      f"{temperature_unit!r}; change one of the two."
    )
  if isinstance(temperature, int | float) and not temperature > 0:
    raise UserError(f"expected a TCC temperature > 0, got {temperature}; try 0.1.")
  embeddings, cycles, starts = _check_cycles(embeddings, cycles, starts)
  videos, frames = embeddings.shape[:2]
  positions = checks.number_array("frame_indices", frame_indices, "[B, N]", (videos, frames))
  lengths = checks.number_array("video_lengths", video_lengths, "[B]", (videos,))
  if normalize_indices:
    positions = positions / lengths[:, None]

  squared = _mean_squared_distance(embeddings)
  if temperature_unit == "mean_squared_distance":
    temperature *= jnp.maximum(squared, _UNIT_FLOOR) / embeddings.shape[-1]
  points, bias = _affine_similarity(embeddings, similarity, temperature)
  perplexity = _first_perplexity(*jax.lax.stop_gradient((points, bias)), cycles, starts)
  if cycles is None:
    logits, first, starts = _all_pairs_logits(points, bias)
  else:
    logits, first = _cycle_logits(points, bias, cycles, starts, jax.nn.softmax), cycles[:, 0]

  losses, error = _losses(
    loss, logits, positions[first], starts, variance_weight, huber_delta, label_smoothing
  )
  value = jnp.mean(losses)
  index_error = jnp.abs(jnp.argmax(logits, axis=-1) - starts)
  metrics = {
    "tcc_loss": value,
    "tcc_index_error": jnp.mean(index_error.astype(value.dtype)),
    "tcc_accuracy": jnp.mean((index_error == 0).astype(value.dtype)),
    "tcc_position_error": jnp.mean(jnp.abs(error)),
    "tcc_mean_squared_distance": squared,
    "tcc_perplexity": perplexity,
  }
  return value, metrics


def cycle_index_error(embeddings: jax.Array, cycles: jax.Array, starts: jax.Array) -> jax.Array:
  """How far from its start each cycle of hard nearest neighbours (L2) comes back.

  Of several equally near frames the earliest is taken.

  Args:
    embeddings: floats [B, N, D].
    cycles: integers [K, T] in [0, B), T >= 2, as for `tcc_loss`.
    starts: integers [K] in [0, N).

  Returns:
    int32 [K], |place come back to - place started from|, in [0, N).

  Raises:
    UserError: a rank, shape, dtype or index is wrong, or `cycles` or `starts` is None.
  """
  if cycles is None or starts is None:
    raise UserError("expected cycles [K, T] and starts [K], got None; draw them first.")
  embeddings, cycles, starts = _check_cycles(embeddings, cycles, starts)
  points, bias = _affine_similarity(embeddings, "l2", 1.0)

  def nearest(scores):
    return jax.nn.one_hot(jnp.argmax(scores, axis=-1), scores.shape[-1], dtype=scores.dtype)

  end = jnp.argmax(_cycle_logits(points, bias, cycles, starts, nearest), axis=-1)
  return jnp.abs(end.astype(jnp.int32) - starts)


def _affine_similarity(embeddings, similarity, temperature):
  """Points [B, N, D] and bias [B, N]: the logits of a query point are query @ points + bias.

  Either similarity has this form, up to the query's own squared norm, which is the same for all
  candidates and which neither softmax nor argmax can see.
  """
  if similarity == "cosine":
    bias = jnp.zeros(embeddings.shape[:2], embeddings.dtype)
    return embeddings / jnp.sqrt(temperature), bias
  # Distances do not change when all frames move together: the origin in their middle keeps
  # digits that |q|^2 - 2 q v + |v|^2 would lose, and no gradient flows through the move.
  centre = jax.lax.stop_gradient(jnp.mean(embeddings, (0, 1), keepdims=True))
  points = (embeddings - centre) * jnp.sqrt(2.0 / (embeddings.shape[-1] * temperature))
  return points, -0.5 * jnp.sum(jnp.square(points), axis=-1)


def _mean_squared_distance(embeddings):
  """Mean squared distance of all pairs of different frames, without a gradient."""
  points = jax.lax.stop_gradient(embeddings).reshape(-1, embeddings.shape[-1])
  squares = jnp.sum(jnp.square(points - jnp.mean(points, 0, keepdims=True)))
  return 2.0 * squares / (len(points) - 1)


def _first_perplexity(points, bias, cycles, starts):
  """Mean over the cycles of the perplexity of the first jump's soft neighbour, in [1, N]."""
  videos, frames, size = points.shape
  flat = points.reshape(-1, size)
  queries = flat if cycles is None else flat[cycles[:, 0] * frames + starts]
  scores = (_product(queries, flat.T) + bias.reshape(1, -1)).reshape(-1, videos, frames)
  log_weights = jax.nn.log_softmax(scores)
  perplexity = jnp.exp(-jnp.sum(jnp.exp(log_weights) * log_weights, axis=-1))
  if cycles is None:  # [B N, B]: all videos but the query's own
    other = np.repeat(~np.eye(videos, dtype=bool), frames, axis=0)
    return jnp.sum(perplexity, where=other) / other.sum()
  return jnp.mean(jnp.take_along_axis(perplexity, cycles[:, 1:2], axis=1))


def _cycle_logits(points, bias, cycles, starts, pick):
  """Logits [K, N] over the frames of each cycle's first video, after all of its jumps.

  `pick` turns scores [K, B N] (-inf at frames of other videos) into weights: softmax or one-hot.
  """
  videos, frames, size = points.shape
  points, bias = points.reshape(videos * frames, size), bias.reshape(1, -1)
  jumps = cycles.size  # K T
  if len(points) * (size + jumps) <= 2 * jumps * size:  # multiplications, both over B N
    gram = _product(points, points.T)
  else:
    gram = None

  def score(weights):
    if gram is None:
      return _product(_product(weights, points), points.T) + bias
    return _product(weights, gram) + bias

  weights = jax.nn.one_hot(cycles[:, 0] * frames + starts, len(points), dtype=points.dtype)
  for step in range(1, cycles.shape[1]):
    in_video = jnp.repeat(jax.nn.one_hot(cycles[:, step], videos, dtype=bool), frames, axis=1)
    weights = pick(jnp.where(in_video, score(weights), -jnp.inf))
  scores = score(weights).reshape(-1, videos, frames)
  in_first = jax.nn.one_hot(cycles[:, 0], videos, dtype=bool)[:, :, None]
  return jnp.sum(jnp.where(in_first, scores, 0.0), axis=1)


def _product(left, right):
  # Accelerators may otherwise round the factors to 10 bits, which moves nearest neighbours.
  return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _all_pairs_logits(points, bias):
  """Logits [K, N], first videos [K] and starts [K] of all K = B (B - 1) N cycles of two videos."""
  videos, frames, size = points.shape
  flat = points.reshape(-1, size)
  gram = _product(flat, flat.T).reshape(videos, frames, videos, frames)
  there = jnp.transpose(gram, (0, 2, 1, 3))  # [B, B, N, N]
  weights = jax.nn.softmax(there + bias[None, :, None, :])
  # From a soft frame of video j back to frame m of i: the matrix is symmetric.
  back = _product(weights, jnp.swapaxes(there, 2, 3)) + bias[:, None, None, :]
  first, second = np.nonzero(~np.eye(videos, dtype=bool))
  logits = back[first, second].reshape(-1, frames)
  return logits, np.repeat(first, frames), jnp.tile(jnp.arange(frames), len(first))


def _losses(loss, logits, positions, starts, variance_weight, huber_delta, label_smoothing):
  """Loss [K] and error of the position [K] of each cycle, from logits and positions [K, N]."""
  chex.assert_equal_shape([logits, positions])
  chex.assert_shape(logits, (*starts.shape, None))
  frames = logits.shape[-1]
  log_probabilities = jax.nn.log_softmax(logits)
  probabilities = jnp.exp(log_probabilities)
  is_start = jnp.arange(frames)[None, :] == starts[:, None]
  predicted = jnp.sum(probabilities * positions, axis=-1)
  error = predicted - jnp.sum(jnp.where(is_start, positions, 0.0), axis=-1)
  if loss == "classification":
    targets = (1.0 - label_smoothing) * is_start + label_smoothing / (frames - 1)
    return -jnp.sum(targets * log_probabilities, axis=-1), error
  if loss == "regression_mse":
    return jnp.square(error), error
  if loss == "regression_huber":
    size = jnp.abs(error)
    linear = huber_delta * (size - 0.5 * huber_delta)
    return jnp.where(size <= huber_delta, 0.5 * jnp.square(error), linear), error
  squares = jnp.square(positions - predicted[:, None])
  variance = jnp.maximum(jnp.sum(probabilities * squares, axis=-1), _VARIANCE_FLOOR)
  return jnp.square(error) / variance + variance_weight * jnp.log(variance), error


def _check_cycles(embeddings, cycles, starts):
  embeddings = checks.float_array("embeddings", embeddings, "[B, N, D]", (None, None, None))
  videos, frames = embeddings.shape[:2]
  if videos < 2 or frames < 2:
    raise UserError(
      f"expected for TCC at least 2 videos of at least 2 frames, got {videos} of {frames}; add "
      "videos or frames."
    )
  if (cycles is None) != (starts is None):
    raise UserError(
      "expected both of cycles and starts or neither, got only "
      f"{'starts' if cycles is None else 'cycles'}; give both, or None for all ordered pairs."
    )
  if cycles is None:
    return embeddings, None, None
  cycles = checks.index_array("cycles", cycles, "[K, T]", (None, None), videos)
  if cycles.shape[1] < 2:
    raise UserError("expected TCC cycles of T >= 2 videos, got T=1; lengthen the cycles.")
  starts = checks.index_array("starts", starts, "[K]", (cycles.shape[0],), frames)
  return embeddings, cycles, starts
