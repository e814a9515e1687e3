"""Distances to goals, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.encoder import goal_distances, reduce_goals
from vipjax.runtime.errors import UserError

EMBEDDINGS = np.array([[0, 0], [3, 4], [6, 8]], np.float32)
GOALS = np.array([[6, 8], [0, 0]], np.float32)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_the_nearest_goal_counts_or_their_mean(array):
  nearest = goal_distances(array(EMBEDDINGS), array(reduce_goals(GOALS, "nearest")))
  np.testing.assert_allclose(nearest, [0, 5, 0])
  mean = goal_distances(array(EMBEDDINGS), array(reduce_goals(GOALS, "mean")))
  np.testing.assert_allclose(mean, [5, 0, 5])
  assert nearest.dtype == mean.dtype == np.float32


def test_another_reduction_is_refused():
  with pytest.raises(UserError, match="among mean, nearest, got 'last'"):
    reduce_goals(GOALS, "last")
