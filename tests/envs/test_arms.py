"""Every arm at the window: the expert opens it, Gymnasium is content, other tasks are placed."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import vipjax
from vipjax.envs import Expert, RobotEnv, task_names
from vipjax.scene import OBJECT, ROBOT

ARMS = ["panda", "jaco"]
CONTROLS = {"torque": 8, "end_effector": 4}

pytestmark = pytest.mark.usefixtures("arms_files")


def opened(env, seed):
  env.reset(seed=seed)
  expert = Expert(env)
  expert.reset()
  return any(env.step(expert.action())[-1]["success"] for _ in range(env.horizon))


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("robot", ARMS)
def test_the_expert_opens_random_windows(robot, control):
  with RobotEnv(robot=robot, control=control, render_mode=None) as env:
    assert all(opened(env, seed) for seed in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["sawyer", *ARMS])
def test_the_expert_opens_fifty_random_windows(robot):
  with RobotEnv(robot=robot, render_mode=None) as env:
    assert all(opened(env, seed) for seed in range(50))


@pytest.mark.parametrize(("control", "actions"), CONTROLS.items())
@pytest.mark.parametrize("robot", ARMS)
def test_gymnasiums_checker_passes(robot, control, actions):
  env = vipjax.make_env(robot=robot, control=control, size=16)
  assert env.action_space.shape == (actions,) and env.observation_space.shape == (51,)
  check_env(env)
  env.close()


@pytest.mark.parametrize("robot", ARMS)
def test_the_observation_begins_with_arm_and_fingers(robot):
  with RobotEnv(robot=robot, joint_noise=0.0, render_mode=None) as env:
    observation, _ = env.reset(seed=1)
    np.testing.assert_allclose(observation[:7], env.robot.home, atol=1e-6)
    opened_fingers = dict(env.robot.fingers_home)
    expected = [opened_fingers[name] for name in env.robot.finger_joints]
    np.testing.assert_allclose(observation[7:9], expected, atol=1e-6)
    handle = env.data.site("handleOpenStart").xpos
    np.testing.assert_allclose(observation[10:13], handle, atol=1e-6)


# Tasks that write their objects' joints by number, in all the ways that they do.
PLACED = [
  "stick-push", "button-press", "door-close", "drawer-close", "peg-unplug-side", "plate-slide",
  "coffee-pull",
]  # fmt: skip


@pytest.mark.parametrize("task", PLACED)
def test_objects_lie_as_with_the_sawyer(task):
  placed = {}
  for robot in ("sawyer", "jaco"):
    with RobotEnv(task, robot=robot, render_mode=None) as env:
      observation, _ = env.reset(seed=3)
      placed[robot] = observation[10:24], observation[48:]
      # The fingers stay where they are put.
      if robot == "jaco":
        np.testing.assert_allclose(observation[7:9], [1.1, 1.1], atol=1e-6)
  np.testing.assert_allclose(placed["jaco"][0], placed["sawyer"][0], atol=1e-5)
  np.testing.assert_allclose(placed["jaco"][1], placed["sawyer"][1], atol=1e-6)


def assert_edited(robot, task):
  """Observation, robot removal and masks, none of which knows what the task is."""
  with RobotEnv(task, robot=robot, size=96, quality="fast") as env:
    observation, _ = env.reset(seed=0)
    assert observation.shape == (51,) and np.isfinite(observation).all(), task
    for _ in range(5):  # sweep-into's cube begins inside the table, which pushes it out
      observation, *_ = env.step(np.zeros(8))
    assert np.isfinite(observation).all(), task
    frames = [env.frame(env.view, visible).astype(int) for visible in (True, False)]
    labels = [env.labels(env.view, visible) for visible in (True, False)]
    on_robot = labels[0] == ROBOT
    assert on_robot.sum() > 100 and not (labels[1] == ROBOT).any(), task
    assert (labels[1] == OBJECT).sum() > 10, task
    # Nothing but the robot's own pixels changes.
    np.testing.assert_array_equal(frames[0][~on_robot], frames[1][~on_robot], err_msg=task)
    assert (frames[0][on_robot] != frames[1][on_robot]).any(axis=-1).mean() > 0.8, task


@pytest.mark.parametrize(
  ("robot", "task"), [("sawyer", "hammer"), ("panda", "door-open"), ("jaco", "coffee-pull")]
)
def test_scene_edits_know_nothing_of_windows(robot, task):
  assert_edited(robot, task)


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["sawyer", *ARMS])
def test_every_task_is_edited(robot):
  for task in task_names():
    assert_edited(robot, task)
