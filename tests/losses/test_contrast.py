"""contrast_loss by hand, and how hard it pushes where VIP's negatives hardly do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import contrast_loss, vip_loss
from vipjax.runtime.errors import UserError

# o_0, g, o_late, n; distances to the goals 0 and 10: 8, 1 and 2; 6, 1 and 5.
EMBEDDINGS = jnp.array([[8.0, 0.0, 1.0, 2.0], [4.0, 10.0, 9.0, 5.0]])[..., None]


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  function = jax.jit(contrast_loss) if compiled else contrast_loss
  loss, metrics = function(EMBEDDINGS)
  # 8 / 2 + 1 - 2 = 3; 6 / 2 + 1 - 5 < 0 costs nothing.
  assert loss == pytest.approx(1.5) and metrics["contrast_loss"] == loss
  assert metrics["contrast_violations"] == 0.5
  assert metrics["contrast_price"] == pytest.approx((2 / 8 + 5 / 6) / 2)
  assert function(EMBEDDINGS, margin=1.0)[0] == pytest.approx((7 + 2) / 2)


def test_weights_are_those_of_a_mean_and_may_all_be_0():
  assert contrast_loss(EMBEDDINGS, 1.0, jnp.array([3, 1]))[0] == pytest.approx((3 * 7 + 2) / 4)
  loss, metrics = contrast_loss(EMBEDDINGS, weights=jnp.zeros(2))
  assert loss == 0 and all(metric == 0 for metric in metrics.values())
  gradient = jax.grad(lambda x: contrast_loss(x, weights=jnp.zeros(2))[0])(EMBEDDINGS)
  np.testing.assert_array_equal(gradient, jnp.zeros_like(EMBEDDINGS))


def test_gradient_pushes_the_failure_away_and_leaves_the_margin():
  gradient = jax.grad(lambda x: contrast_loss(x)[0])(EMBEDDINGS)[..., 0]
  # In the first row the late frame is pulled to 0 and the failure pushed from it; both pulls of the
  # goal cancel out, because they lie on one side of it. No gradient makes the first frame nearer.
  np.testing.assert_allclose(gradient, [[0, 0, 0.5, -0.5], [0, 0, 0, 0]], atol=1e-6)


def test_a_parked_pose_is_pushed_fifty_times_as_hard_as_by_a_negative_of_vip():
  parked = 0.04  # the price of the parked pose; the first distance is 1
  embeddings = jnp.array([[1.0, 0.0, 0.0, parked]])[..., None]
  ours = jax.grad(lambda x: contrast_loss(x)[0])(embeddings)[0, 3, 0]
  assert ours == pytest.approx(-1.0)

  def negatives(position):
    # A pair that stands still there, as a negative of the first clip's goal.
    clips = jnp.array([[1.0, 0.0, 1.0, 0.5], [1.0, 0.0, 0.0, 0.0]])[..., None]
    clips = clips.at[1, 2:, 0].set(position)
    _, metrics = vip_loss(clips, -jnp.ones(2), jnp.array([[1, 1]]), discount=0.98, epsilon=0.0)
    return metrics["vip_negatives"]

  assert jax.grad(negatives)(parked) == pytest.approx(-0.02, rel=1e-4)


def test_no_gradient_is_nan_where_frames_are_equal():
  same = jnp.ones((2, 4, 3))
  assert jnp.isfinite(jax.grad(lambda x: contrast_loss(x)[0])(same)).all()
  assert jnp.isfinite(contrast_loss(same)[1]["contrast_price"])


@pytest.mark.parametrize(
  ("shape", "weights", "words"), [((2, 3, 1), None, r"\[B, 4, D\]"), ((2, 4, 1), (1.0,), r"\[B\]")]
)
def test_refusals(shape, weights, words):
  with pytest.raises(UserError, match=words):
    contrast_loss(jnp.zeros(shape), weights=weights)
