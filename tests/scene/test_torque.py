"""Joint motors instead of the mocap weld, and walls around the hand."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from metaworld.asset_path_utils import full_V3_path_for

from vipjax.envs import RobotEnv
from vipjax.envs.metaworld_task import WORKSPACE_SLACK
from vipjax.runtime.errors import UserError
from vipjax.scene import get_robot, use_joint_torques

SAWYER = get_robot("sawyer")
# How far past a wall the hand gets before the contact has stopped it, at the torques tried here.
OVERSHOOT = 0.03
HELD_OVERSHOOT = 0.06


@pytest.fixture(scope="module")
def stock():
  """Meta-World's own scene."""
  return mujoco.MjSpec.from_file(full_V3_path_for("sawyer_xyz/sawyer_window_horizontal.xml"))


@pytest.fixture(scope="module")
def unbounded(stock):
  """The compiled scene under torque control, without walls."""
  spec = stock.copy()
  use_joint_torques(spec, SAWYER)
  return spec.compile()


@pytest.fixture(scope="module")
def env():
  with RobotEnv(joint_noise=0.0, placement=0) as env:
    yield env


def at_home(model):
  data = mujoco.MjData(model)
  for joint, angle in zip(SAWYER.arm_joints, SAWYER.home, strict=True):
    data.joint(joint).qpos[0] = angle
  mujoco.mj_forward(model, data)
  return data


def test_seven_joint_motors_and_a_gripper(unbounded):
  names = [unbounded.actuator(i).name for i in range(unbounded.nu)]
  assert names == [f"torque_right_j{i}" for i in range(7)] + ["gripper"]
  joints = [unbounded.joint(unbounded.actuator_trnid[i, 0]).name for i in range(7)]
  assert joints == [f"right_j{i}" for i in range(7)]
  np.testing.assert_array_equal(unbounded.actuator_gear[:, 0], [80, 80, 40, 40, 9, 9, 9, 400])
  np.testing.assert_array_equal(unbounded.actuator_ctrlrange, [[-1, 1]] * 8)
  assert unbounded.actuator_ctrllimited.all()


def test_nothing_else_drives_the_arm(stock, unbounded):
  before = stock.copy().compile()
  assert before.nmocap == 1 and (before.eq_type == mujoco.mjtEq.mjEQ_WELD).any()
  assert unbounded.nmocap == 0
  assert not (unbounded.eq_type == mujoco.mjtEq.mjEQ_WELD).any()


@pytest.mark.parametrize("motor", range(7))
def test_a_motor_turns_its_joint_alone(unbounded, motor):
  data = at_home(unbounded)
  data.ctrl[motor] = 2.0  # beyond the range: clipped to 1
  mujoco.mj_forward(unbounded, data)
  expected = np.zeros(unbounded.nv)
  expected[unbounded.joint(f"right_j{motor}").dofadr[0]] = SAWYER.gears[motor]
  np.testing.assert_allclose(data.qfrc_actuator, expected)


def test_the_gripper_closes_at_positive_control(unbounded):
  data = at_home(unbounded)
  data.ctrl[7] = 0.5
  mujoco.mj_forward(unbounded, data)
  forces = [data.joint(name).qfrc_actuator[0] for name in SAWYER.finger_joints]
  assert forces == [200.0, -200.0]
  right, left = (data.body(name).xpos.copy() for name in ("rightpad", "leftpad"))
  apart = np.linalg.norm(right - left)
  mujoco.mj_step(unbounded, data, 40)
  assert np.linalg.norm(data.body("rightpad").xpos - data.body("leftpad").xpos) < apart - 0.01


def test_gravity_is_compensated_for_the_robot_alone(unbounded):
  base = unbounded.body("base").id
  robot = unbounded.body_rootid == base
  assert (unbounded.body_gravcomp[robot] == 1).all()
  assert (unbounded.body_gravcomp[~robot] == 0).all()


def test_zero_torque_holds_the_pose(env):
  env.reset(seed=0)
  before = env.data.qpos.copy()
  for _ in range(200):
    env.step(np.zeros(8))
  np.testing.assert_allclose(env.data.qpos, before, atol=1e-6)


def test_home_is_where_metaworlds_own_reset_ends(env):
  env.reset(seed=0)
  hand = env.data.body("hand")
  with RobotEnv(control="end_effector", placement=0) as other:
    other.reset(seed=0)
    reference = other.data.body("hand")
    np.testing.assert_allclose(hand.xpos, reference.xpos, atol=0.005)
    assert abs(hand.xquat @ reference.xquat) > 0.999


def excursion(model, data, low, high, steps, hold, rng):
  """How far the hand gets out of the box under random torques, metres."""
  worst = 0.0
  for step in range(steps):
    if step % hold == 0:
      data.ctrl[:] = rng.uniform(-1.0, 1.0, 8)
    mujoco.mj_step(model, data, 5)
    hand = data.body("hand").xpos
    worst = max(worst, (low - hand).max(), (hand - high).max())
  return worst


@pytest.mark.parametrize(("hold", "allowed"), [(1, OVERSHOOT), (20, HELD_OVERSHOOT)])
def test_walls_hold_the_hand(env, hold, allowed):
  low = env.task.mocap_low - WORKSPACE_SLACK
  high = env.task.mocap_high + WORKSPACE_SLACK
  rng = np.random.default_rng(0)
  for seed in range(4):
    env.reset(seed=seed)
    assert excursion(env.model, env.data, low, high, 200, hold, rng) < allowed


def test_without_walls_the_hand_leaves(env, unbounded):
  # What the walls are for, and that the test above could fail.
  low = env.task.mocap_low - WORKSPACE_SLACK
  high = env.task.mocap_high + WORKSPACE_SLACK
  rng = np.random.default_rng(0)
  worst = [excursion(unbounded, at_home(unbounded), low, high, 200, 20, rng) for _ in range(4)]
  assert max(worst) > 2 * HELD_OVERSHOOT


def test_walls_touch_nothing_but_the_hands_marker(env):
  model = env.model
  walls = [i for i in range(model.ngeom) if model.geom(i).name.startswith("workspace_")]
  assert len(walls) == 7
  bits = (model.geom_contype | model.geom_conaffinity)[walls]
  others = [i for i in range(model.ngeom) if i not in walls]
  assert not ((model.geom_contype | model.geom_conaffinity)[others] & bits[0]).any()
  assert (model.geom_rgba[walls, 3] == 0).all()


def test_the_marker_weighs_nothing(env, unbounded):
  np.testing.assert_allclose(env.model.body("hand").mass, unbounded.body("hand").mass)
  np.testing.assert_allclose(env.model.body("hand").inertia, unbounded.body("hand").inertia)


def test_an_unknown_robot():
  with pytest.raises(UserError, match="expected a robot among .*sawyer.*, got 'ur5'; choose"):
    get_robot("ur5")
