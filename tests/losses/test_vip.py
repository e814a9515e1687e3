"""vip_loss against the official trainer's numbers, by hand, and where float32 used to overflow."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import vip_loss
from vipjax.runtime.errors import UserError

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"
LOSS_AND_GRADIENT = jax.jit(jax.value_and_grad(lambda *arguments: vip_loss(*arguments)[0]))
NO_NEGATIVES = np.zeros((0, 1), np.int32)


@pytest.mark.parametrize("name", ["vip_loss_neg0", "vip_loss_neg3"])
def test_matches_official_trainer(name):
  golden = np.load(TESTDATA / f"{name}.npz")

  def loss(embeddings):
    return vip_loss(
      embeddings, golden["rewards"], golden["permutations"], l1_weight=0.001, l2_weight=0.001
    )

  function = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (value, metrics), gradient = function(golden["embeddings"])
  np.testing.assert_allclose(loss(golden["embeddings"])[0], golden["full_loss"], atol=1e-5)
  np.testing.assert_allclose(value, golden["full_loss"], atol=1e-5)
  np.testing.assert_allclose(metrics["vip_loss"], golden["vip_loss"], atol=1e-5)
  np.testing.assert_allclose(metrics["l1_norm"], golden["l1loss"], rtol=1e-5)
  np.testing.assert_allclose(metrics["l2_norm"], golden["l2loss"], rtol=1e-5)
  scale = np.abs(golden["grad"]).max()
  np.testing.assert_allclose(gradient, golden["grad"], rtol=2e-3, atol=1e-5 * scale)


def test_by_hand():
  # Distances to the goals: o_0 5 and 3, o_t 4 and 2, o_t+1 3 and 1; D = 1, goals 0 and 10.
  embeddings = jnp.array([[5.0, 0.0, 4.0, 3.0], [7.0, 10.0, 8.0, 9.0]])[..., None]
  rewards = jnp.array([-1.0, -0.5])
  value, metrics = vip_loss(embeddings, rewards, jnp.array([[1, 0]]), discount=0.5, epsilon=0.25)
  # Residual: -r + discount * distance(o_t+1) - distance(o_t).
  td = np.log(0.25 + np.mean(np.exp([1 + 1.5 - 4, 0.5 + 0.5 - 2])))
  # Swapped transitions, goals and rewards in place: distances 8, 9 to goal 0 and 6, 7 to 10.
  negatives = np.log(0.25 + np.mean(np.exp([1 + 4.5 - 8, 0.5 + 3.5 - 6])))
  np.testing.assert_allclose(metrics["vip_attraction"], 0.5 * 4.0, rtol=1e-6)
  np.testing.assert_allclose(metrics["vip_td"], td, rtol=1e-6)
  np.testing.assert_allclose(metrics["vip_negatives"], negatives, rtol=1e-6)
  np.testing.assert_allclose(metrics["vip_distance"], 4.0, rtol=1e-6)
  np.testing.assert_allclose(value, 2.0 + td + negatives, rtol=1e-6)


def test_negatives_share_one_log_term():
  embeddings = jax.random.normal(jax.random.key(0), (5, 4, 3))
  rewards = -jnp.ones(5)
  shuffles = jnp.array([[1, 2, 3, 4, 0], [2, 3, 4, 0, 1]])
  compiled = jax.jit(vip_loss)
  terms = [
    compiled(embeddings, rewards, rows, epsilon=0.0)[1]["vip_negatives"]
    for rows in (shuffles, shuffles[:1], shuffles[1:])
  ]
  np.testing.assert_allclose(terms[0], np.log(np.mean(np.exp(terms[1:]))), rtol=1e-5)


@pytest.mark.parametrize("distance", [0.0, 1e-3, 90.0, 800.0, 1e5])
@pytest.mark.parametrize("epsilon", [0.0, 1e-8])
def test_finite_at_any_distance(distance, epsilon):
  # The next frame is far from a goal at which the present one is: the residual is +distance.
  embeddings = jnp.zeros((3, 4, 2)).at[:, 3, 0].set(distance)
  shuffles = jnp.array([[1, 2, 0]])

  value, gradient = LOSS_AND_GRADIENT(
    embeddings, -jnp.ones(3), shuffles, 0.98, epsilon, 0.001, 0.001
  )
  norms = 0.001 * 2 * distance / 4
  np.testing.assert_allclose(value, 2 * (1 + 0.98 * distance) + norms, rtol=1e-5)
  assert np.isfinite(gradient).all()


def test_small_residuals_reach_epsilon():
  # Far from the goal now, at it in the next frame: exp(-800) is 0 in float32, epsilon remains.
  embeddings = jnp.zeros((2, 4, 2)).at[:, 2, 0].set(800.0)
  value, metrics = vip_loss(embeddings, -jnp.ones(2), np.zeros((0, 2), np.int32))
  np.testing.assert_allclose(metrics["vip_td"], np.log(1e-8), rtol=1e-6)
  assert np.isfinite(value)


def test_identical_frames_have_no_gradient():
  embeddings = jnp.zeros((2, 4, 3))
  arguments = (embeddings, -jnp.ones(2), jnp.array([[1, 0]]), 0.98, 1e-8, 1.0, 1.0)
  _, gradient = LOSS_AND_GRADIENT(*arguments)
  np.testing.assert_array_equal(gradient, np.zeros((2, 4, 3)))


def test_half_precision_is_widened():
  embeddings = jax.random.normal(jax.random.key(1), (4, 4, 8)).astype(jnp.bfloat16)
  permutations = jnp.array([[1, 2, 3, 0]])
  narrow = vip_loss(embeddings, -jnp.ones(4), permutations)[0]
  wide = vip_loss(embeddings.astype(jnp.float32), -jnp.ones(4, int), permutations)[0]
  assert narrow.dtype == jnp.float32
  np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize(
  ("embeddings", "rewards", "permutations", "sentence"),
  [
    (jnp.zeros((2, 3, 5)), -jnp.ones(2), np.zeros((0, 2), int), r"\[B, 4, D\].*got \[2, 3, 5\]"),
    (jnp.zeros((2, 4)), -jnp.ones(2), np.zeros((0, 2), int), r"embeddings.*got \[2, 4\]"),
    (jnp.zeros((2, 4, 5), int), -jnp.ones(2), np.zeros((0, 2), int), "floats, got int32"),
    (jnp.zeros((2, 4, 5)), -jnp.ones(3), np.zeros((0, 2), int), r"rewards.*\[2\].*got \[3\]"),
    (jnp.zeros((2, 4, 5)), -jnp.ones(2), np.zeros((1, 3), int), r"permutations.*got \[1, 3\]"),
    (jnp.zeros((2, 4, 5)), -jnp.ones(2), np.zeros((1, 2)), "integers, got float32"),
    (jnp.zeros((2, 4, 5)), -jnp.ones(2), np.array([[1, 2]]), "from 0 to 1, got 1 to 2"),
    (jnp.zeros((2, 4, 5)), -jnp.ones(2), np.array([[-1, 0]]), "from 0 to 1, got -1 to 0"),
  ],
)
def test_bad_input_is_named(embeddings, rewards, permutations, sentence):
  with pytest.raises(UserError, match=sentence):
    vip_loss(embeddings, rewards, permutations)


def test_a_single_clip_without_negatives():
  value, metrics = vip_loss(jnp.zeros((1, 4, 2)), -jnp.ones(1), NO_NEGATIVES)
  np.testing.assert_allclose(value, 1.0, rtol=1e-6)  # log(exp(1))
  assert metrics["vip_negatives"] == 0.0
