"""Bootstrap intervals against what they must be."""

import numpy as np
import pytest

from vipjax import evaluation
from vipjax.runtime.errors import UserError


def test_interquartile_mean_by_hand():
  assert evaluation.interquartile_mean(np.array([9.0, 1.0, 2.0, 100.0])) == 5.5
  assert evaluation.interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0
  np.testing.assert_array_equal(
    evaluation.interquartile_mean(np.array([[0.0, 1, 2, 3], [9, 9, 9, 0]])), [1.5, 9.0]
  )


def test_two_values_have_three_means():
  # Means of two draws: 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
  assert evaluation.bootstrap_interval([0.0, 1.0], confidence=0.95) == (0.0, 1.0)
  assert evaluation.bootstrap_interval([0.0, 1.0], confidence=0.3) == (0.5, 0.5)


def test_many_values_have_the_interval_of_the_normal_distribution():
  values = np.random.default_rng(0).normal(3.0, 2.0, 400)
  low, high = evaluation.bootstrap_interval(values)
  error = 1.96 * values.std() / np.sqrt(400)
  assert low == pytest.approx(values.mean() - error, abs=0.02)
  assert high == pytest.approx(values.mean() + error, abs=0.02)
  assert evaluation.bootstrap_interval(values) == (low, high)


def test_one_wild_run_moves_the_robust_mean_less():
  values = np.append(np.linspace(1.0, 1.3, 15), 50.0)
  low, high = evaluation.bootstrap_interval(values, evaluation.interquartile_mean)
  assert 1.0 <= low < high < 1.5 < evaluation.bootstrap_interval(values)[1]


def test_refusals():
  with pytest.raises(UserError, match="at least two values"):
    evaluation.bootstrap_interval([1.0])
  with pytest.raises(UserError, match="between 0 and 1, got 95"):
    evaluation.bootstrap_interval([1.0, 2.0], confidence=95)
