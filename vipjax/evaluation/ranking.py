"""How a reward orders episodes of known outcome or quality, and the frames of each.

The measures are those by which reward models are compared: order along time (VOC, value order
correlation: GVL, arXiv:2411.04549), order among episodes of one task (Kendall's tau_a, as RBM-EVAL
of Robometer takes it, arXiv:2603.02115) and the difference between success and failure (its
Succ-Fail Diff). An episode's score is the value of its last frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vipjax.evaluation.statistics import mean_of_known, rank_correlation

MEASURES = ("voc", "voc_failed", "kendall_tau", "pairs_ordered", "success_difference")
# Fewer episodes give an interval that says more than is known.
FEWEST_FOR_INTERVAL = 5
_DRAWS = 1000


class JudgedEpisode(NamedTuple):
  """What is known of an episode, and what a reward says of it.

  Attributes:
    task: its task; episodes of different tasks are not compared.
    quality: how good it is; higher is better.
    success: whether it succeeded; None where that is not known.
    values: float [T], T >= 2, finite, the reward's value of each frame.
  """

  task: str
  quality: float
  success: bool | None
  values: np.ndarray


class Estimate(NamedTuple):
  """A mean over tasks, and the interval in which 95% of resampled ones lie; None if unknown."""

  value: float | None
  low: float | None = None
  high: float | None = None


def value_order_correlation(values: npt.ArrayLike) -> float:
  """Returns the Spearman correlation of values [T] with time: 1.0 if each frame beats the last."""
  return rank_correlation(-np.asarray(values, np.float64))


def kendall_tau_a(
  scores: npt.ArrayLike, quality: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float | None:
  """Returns Kendall's tau_a of scores with quality as RBM-EVAL takes it.

  RBM-EVAL draws one episode of each grade of quality in every possible way and averages tau_a:
  that is the mean, over pairs of grades, of the share of pairs of episodes in the right order minus
  the share in the wrong one. With two grades it is 2 x `pairs_ordered` - 1; where all qualities
  differ it is tau_a of all.

  Args:
    scores, quality: float [E].
    weights: float [E], how often each episode counts; None is once.

  Returns:
    A number in [-1, 1], 0 by chance; None without two episodes of different quality.
  """
  signs, pairs = _pairs(scores, quality, weights)
  grades = np.unique(np.asarray(quality, np.float64), return_inverse=True)[1]
  kinds = grades[:, None] * len(grades) + grades
  size = len(grades) ** 2
  totals = np.bincount(kinds.ravel(), pairs.ravel(), size)
  sums = np.bincount(kinds.ravel(), (pairs * signs).ravel(), size)
  there = totals > 0
  return float(np.mean(sums[there] / totals[there])) if there.any() else None


def pairs_ordered(
  scores: npt.ArrayLike, quality: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float | None:
  """Returns the share of pairs of different quality whose better episode has the higher score.

  Arguments as `kendall_tau_a`; equal scores count half, so that 0.5 is chance; None without a pair.
  """
  signs, pairs = _pairs(scores, quality, weights)
  return float(np.sum(pairs * (signs + 1) / 2) / pairs.sum()) if pairs.sum() else None


def success_difference(
  scores: npt.ArrayLike, success: Sequence[bool | None], weights: npt.ArrayLike | None = None
) -> float | None:
  """Returns the mean score of successes minus that of failures; None without both.

  Args:
    scores: float [E].
    success: of each episode; None, where it is not known, leaves it out.
    weights: as `kendall_tau_a`.
  """
  scores, weights = np.asarray(scores, np.float64), _weights(weights, len(success))
  of = [weights * np.array([each is outcome for each in success]) for outcome in (True, False)]
  if not all(each.sum() for each in of):
    return None
  means = [np.sum(each * scores) / each.sum() for each in of]
  return float(means[0] - means[1])


def judge_values(episodes: Sequence[JudgedEpisode]) -> dict[str, Estimate]:
  """Returns the `MEASURES` of a reward, each the mean over the tasks that have it.

  "voc" is the mean over successful episodes, or over all of a task without known outcomes;
  "voc_failed" that over failures. For "success_difference" the values of a task are scaled so that
  the least of all its frames is 0 and the greatest 1, as rewards of progress are. Intervals are
  percentiles of 1,000 draws of each task's episodes with replacement, as many as there are; draws
  in which a measure is not defined are left out, and with fewer than five episodes there is none.
  The draws are the same for every reward.

  Args:
    episodes: at least one.
  """
  tasks = [
    _Task([each for each in episodes if each.task == task])
    for task in dict.fromkeys(each.task for each in episodes)
  ]
  found = _means([task.measure(np.ones(task.count)) for task in tasks])
  if len(episodes) < FEWEST_FOR_INTERVAL:
    return {name: Estimate(found[name]) for name in MEASURES}
  rng = np.random.default_rng(0)
  draws = [
    _means([
      task.measure(rng.multinomial(task.count, np.full(task.count, 1 / task.count)))
      for task in tasks
    ])
    for _ in range(_DRAWS)
  ]  # fmt: skip
  estimates = {}
  for name in MEASURES:
    known = [draw[name] for draw in draws if draw[name] is not None]
    if found[name] is None or not known:
      estimates[name] = Estimate(None)
    else:
      low, high = np.quantile(known, [0.025, 0.975])
      estimates[name] = Estimate(found[name], float(low), float(high))
  return estimates


def scaled(episodes: Sequence[JudgedEpisode]) -> list[np.ndarray]:
  """Returns the values of one task's episodes, the least of all frames 0 and the greatest 1."""
  least = min(each.values.min() for each in episodes)
  extent = max(each.values.max() for each in episodes) - least
  return [(each.values - least) / (extent or 1.0) for each in episodes]


class _Task:
  """The episodes of one task, measured as often as the draws want."""

  def __init__(self, episodes: Sequence[JudgedEpisode]):
    self.count = len(episodes)
    self._success = [each.success for each in episodes]
    self._quality = np.array([each.quality for each in episodes], np.float64)
    self._scores = np.array([values[-1] for values in scaled(episodes)])
    self._voc = np.array([value_order_correlation(each.values) for each in episodes])
    outcomes = set(self._success)
    wanted = outcomes if outcomes == {None} else {True}
    self._good = np.array([each in wanted for each in self._success])
    self._bad = np.array([each is False for each in self._success])

  def measure(self, weights: np.ndarray) -> dict[str, float | None]:
    return {
      "voc": _mean(self._voc, weights * self._good),
      "voc_failed": _mean(self._voc, weights * self._bad),
      "kendall_tau": kendall_tau_a(self._scores, self._quality, weights),
      "pairs_ordered": pairs_ordered(self._scores, self._quality, weights),
      "success_difference": success_difference(self._scores, self._success, weights),
    }


def _mean(values: np.ndarray, weights: np.ndarray) -> float | None:
  return float(np.sum(values * weights) / weights.sum()) if weights.sum() else None


def _means(tasks: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
  """The mean of each measure over the tasks that have it."""
  return {name: mean_of_known(task[name] for task in tasks) for name in MEASURES}


def _pairs(
  scores: npt.ArrayLike, quality: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
  """Of each pair [E, E] the sign of the first's lead, and how often it counts, if it is better."""
  scores, quality = np.asarray(scores, np.float64), np.asarray(quality, np.float64)
  weights = _weights(weights, len(scores))
  better = quality[:, None] > quality
  return np.sign(scores[:, None] - scores), better * weights[:, None] * weights


def _weights(weights: npt.ArrayLike | None, count: int) -> np.ndarray:
  return np.ones(count) if weights is None else np.asarray(weights, np.float64)
