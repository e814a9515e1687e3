"""progress_loss and the two-hot by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import progress_loss
from vipjax.losses.progress import two_hot
from vipjax.runtime.errors import UserError


def test_two_hot_by_hand():
  # Centres -1, -.5, 0, .5, 1; what is past them counts as the end.
  got = two_hot(jnp.array([-1.0, 0.0, 0.25, -0.6, 1.5]), 5)
  wanted = [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0.5, 0.5, 0], [0.2, 0.8, 0, 0, 0]]
  np.testing.assert_allclose(got, [*wanted, [0, 0, 0, 0, 1]], atol=1e-6)


def test_two_hot_of_twenty_bins_has_the_target_as_its_mean():
  targets = np.linspace(-1, 1, 101).astype(np.float32)
  weights = np.asarray(two_hot(targets, 20))
  np.testing.assert_allclose(weights @ np.linspace(-1, 1, 20), targets, atol=1e-6)
  np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
  assert ((weights > 1e-6).sum(axis=1) <= 2).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_loss_by_hand(compiled):
  function = jax.jit(progress_loss) if compiled else progress_loss
  # Three bins, -1, 0 and 1, with probabilities .2 .3 .5 and .6 .1 .3.
  logits = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]], np.float32)) + 7
  loss, metrics = function(logits, np.array([0.5, 0.25], np.float32))
  # Two-hots 0 .5 .5 and 0 .75 .25.
  wanted = -np.array(
    [0.5 * np.log(0.3) + 0.5 * np.log(0.5), 0.75 * np.log(0.1) + 0.25 * np.log(0.3)]
  )
  assert loss == pytest.approx(wanted.mean(), rel=1e-5) and metrics["progress_loss"] == loss
  # Expected values .3 and -.3.
  assert metrics["progress_error"] == pytest.approx((0.2 + 0.55) / 2, rel=1e-5)
  assert metrics["progress_order"] == 0.5


def test_gradient_is_softmax_minus_two_hot():
  logits = np.array([[0.5, -1.0, 2.0, 0.0]], np.float32)
  gradient = jax.grad(lambda x: progress_loss(x, jnp.array([0.0]))[0])(logits)
  softmax = np.exp(logits) / np.exp(logits).sum()
  np.testing.assert_allclose(gradient, softmax - [[0, 0.5, 0.5, 0]], atol=1e-6)


@pytest.mark.parametrize(
  ("logits", "targets", "words"),
  [(jnp.zeros(3), jnp.zeros(3), r"\[P, bins\]"), (jnp.zeros((2, 3)), jnp.zeros(3), r"\[P\]")],
)
def test_refusal(logits, targets, words):
  with pytest.raises(UserError, match=words):
    progress_loss(logits, targets)
