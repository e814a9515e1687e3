"""Where the hand is, and joint angles that bring it elsewhere."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.scene import hand_error, home_at

# Where Meta-World's tasks begin, apart from the home's own place (0, 0.4, 0.2).
PLACES = [(0.0, 0.6, 0.2), (-0.5, 0.6, 0.2)]


@pytest.fixture(scope="module")
def env():
  with RobotEnv(joint_noise=0.0, placement=0) as env:
    env.reset(seed=0)
    yield env


def error_at(env, angles, place):
  data = mujoco.MjData(env.model)
  for joint, angle in zip(env.robot.arm_joints, angles, strict=True):
    data.joint(joint).qpos = angle
  mujoco.mj_kinematics(env.model, data)
  return hand_error(data, env.model.body("hand").id, np.array(place))


@pytest.mark.parametrize("place", PLACES)
def test_the_hand_gets_there_and_points_down(env, place):
  angles = home_at(env.model, env.robot, np.array(place))
  np.testing.assert_allclose(error_at(env, angles, place), np.zeros(6), atol=2e-3)
  for joint, angle in zip(env.robot.arm_joints, angles, strict=True):
    low, high = env.model.joint(joint).range
    assert low <= angle <= high


def test_the_home_is_its_own_place(env):
  hand = env.data.body("hand").xpos
  for shift in (0.0, 0.01):
    angles = home_at(env.model, env.robot, hand + [shift, 0.0, 0.0])
    np.testing.assert_array_equal(angles, env.robot.home)


def test_the_error_is_what_is_missing(env):
  place = env.data.body("hand").xpos + [0.1, -0.2, 0.3]
  error = error_at(env, env.robot.home, place)
  np.testing.assert_allclose(error[:3], [0.1, -0.2, 0.3], atol=1e-9)
  assert np.linalg.norm(error[3:]) < 0.1
  # Turning the last joint turns the hand around its approach axis, which points down.
  turned = np.array(env.robot.home) + [0, 0, 0, 0, 0, 0, 0.3]
  change = error_at(env, turned, place)[3:] - error[3:]
  np.testing.assert_allclose(np.abs(change), [0, 0, 0.3], atol=0.05)


def test_the_scene_given_is_not_touched(env):
  before = env.data.qpos.copy()
  home_at(env.model, env.robot, np.array(PLACES[0]))
  np.testing.assert_array_equal(env.data.qpos, before)
