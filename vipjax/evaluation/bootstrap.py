"""Means over few seeds with intervals (Agarwal et al., arXiv:2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vipjax.evaluation import statistics
from vipjax.runtime.errors import UserError

_SAMPLES = 10_000


def mean(values: np.ndarray) -> np.ndarray:
  """The mean over the last axis."""
  return values.mean(-1)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
  """The mean of the middle half over the last axis, [..., S] -> [...]; robust to single seeds.

  A quarter of the values, rounded down, is cut off at either end: of fewer than four values none.
  """
  cut = values.shape[-1] // 4
  ordered = np.sort(values, axis=-1)
  return ordered[..., cut : values.shape[-1] - cut].mean(-1)


def bootstrap_interval(
  values: Sequence[float], statistic=mean, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
  """Percentile bootstrap interval of a statistic of independent runs.

  Runs are drawn with replacement 10,000 times. With three seeds that is coarse: no interval can be
  wider than from the least value to the greatest, so the true one is covered less often than said.

  Args:
    values: float [S], S >= 2, one number of each run.
    statistic: function of arrays [..., S] over the last axis, such as `interquartile_mean`.
    confidence: in (0, 1).
    seed: of the draws.

  Returns:
    The interval's ends.

  Raises:
    UserError: fewer than two values, values that are not finite, or a confidence out of range.
  """
  values = statistics.check_curve("values", values)
  if not 0 < confidence < 1:
    raise UserError(f"Expected a confidence between 0 and 1, but {confidence} came: try 0.95.")
  picks = np.random.default_rng(seed).integers(0, len(values), (_SAMPLES, len(values)))
  ends = np.quantile(statistic(values[picks]), [(1 - confidence) / 2, (1 + confidence) / 2])
  return float(ends[0]), float(ends[1])
