"""The expert's last pose with the object back where it was, at joints of each kind."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import Expert, RobotEnv, draw_put_back
from vipjax.envs.put_back import FIRST, LAST, PUT_BACK
from vipjax.runtime.errors import UserError
from vipjax.scene import View

VIEWS = {"left": View(), "right": View(azimuth=165.0, distance=1.05)}
SEED = 5
# A slide, a drawer, a hinge, and a free body.
TASKS = [
  ("window-open", "torque"),
  ("drawer-open", "torque"),
  ("faucet-close", "torque"),
  ("plate-slide-back", "end_effector"),
]


def joints_of_robot(env):
  """Addresses of the joints below the robot's base, found by walking up from each."""
  model, found = env.model, []
  for joint in range(model.njnt):
    body = model.jnt_bodyid[joint]
    while body and model.body(body).name != "base":
      body = model.body_parentid[body]
    size = {0: 7, 1: 4, 2: 1, 3: 1}[int(model.jnt_type[joint])]
    start = model.jnt_qposadr[joint]
    found += range(start, start + size) if body else ()
  return np.array(found)


@pytest.mark.parametrize(("task", "control"), TASKS)
def test_the_robot_stays_and_the_object_is_back(task, control):
  with RobotEnv(task, control=control, size=48) as env:
    env.reset(seed=SEED)
    first, apart = env.data.qpos.copy(), env.distances()[1]
    expert = Expert(env)
    expert.reset()
    left = None
    while left != 0:
      *_, truncated, info = env.step(expert.action())
      assert not truncated
      left = 5 if left is None and info["success"] else None if left is None else left - 1
    last, reached = env.data.qpos.copy(), env.distances()[1]
    made = draw_put_back(env, VIEWS, SEED)
    qpos = env.data.qpos.copy()
    assert env.distances()[1] == pytest.approx(apart)
    assert reached < apart / 2
    with pytest.raises(UserError, match="reset first"):
      env.step(np.zeros(env.action_space.shape))
  robot = joints_of_robot(env)
  objects = np.setdiff1d(np.arange(env.model.nq), robot)
  assert len(robot) == 9 and len(objects) > 0
  np.testing.assert_array_equal(qpos[robot], last[robot])
  np.testing.assert_array_equal(qpos[objects], first[objects])
  assert np.abs(qpos[objects] - last[objects]).max() > 0.01
  assert made.success and 0.1 < made.straight <= 1 and made.steps > 20
  for view in VIEWS:
    free, plain = made.frames[view, False], made.frames[view, True]
    assert plain.shape == (3, 48, 48, 3) and plain.dtype == np.uint8
    np.testing.assert_array_equal(free[PUT_BACK], free[FIRST])
    assert (free[LAST] != free[FIRST]).any()
    assert (plain[PUT_BACK] != plain[FIRST]).any() and (plain[PUT_BACK] != plain[LAST]).any()


@pytest.mark.parametrize(
  ("task", "control", "depth"),
  # A window that is shut again leaves the hand alone; a button comes out where the hand is.
  [("window-open", "torque", 0.0), ("button-press-wall", "end_effector", 0.024)],
)
def test_an_object_that_comes_back_over_the_arm(task, control, depth):
  with RobotEnv(task, control=control, size=16) as env:
    overlap = draw_put_back(env, {"left": View()}, SEED).overlap
  assert overlap == pytest.approx(depth, abs=0.005)


def test_hand_and_steps_are_those_of_the_expert():
  with RobotEnv(size=16) as env:
    made = draw_put_back(env, {"left": View()}, SEED, hold=2)
    env.reset(seed=SEED)
    expert = Expert(env)
    expert.reset()
    way = [env.task.tcp_center]
    for _ in range(made.steps):
      *_, info = env.step(expert.action())
      way.append(env.task.tcp_center)
  assert info["success"]
  legs = [np.linalg.norm(there - here) for here, there in zip(way, way[1:], strict=False)]
  assert made.straight == pytest.approx(np.linalg.norm(way[-1] - way[0]) / sum(legs))
