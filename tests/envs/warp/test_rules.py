"""Rules of hand-made poses, and those that probing finds."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.envs.warp.rules import Point, Rules, Turn, carried, find_rules, measure, turned
from vipjax.runtime.errors import UserError

HALF = math.sqrt(0.5)


def test_a_body_that_is_turned_carries_its_offset_along():
  # A quarter turn about z takes x to y; the shift stays as it is.
  xpos, xquat = jnp.array([[[1.0, 2.0, 3.0]]]), jnp.array([[[HALF, 0.0, 0.0, HALF]]])
  found = carried(Point(0, (0.5, 0.0, 0.0), (0.0, 0.0, 0.1)), xpos, xquat)
  np.testing.assert_allclose(found, [[1.0, 2.5, 3.1]], atol=1e-6)


@pytest.mark.parametrize(
  ("turn", "wanted"),
  [
    (Turn(-1, (1.0, 2.0, 3.0, 4.0)), [1.0, 2.0, 3.0, 4.0]),
    (Turn(0, (1.0, 0.0, 0.0, 0.0)), [-HALF, 0.0, 0.0, -HALF]),
    (Turn(0, (HALF, 0.0, 0.0, HALF)), [0.0, 0.0, 0.0, -1.0]),
    # As SciPy has it: x y z w, the largest positive.
    (Turn(0, (HALF, 0.0, 0.0, HALF), scalar_last=True), [0.0, 0.0, 1.0, 0.0]),
  ],
)
def test_quaternions(turn, wanted):
  xquat = jnp.array([[[-HALF, 0.0, 0.0, -HALF]]])
  np.testing.assert_allclose(turned(turn, xquat), [wanted], atol=1e-6)


def test_measured_numbers():
  still = Turn(-1, (0.0, 0.0, 0.0, 0.0))
  origin = (0.0, 0.0, 0.0)
  rules = Rules(
    objects=((Point(2, origin), still),),
    claws=(0, 1),
    tips=(Point(0, origin), Point(1, origin)),
    measured=0,
    shift=(0.0, 0.0, 0.5),
    axes=(True, False, True),
    radius=0.25,
  )
  xpos = jnp.array([
    [[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [0.0, 1.0, 0.0]],
    [[0.0, 0.0, 0.0], [0.30, 0.0, 0.0], [0.0, 1.0, 0.0]],
  ])  # fmt: skip
  xquat = jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0, 0.0]), (2, 3, 4))
  # Of the goal's distance y does not count, and what is judged is half a metre above the object.
  found = measure(rules, xpos, xquat, jnp.array([[0.2, 9.0, 0.5], [0.0, 0.0, 0.8]]))
  np.testing.assert_allclose(found.opening, [0.5, 1.0], atol=1e-6)
  np.testing.assert_allclose(found.features[:, :4], [[0.0, 1.0, 0.0, 0.0]] * 2, atol=1e-6)
  assert found.features.shape == (2, 14)
  np.testing.assert_allclose(
    found.hand_to_object, [math.hypot(0.025, 1.0), math.hypot(0.15, 1.0)], atol=1e-6
  )
  np.testing.assert_allclose(found.object_to_target, [0.2, 0.3], atol=1e-6)
  np.testing.assert_array_equal(found.success, [True, False])


def test_the_rules_of_faucet_open_are_metaworlds(pinned):
  # Meta-World judges (x - .04, y, z + .03) of the handle within 7 cm.
  env = RobotEnv("faucet-open", render_mode=None)
  rules = find_rules(env)
  assert (rules.measured, rules.shift, rules.axes) == (0, (-0.04, 0.0, 0.03), (True,) * 3)
  assert rules.radius == pytest.approx(0.07, abs=1e-6)


def test_a_success_of_another_kind_is_refused(pinned):
  with pytest.raises(UserError, match="whose success follows .*, got hammer"):
    find_rules(RobotEnv("hammer", render_mode=None))
