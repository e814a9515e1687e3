"""Statistics of a distance curve, rank correlations, and intervals of means over few runs.

A curve is the distance of each frame of a video to the goal, float [T], in embedding units. A
useful one falls throughout: VIP (arXiv:2210.00030) shows pictures of such curves, these functions
measure them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vipjax.runtime.errors import UserError

_BOOTSTRAP_SAMPLES = 10_000


def rank_correlation(distances: npt.ArrayLike) -> float:
  """Returns the Spearman correlation of -distance with time.

  Args:
    distances: float [T], T >= 2.

  Returns:
    A number in [-1, 1]: 1.0 if every frame is closer to the goal than the one before, -1.0 if
    every frame is farther. Equal distances share their mean rank. A constant curve gives 0.0.

  Raises:
    UserError: fewer than two distances, another rank, or values that are not finite.
  """
  distances = check_curve("distances", distances)
  return spearman(-distances, np.arange(len(distances)))


def falling_fraction(distances: npt.ArrayLike) -> float:
  """Returns the share of steps that approach the goal: d[t + 1] < d[t].

  Args:
    distances: float [T], T >= 2.

  Returns:
    A number in [0, 1]; a step of equal distances does not fall.

  Raises:
    UserError: as `rank_correlation`.
  """
  distances = check_curve("distances", distances)
  return float(np.mean(distances[1:] < distances[:-1]))


def largest_rise(distances: npt.ArrayLike) -> float:
  """Returns the greatest rise of the curve above an earlier point, relative to its start.

  It is the maximum over s <= t of (d[t] - d[s]) / d[0]: the largest negative sum of rewards of any
  stretch of the episode.

  Args:
    distances: float [T], T >= 2, d[0] >= 0.

  Returns:
    A number >= 0; 0.0 if the curve never rises, infinity if it rises from distance 0.

  Raises:
    UserError: as `rank_correlation`.
  """
  distances = check_curve("distances", distances)
  rise = float(np.max(distances - np.minimum.accumulate(distances)))
  if rise == 0.0:
    return 0.0
  return rise / float(distances[0]) if distances[0] > 0 else float("inf")


def kendall_correlation(distances: npt.ArrayLike) -> float:
  """Returns Kendall's tau-b of -distance with time.

  Without ties, (1 + tau) / 2 is the share of pairs of frames that the distance orders correctly.
  Arguments, range and errors as `rank_correlation`.
  """
  distances = check_curve("distances", distances)
  return kendall(-distances, np.arange(len(distances)))


def smoothness(distances: npt.ArrayLike) -> float:
  """Returns the likeness of successive steps: 1 - sum |s[t+1] - s[t]| / (2 sum |s[t]|).

  s are the steps d[t+1] - d[t]. The reward of a step is -s: a smooth curve pays evenly.

  Args:
    distances: float [T], T >= 2.

  Returns:
    A number in [0, 1]: 1.0 for a straight line (and a constant), 0.0 for a curve that reverses at
    every step or moves in only one of many steps.

  Raises:
    UserError: as `rank_correlation`.
  """
  steps = np.diff(check_curve("distances", distances))
  length = np.sum(np.abs(steps))
  return 1.0 if length == 0.0 else float(1.0 - np.sum(np.abs(np.diff(steps))) / (2.0 * length))


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
  """Returns Spearman's rank correlation of two samples; ties share their mean rank.

  Args:
    x: float [S], S >= 2, finite.
    y: float [S], finite.

  Returns:
    A number in [-1, 1]; 0.0 when either sample is constant.

  Raises:
    UserError: too few values, different lengths, another rank, or values that are not finite.
  """
  from scipy.stats import rankdata  # here, because scipy.stats takes a second to import

  # Pearson's correlation of the ranks by whole and half numbers: scipy's own spearmanr rounds
  # twice more, and the results of earlier runs would differ in the last bit.
  first, second = (rank - rank.mean() for rank in map(rankdata, _check_pair(x, y)))
  scale = np.sqrt(np.sum(first**2) * np.sum(second**2))
  if scale == 0.0:
    return 0.0
  return float(np.clip(np.sum(first * second) / scale, -1.0, 1.0))


def kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
  """Returns Kendall's tau-b of two samples: concordant minus discordant pairs, tie-corrected.

  Arguments, range and errors as `spearman`.
  """
  from scipy.stats import kendalltau

  x, y = _check_pair(x, y)
  counts = (np.unique(each, return_counts=True)[1].astype(np.float64) for each in (x, y))
  first, second = (len(x) ** 2 - np.sum(count**2) for count in counts)  # ordered pairs not tied
  scale = np.sqrt(first * second)
  if scale == 0.0:
    return 0.0
  # scipy divides by one root after the other; whole pairs keep the last bit of earlier results.
  tau = kendalltau(x, y).statistic
  return float(round(tau * scale) / scale)


def mean_of_known(values: Iterable[float | None]) -> float | None:
  """Returns the mean of the values that are there; None without any."""
  known = [value for value in values if value is not None]
  return float(np.mean(known)) if known else None


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
  """Returns the percentile bootstrap interval of the mean of independent runs.

  It draws runs with replacement 10,000 times (Agarwal et al., arXiv:2108.13264). With three seeds
  the interval is coarse: it cannot exceed the range of the values, so it covers the true value less
  often than `confidence`.

  Args:
    values: float [S], S >= 2, one number per run.
    confidence: in (0, 1).

  Returns:
    The lower and the upper end.

  Raises:
    UserError: fewer than two values, values that are not finite, or a confidence out of range.
  """
  values = check_curve("values", values)
  if not 0 < confidence < 1:
    raise UserError(f"expected a confidence between 0 and 1, got {confidence}; try 0.95.")
  picks = np.random.default_rng(0).integers(0, len(values), (_BOOTSTRAP_SAMPLES, len(values)))
  ends = np.quantile(values[picks].mean(-1), [(1 - confidence) / 2, (1 + confidence) / 2])
  return float(ends[0]), float(ends[1])


def check_curve(name: str, values: npt.ArrayLike) -> np.ndarray:
  """Returns float64 [T] with T >= 2 and finite; otherwise raises UserError with `name`."""
  try:
    array = np.asarray(values, np.float64)
  except (TypeError, ValueError) as error:
    raise UserError(
      f"expected numbers [T] for the {name}, got '{error}'; pass an array."
    ) from error
  if array.ndim != 1 or len(array) < 2:
    raise UserError(
      f"expected at least two {name} in an array [T], got the shape {list(array.shape)}; pass one "
      "value for each frame of a longer video."
    )
  broken = int(np.sum(~np.isfinite(array)))
  if broken:
    raise UserError(
      f"expected finite {name}, got {broken} of {len(array)} that are not; check the encoder that "
      "made them."
    )
  return array


def _check_pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  x, y = check_curve("x", x), check_curve("y", y)
  if len(x) != len(y):
    raise UserError(f"expected samples of one length, got {len(x)} and {len(y)}; pair them.")
  return x, y
