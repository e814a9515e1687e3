"""robot_free_loss by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import robot_free_loss
from vipjax.runtime.errors import UserError

EMBEDDINGS = jnp.array([[3.0, 4.0], [1.0, 1.0]])
TARGETS = jnp.array([[0.0, 0.0], [1.0, 3.0]])
UNITS = jnp.array([10.0, 1.0])


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  function = jax.jit(robot_free_loss) if compiled else robot_free_loss
  loss, metrics = function(EMBEDDINGS, TARGETS, UNITS)
  assert loss == pytest.approx((0.5**2 + 2**2) / 2)
  assert metrics["robot_free_error"] == pytest.approx((0.5 + 2) / 2)


def test_only_the_embeddings_get_a_gradient():
  ours, targets = jax.grad(lambda *xs: robot_free_loss(*xs, UNITS)[0], (0, 1))(EMBEDDINGS, TARGETS)
  np.testing.assert_allclose(ours, [[0.03, 0.04], [0.0, -2.0]], rtol=1e-6)
  np.testing.assert_array_equal(targets, jnp.zeros_like(targets))


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    ((EMBEDDINGS, TARGETS[:1], UNITS), r"expected targets of shape \[B, D\]"),
    ((EMBEDDINGS, TARGETS, UNITS[None]), r"expected units of shape \[B\]"),
    ((EMBEDDINGS.astype(int), TARGETS, UNITS), "expected embeddings of floats"),
  ],
)
def test_bad_arrays_are_one_sentence(arguments, sentence):
  with pytest.raises(UserError, match=sentence):
    robot_free_loss(*arguments)
