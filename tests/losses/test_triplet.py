"""triplet_loss by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import triplet_loss
from vipjax.runtime.errors import UserError

# Distances of o_0 and o_t+1 to the goals 0 and 10: 5 and 3, 1 and 3.
EMBEDDINGS = jnp.array([[5.0, 0.0, 4.0, 3.0], [9.0, 10.0, 8.0, 7.0]])[..., None]


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  function = jax.jit(triplet_loss) if compiled else triplet_loss
  loss, metrics = function(EMBEDDINGS)
  # 1 + 3 - 5 < 0 costs nothing; 1 + 3 - 1 = 3.
  assert loss == pytest.approx(1.5) and metrics["triplet_loss"] == loss
  assert metrics["triplet_violations"] == 0.5
  loss, metrics = function(EMBEDDINGS, margin=4.0)
  assert loss == pytest.approx((2 + 6) / 2) and metrics["triplet_violations"] == 1.0


def test_gradient_pulls_the_later_frame_and_pushes_the_first():
  gradient = jax.grad(lambda x: triplet_loss(x)[0])(EMBEDDINGS)[..., 0]
  # The second clip: later frame at 7 wants up to the goal 10, the first at 9 away from it.
  np.testing.assert_allclose(gradient, [[0, 0, 0, 0], [0.5, 0, 0, -0.5]], atol=1e-6)


def test_no_gradient_is_nan_where_frames_are_equal():
  same = jnp.ones((2, 4, 3))
  assert jnp.isfinite(jax.grad(lambda x: triplet_loss(x)[0])(same)).all()


def test_refusal():
  with pytest.raises(UserError, match=r"\[B, 4, D\]"):
    triplet_loss(jnp.zeros((2, 3, 1)))
