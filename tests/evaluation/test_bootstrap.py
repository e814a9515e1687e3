"""Bootstrap intervals against what they must be."""

import numpy as np
import pytest

from vipjax import evaluation
from vipjax.runtime.errors import UserError


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


def test_refusals():
  with pytest.raises(UserError, match="at least two values"):
    evaluation.bootstrap_interval([1.0])
  with pytest.raises(UserError, match="between 0 and 1, got 95"):
    evaluation.bootstrap_interval([1.0, 2.0], confidence=95)
