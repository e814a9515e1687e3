"""icvf_loss against the reference's numbers and by hand."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import icvf_loss
from vipjax.runtime.errors import UserError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "icvf_values.npz")
NAMES = ("v", "next_v", "next_v_zz", "v_zz", "masks", "desired_masks", "expectile", "discount")


# The third has the mean of the heads instead of the least, the fourth is without intents.
@pytest.mark.parametrize("case", ["0", "1", "2", "3", "4", "5"])
def test_matches_the_reference(case):
  values, *targets, left, intent_left, expectile, discount = (
    GOLDEN[f"{case}/{name}"] for name in NAMES
  )
  settings = {"discount": float(discount), "expectile": float(expectile)}
  if case == "3":
    targets[1] = np.broadcast_to(targets[1].mean(axis=0), values.shape)
  elif case == "4":
    targets[2], intent_left = np.zeros_like(values), np.zeros_like(left)

  def loss(values):
    return icvf_loss(values, *targets, left == 0, intent_left == 0, **settings)

  (cost, metrics), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
    jnp.asarray(values, jnp.float32)
  )
  wanted = {name: GOLDEN[f"{case}/{name}"] for name in ("loss", "td_error", "advantage", "accept")}
  assert cost.dtype == jnp.float32
  np.testing.assert_allclose(cost, wanted["loss"], rtol=1e-5)
  np.testing.assert_allclose(metrics["icvf_loss"], wanted["loss"], rtol=1e-5)
  np.testing.assert_allclose(metrics["icvf_td_error"], np.abs(wanted["td_error"]).mean(), rtol=1e-5)
  # Positive and negative ones cancel out.
  scale = np.abs(wanted["advantage"]).max()
  np.testing.assert_allclose(
    metrics["icvf_advantage"], wanted["advantage"].mean(), rtol=1e-5, atol=1e-6 * scale
  )
  np.testing.assert_allclose(metrics["icvf_accepted"], wanted["accept"], rtol=1e-6)
  golden = GOLDEN[f"{case}/grad_v"]
  np.testing.assert_allclose(gradient, golden, rtol=1e-5, atol=1e-6 * np.abs(golden).max())


# V(s, g), and of the target V(s', g) and V(s, g), of three rows; in the last, s is the goal.
VALUES = np.array([[-4.0, -4.0, -1.0]])
NEXT, TARGET = np.array([[-2.0, -6.0, -3.0]]), np.array([[-3.0, -3.0, -0.5]])
REACHED = np.array([False, False, True])


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand_where_the_outcome_is_the_intent(compiled):
  def function():
    return icvf_loss(VALUES, NEXT, NEXT, TARGET, REACHED, REACHED, discount=0.5, expectile=0.9)

  loss, metrics = (jax.jit(function) if compiled else function)()
  # -1 - 2 / 2 = -2, -1 - 6 / 2 = -4 and 0 are better than the target's by 1, -1 and .5.
  assert metrics["icvf_advantage"] == pytest.approx((1 - 1 + 0.5) / 3)
  assert metrics["icvf_accepted"] == pytest.approx(2 / 3)
  # They are 2, 0 and 1 from the values.
  assert metrics["icvf_td_error"] == pytest.approx(1)
  assert loss == pytest.approx((0.9 * 4 + 0.9 * 1) / 3) and metrics["icvf_loss"] == loss


def test_a_step_that_does_not_get_nearer_weighs_less():
  def pull(next_value):
    following = jnp.array([[next_value]])
    function = jax.grad(lambda v: icvf_loss(v, following, following, start, no, no, 1.0, 0.9)[0])
    return float(function(jnp.array([[-5.0]]))[0, 0])

  start, no = jnp.array([[-5.0]]), jnp.array([False])
  assert pull(-2.0) == pytest.approx(-2 * 0.9 * 2)  # from 5 to 3
  assert pull(-6.0) == pytest.approx(2 * 0.1 * 2)  # from 5 to 7, a ninth as hard


def test_several_steps_cost_what_they_cost_one_by_one():
  no = np.array([False])
  # -1 - .9 - .81 and then .729 of -2; or without a discount -3 - 2.
  for discount, wanted in ((0.9, -2.71 - 0.729 * 2), (1.0, -5.0)):
    after, start = np.array([[-2.0]]), np.array([[0.0]])
    loss, metrics = icvf_loss(start, after, after, start, no, no, discount, 0.5, np.array([3]))
    assert metrics["icvf_td_error"] == pytest.approx(-wanted, rel=1e-5)
    assert loss == pytest.approx(0.5 * wanted**2, rel=1e-5)


def test_targets_get_no_gradient():
  gradient = jax.grad(
    lambda *targets: icvf_loss(VALUES, *targets, REACHED, REACHED)[0], argnums=(0, 1, 2)
  )(*map(jnp.asarray, (NEXT, NEXT, TARGET)))
  assert not any(each.any() for each in gradient)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"values": np.zeros(3)}, r"values of shape \[H, B\]"),
    ({"intent_values": np.zeros((2, 3))}, r"intent_values of shape \[H, B\] .here \[1, 3\]"),
    ({"is_intent": np.zeros(2, bool)}, r"is_intent of shape \[B\]"),
    ({"steps": np.ones(1)}, r"steps of shape \[B\]"),
  ],
)
def test_refusals(change, words):
  arguments = {
    "values": VALUES, "next_values": NEXT, "next_intent_values": NEXT, "intent_values": TARGET,
    "is_outcome": REACHED, "is_intent": REACHED,
  }  # fmt: skip
  with pytest.raises(UserError, match=words):
    icvf_loss(**arguments | change)
