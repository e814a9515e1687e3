"""The Panda and the Jaco in the Sawyer's place: motors, walls, pictures."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.scene import OBJECT, ROBOT, View

ARMS = ["panda", "jaco"]
FAR = (0.0, 0.0, -100.0)
VIEWS = [View(azimuth=140.0), View(azimuth=40.0), View(camera="corner2")]

pytestmark = pytest.mark.usefixtures("arms_files")


@pytest.fixture(scope="module", params=ARMS)
def env(request, arms_files):
  with RobotEnv(robot=request.param, joint_noise=0.0, placement=0, size=64) as env:
    env.reset(seed=0)
    yield env


@pytest.fixture(scope="module")
def sawyer():
  with RobotEnv(joint_noise=0.0, placement=0, size=64) as env:
    env.reset(seed=0)
    yield env


def differ(first, second):
  return (first != second).any(axis=-1)


def test_seven_joint_motors_and_a_gripper(env):
  model, robot = env.model, env.robot
  assert model.nu == 8 and model.nmocap == 0
  assert not (model.eq_type == mujoco.mjtEq.mjEQ_WELD).any()
  joints = [model.joint(model.actuator_trnid[i, 0]).name for i in range(7)]
  assert joints == list(robot.arm_joints)
  np.testing.assert_array_equal(model.actuator_gear[:, 0], [*robot.gears, robot.gripper_gear])
  base = model.body("base").id
  arm = [model.joint(name).dofadr[0] for name in robot.arm_joints]
  assert (model.body_rootid[model.dof_bodyid[arm]] == base).all()
  assert (model.body_gravcomp[model.body_rootid == base] == 1).all()


def test_names_that_tasks_look_up(env):
  for name in ("hand", "leftclaw", "rightclaw", "leftpad", "rightpad"):
    assert env.model.body(name).id > 0
  for name in ("leftpad_geom", "rightpad_geom"):
    assert env.model.geom(name).contype or env.model.geom(name).conaffinity
  # The fingers close along y, and meet between the pads.
  env.reset(seed=0)
  hand = env.data.body("hand")
  frame = hand.xmat.reshape(3, 3)
  left, right = (
    frame.T @ (env.data.body(name).xpos - hand.xpos) for name in ("leftpad", "rightpad")
  )
  assert left[1] > 0.02 and right[1] < -0.02
  assert abs(left[2]) < 0.03 and abs(right[2]) < 0.03
  np.testing.assert_allclose((left + right)[0] / 2, 0.045, atol=0.03)


def test_the_hand_starts_where_metaworlds_does(env, sawyer):
  env.reset(seed=0)
  ours, reference = env.data.body("hand"), sawyer.data.body("hand")
  np.testing.assert_allclose(ours.xpos, reference.xpos, atol=0.01)
  assert abs(ours.xquat @ reference.xquat) > 0.999


def test_zero_torque_holds_the_arm(env):
  env.reset(seed=0)
  before = env.data.body("hand").xpos.copy()
  for _ in range(100):
    env.step(np.zeros(8))
  np.testing.assert_allclose(env.data.body("hand").xpos, before, atol=2e-3)


def test_the_gripper_closes_and_opens(env):
  env.reset(seed=0)
  openings = []
  for force in (1.0, -1.0):
    for _ in range(60):
      observation, *_ = env.step([0, 0, 0, 0, 0, 0, 0, force])
    openings.append(observation[9])
  assert openings[0] < 0.35 and openings[1] > 0.8
  limits = [env.model.joint(name).range for name in env.robot.finger_joints]
  for position, (low, high) in zip(observation[7:9], limits, strict=True):
    assert low - 0.01 < position < high + 0.01


@pytest.mark.parametrize("view", VIEWS, ids=["front", "other", "corner2"])
def test_the_robot_is_removed_and_nothing_else(env, sawyer, view):
  env.reset(seed=0)
  before, removed = env.frame(view), env.frame(view, robot_visible=False)
  position = env.model.body("base").pos.copy()
  env.model.body("base").pos = FAR
  absent = env.frame(view)
  env.model.body("base").pos = position
  np.testing.assert_array_equal(removed, absent)
  np.testing.assert_array_equal(env.frame(view), before)
  assert 0.02 < differ(before, removed).mean() < 0.6
  # Without a robot the picture tells nothing of which it was.
  np.testing.assert_array_equal(removed, sawyer.frame(view, robot_visible=False))


def test_labels_of_robot_and_object(env):
  view = VIEWS[0]
  env.reset(seed=0)
  labels, free = env.labels(view), env.labels(view, robot_visible=False)
  robot = differ(env.frame(view), env.frame(view, robot_visible=False))
  assert ((labels == ROBOT) & ~robot).mean() < 0.01
  assert (robot & (labels != ROBOT)).mean() < 0.04
  assert (labels == ROBOT).mean() > 0.02
  assert ROBOT not in free and (free == OBJECT).mean() > 0.1


def test_collision_shapes_are_not_drawn(env):
  model = env.model
  arm = [
    i
    for i in range(model.ngeom)
    if model.body(model.geom_bodyid[i]).name.startswith(env.robot.name)
  ]
  solid = [i for i in arm if model.geom_contype[i] or model.geom_conaffinity[i]]
  assert len(solid) > 8 and (model.geom_group[solid] >= 3).all()


def test_the_drawing_model_is_lighter(env):
  env.frame(VIEWS[0])
  assert env.drawn_model.nmeshface < 0.3 * env.model.nmeshface
