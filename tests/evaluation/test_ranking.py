"""The order that a reward gives to episodes, by hand and by SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from vipjax.evaluation.ranking import (
  JudgedEpisode,
  judge_values,
  kendall_tau_a,
  pairs_ordered,
  success_difference,
  value_order_correlation,
)


def test_two_grades_by_hand():
  scores, quality = [3.0, 1.0, 2.0, 2.0], [1, 1, 0, 0]
  # 3 beats both, 1 neither.
  assert pairs_ordered(scores, quality) == 0.5
  assert kendall_tau_a(scores, quality) == 0.0
  assert pairs_ordered([3.0, 2.0, 2.0, 1.0], quality) == (1 + 1 + 0.5 + 1) / 4
  assert kendall_tau_a([3.0, 2.0, 2.0, 1.0], quality) == 0.75
  # The second episode left out, the first twice.
  assert pairs_ordered(scores, quality, [2, 0, 1, 1]) == 1.0
  assert pairs_ordered(scores, [1, 1, 1, 1]) is kendall_tau_a(scores, [1, 1, 1, 1]) is None


def test_tau_is_scipys_where_no_two_are_equal():
  rng = np.random.default_rng(0)
  scores, quality = rng.normal(size=(2, 12))
  expected = stats.kendalltau(scores, quality).statistic
  assert kendall_tau_a(scores, quality) == pytest.approx(expected)
  assert pairs_ordered(scores, quality) == pytest.approx((1 + expected) / 2)


def test_tau_averages_over_draws_of_one_episode_of_each_grade():
  grades = {0: [0.1, 0.5, 0.3], 1: [0.2, 0.6], 2: [0.4]}
  draws = [
    stats.kendalltau(range(3), drawn).statistic for drawn in itertools.product(*grades.values())
  ]
  scores = [score for each in grades.values() for score in each]
  quality = [grade for grade, each in grades.items() for _ in each]
  assert kendall_tau_a(scores, quality) == pytest.approx(np.mean(draws))


def test_success_minus_failure_by_hand():
  assert success_difference([4.0, 2.0, 1.0, 9.0], [True, True, False, None]) == 2.0
  assert success_difference([4.0, 2.0, 1.0], [True, True, False], [3, 1, 1]) == 2.5
  assert success_difference([4.0, 2.0], [True, True]) is None


def test_order_along_time_by_hand():
  assert value_order_correlation([0.0, 1.0, 5.0]) == 1.0
  assert value_order_correlation([5.0, 1.0, 0.0]) == -1.0
  # GVL's own words: the correlation of the order of the values with that of time.
  values = np.random.default_rng(1).normal(size=9)
  expected = stats.spearmanr(np.argsort(values), np.arange(9)).statistic
  assert value_order_correlation(values) == pytest.approx(expected)


def episodes(ends, success, task="t"):
  return [
    JudgedEpisode(task, float(good), good, np.array([0.0, end / 2, end]))
    for end, good in zip(ends, success, strict=True)
  ]


def test_all_measures_of_two_tasks():
  first = episodes([1.0, 0.6, 0.2], [True, True, False], "a")  # in order
  second = episodes([1.0, 3.0, -1.0], [True, False, False], "b")  # one of two pairs
  found = judge_values([*first, *second])
  # Scaled to 0..1: b's -1, 0, 1, 3 are 0, .25, .5, 1, so .5 - (1 + 0) / 2.
  assert found["success_difference"].value == pytest.approx((0.6 + 0.0) / 2)
  assert found["kendall_tau"].value == 0.5 and found["pairs_ordered"].value == 0.75
  assert found["voc"].value == 1.0
  assert found["voc_failed"].value == pytest.approx((1 + 0) / 2)
  for each in found.values():
    assert each.low <= each.value <= each.high
  assert judge_values(first)["kendall_tau"] == (1.0, None, None)  # too few for an interval


def test_intervals_are_those_of_scipys_bootstrap():
  rng = np.random.default_rng(2)
  success = [True] * 20 + [False] * 20
  ends = rng.normal(size=40) + np.array(success)
  found = judge_values(episodes(ends, success))["pairs_ordered"]

  def share(picks):
    return pairs_ordered(ends[picks], np.array(success)[picks])

  # Its keyword for the seed has another name in each version.
  state = np.random.get_state()
  np.random.seed(0)
  theirs = stats.bootstrap(
    (np.arange(40),), share, n_resamples=1000, vectorized=False, method="percentile"
  ).confidence_interval
  np.random.set_state(state)
  assert found.low == pytest.approx(theirs.low, abs=0.03)
  assert found.high == pytest.approx(theirs.high, abs=0.03)


def test_without_outcomes_order_along_time_is_of_all():
  ranked = [JudgedEpisode("t", quality, None, np.array([0.0, 1.0]) * quality) for quality in (1, 2)]
  found = judge_values(ranked)
  assert found["voc"].value == 1.0 and found["voc_failed"].value is None
  assert found["success_difference"].value is None and found["kendall_tau"].value == 1.0
  still = judge_values([each._replace(values=np.zeros(3)) for each in ranked])
  assert still["kendall_tau"].value == 0.0 and still["pairs_ordered"].value == 0.5
