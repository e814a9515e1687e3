"""Statistics of one curve, against hand-computed numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vipjax import evaluation
from vipjax.runtime.errors import UserError


def test_rank_correlation_by_hand():
  assert evaluation.rank_correlation([9.0, 4.0, 1.0, 0.0]) == pytest.approx(1.0)
  assert evaluation.rank_correlation([0.0, 1.0, 4.0, 9.0]) == pytest.approx(-1.0)
  # Ranks of -d: 1, 3, 2, 4 against 1, 2, 3, 4: 1 - 6 * (1 + 1) / (4 * 15) = 0.8.
  assert evaluation.rank_correlation([5.0, 2.0, 3.0, 0.0]) == pytest.approx(0.8)
  # Ranks of -d: 1, 2.5, 2.5, 4; covariance 4.5, variances 4.5 and 5.
  assert evaluation.rank_correlation([5.0, 2.0, 2.0, 0.0]) == pytest.approx(4.5 / np.sqrt(22.5))


def test_a_constant_curve_says_nothing():
  assert evaluation.rank_correlation([2.0, 2.0, 2.0]) == 0.0
  assert evaluation.falling_fraction([2.0, 2.0, 2.0]) == 0.0
  assert evaluation.largest_rise([2.0, 2.0, 2.0]) == 0.0


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=12), st.randoms())
def test_spearman_keeps_its_symmetries(values, random):
  x, y = np.array(values, float), np.array(random.sample(values, len(values)), float)
  correlation = evaluation.spearman(x, y)
  assert -1 <= correlation <= 1
  assert evaluation.spearman(y, x) == pytest.approx(correlation)
  assert evaluation.spearman(-x, y) == pytest.approx(-correlation)
  # Only the order counts.
  assert evaluation.spearman(np.exp(x), y**3) == pytest.approx(correlation)


def test_spearman_matches_scipy():
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 9, 50), rng.normal(size=50)
  wanted = stats.spearmanr(x, y).statistic
  assert abs(wanted) > 0.01
  assert evaluation.spearman(x, y) == pytest.approx(wanted)


def test_kendall_by_hand():
  assert evaluation.kendall_correlation([9.0, 4.0, 1.0, 0.0]) == pytest.approx(1.0)
  # Of six pairs of frames one (2, then 3) goes the wrong way: (5 - 1) / 6.
  assert evaluation.kendall_correlation([5.0, 2.0, 3.0, 0.0]) == pytest.approx(4 / 6)
  # One tie: 5 of 6 pairs concordant, and the tie-corrected scale is sqrt(5 * 6).
  assert evaluation.kendall_correlation([5.0, 2.0, 2.0, 0.0]) == pytest.approx(5 / np.sqrt(30))
  assert evaluation.kendall_correlation([2.0, 2.0]) == 0.0
  with pytest.raises(UserError, match="one length"):
    evaluation.kendall([1, 2], [1, 2, 3])


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=20))
def test_kendall_counts_pairs(samples):
  x, y = np.array(samples, float).T
  first, second = (np.sign(each[:, None] - each) for each in (x, y))
  scale = np.sqrt(np.sum(first**2) * np.sum(second**2))
  # To the last bit, as earlier versions had it.
  assert evaluation.kendall(x, y) == (np.sum(first * second) / scale if scale else 0.0)


def test_smoothness_by_hand():
  assert evaluation.smoothness([3.0, 2.0, 1.0]) == pytest.approx(1.0)
  assert evaluation.smoothness([1.0, 1.0]) == 1.0
  # Steps -1, 1, -1: they change by 2 twice, 4 / (2 * 3).
  assert evaluation.smoothness([1.0, 0.0, 1.0, 0.0]) == pytest.approx(1 / 3)
  # All the way in one step of three: 2 / (2 * 1).
  assert evaluation.smoothness([2.0, 2.0, 1.0, 1.0]) == pytest.approx(0.0)


def test_falling_fraction_by_hand():
  curve = [4.0, 3.0, 3.5, 3.5, 1.0]
  assert evaluation.falling_fraction(curve) == pytest.approx(2 / 4)


def test_largest_rise_by_hand():
  # From 1 up to 3 in two steps, of a curve that starts at 4.
  assert evaluation.largest_rise([4.0, 1.0, 2.0, 3.0, 0.0]) == pytest.approx(0.5)
  assert evaluation.largest_rise([3.0, 2.0, 0.0]) == 0.0
  assert evaluation.largest_rise([0.0, 1.0]) == float("inf")
  assert evaluation.largest_rise([0.0, 0.0]) == 0.0


@pytest.mark.parametrize(
  "function",
  [evaluation.rank_correlation, evaluation.falling_fraction, evaluation.largest_rise],
)
@pytest.mark.parametrize(
  ("curve", "words"),
  [
    ([], "at least two"),
    ([1.0], "at least two"),
    ([[1.0, 2.0]], "shape"),
    ([1.0, float("nan"), 2.0], "1 of 3"),
    ([1.0, float("inf")], "finite"),
    (["near", "far"], "numbers"),
  ],
)
def test_what_is_no_curve_is_refused_in_a_sentence(function, curve, words):
  with pytest.raises(UserError, match=words) as error:
    function(curve)
  assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_other_refusals():
  with pytest.raises(UserError, match="2 and 3"):
    evaluation.spearman([1.0, 2.0], [1.0, 2.0, 3.0])
