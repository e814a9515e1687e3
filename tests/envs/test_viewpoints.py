"""The viewpoints chosen for a task: object and target are in the picture and not hidden."""

import itertools

import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.envs.viewpoints import SHARE, _first_moved, choose_views, watch_expert
from vipjax.ids import SOLVED
from vipjax.scene import View
from vipjax.scene.viewpoints import projected

# One of each kind: hinge, slide, a small object behind a wall, a loose puck, none that moves.
FEW = [
  ("door-open", "sawyer", "torque"), ("window-open", "panda", "torque"),
  ("button-press-wall", "sawyer", "end_effector"), ("plate-slide", "jaco", "torque"),
  ("reach", "sawyer", "end_effector"),
]  # fmt: skip
ALL = [(task, *key) for key, tasks in SOLVED.items() for task in tasks]
EMPTY = {"front": {}, "side": {}}


def chosen(task, robot, control, views=EMPTY, placement=0):
  with RobotEnv(task, robot, control, horizon=500, placement=placement, render_mode=None) as env:
    return choose_views(env, views, range(5))


@pytest.mark.parametrize(
  ("task", "robot", "control"),
  [*FEW, *(pytest.param(*each, marks=pytest.mark.slow) for each in ALL if each not in FEW)],
)
def test_object_and_target_are_in_the_picture_and_the_change_is_seen(task, robot, control):
  views, motion = chosen(task, robot, control)
  assert motion.steps is not None
  points, near = np.concatenate([motion.task, motion.way]), task == "door-open"
  for seen in views.values():
    if near:
      assert seen.view.lookat == tuple(motion.touch) and seen.view.distance <= 1.4
      assert np.abs(projected(motion.task, seen.view)).max() <= 1.0
    else:
      assert np.abs(projected(points, seen.view)).max() < SHARE + 0.01
    assert seen.change > 0.0015 and max(seen.object) > 0.0015
    assert 15 <= seen.view.azimuth <= 165 and seen.robot < 0.5
  front, side = views.values()
  assert abs(front.view.azimuth - side.view.azimuth) == 75


def test_at_the_window_the_first_looks_as_the_one_set_by_hand_from_farther():
  views, motion = chosen("window-open", "sawyer", "torque", {**EMPTY, "third": {}})
  by_hand = View(azimuth=140, distance=0.95)
  for seen, azimuth in zip(views.values(), (140, 65, 102.5), strict=True):
    np.testing.assert_allclose(seen.view.lookat, by_hand.lookat, atol=0.02)
    assert (seen.view.azimuth, seen.view.elevation) == (azimuth, by_hand.elevation)
    assert 1.3 < seen.view.distance < 1.8
  # The pane slides by 0.2 m: it is what moved, and the frame is not.
  assert 0.15 < np.ptp(motion.task[:, 0]) < 0.6


def test_where_the_hand_first_moves_the_object():
  way, places, turns = np.zeros((20, 3)), np.zeros((20, 2, 3)), np.zeros((20, 2, 9))
  assert _first_moved(way, places, turns) == _first_moved(way, places[:, :0], turns[:, :0]) == -1
  turns[18, 0, 3] = 0.2
  assert _first_moved(way, places, turns) == 18
  places[15:, 1, 0] = 0.002  # less than what counts as moved in the end
  assert _first_moved(way, places, turns) == 15
  # It settles, and moves by itself while the hand is elsewhere.
  places[3:, 1, 1] += 0.02
  way[:17] += 0.5
  assert _first_moved(way, places, turns) == 17
  with RobotEnv("door-open", control="torque", placement=0, render_mode=None) as env:
    env.reset(seed=0)
    handle = env.task._get_pos_objects().copy()
    assert np.linalg.norm(watch_expert(env, 0).touch - handle) < 0.09
  with RobotEnv("drawer-open", control="torque", placement=0, render_mode=None) as env:
    motion = watch_expert(env, 0)
    handle = env.task._get_pos_objects()  # of the last step, pulled out towards the robot
  assert np.linalg.norm(motion.touch[[0, 2]] - handle[[0, 2]]) < 0.06
  assert 0.1 < motion.touch[1] - handle[1] < 0.25


def test_a_far_view_comes_closer_unless_it_may_not():
  given = {"front": {"lookat": (0.0, 0.6, 0.1)}, "side": {}}
  views, _ = chosen("door-open", "sawyer", "torque", given)
  assert all(seen.view.lookat == (0.0, 0.6, 0.1) for seen in views.values())
  assert views["front"].view.distance > 1.8
  views, motion = chosen("door-open", "sawyer", "torque", {"front": {"distance": 2.5}, "side": {}})
  assert views["front"].view.distance == 2.5
  assert all(np.linalg.norm(seen.view.lookat - motion.touch) > 0.2 for seen in views.values())


def test_numbers_that_are_given_stay():
  given = {
    "front": {"azimuth": 100.0, "distance": 1.2, "lookat": None},
    "named": {"camera": "corner2", "azimuth": None},
    "side": {"lookat": (0.0, 0.6, 0.1), "elevation": -60.0},
  }
  views, _ = chosen("drawer-close", "sawyer", "end_effector", given)
  front, named, side = (seen.view for seen in views.values())
  assert (front.azimuth, front.distance) == (100.0, 1.2)
  assert named == View(camera="corner2") and views["named"].object[0] > 0
  assert (side.lookat, side.elevation, side.azimuth) == ((0.0, 0.6, 0.1), -60.0, 25.0)


def test_the_same_again_and_with_the_object_elsewhere():
  with RobotEnv("drawer-close", control="end_effector", placement=0, render_mode=None) as env:
    first, again = (choose_views(env, EMPTY, [3])[0] for _ in range(2))
    assert first == again
    elsewhere = range(4)
    wide, _ = choose_views(env, EMPTY, [3], elsewhere)
    assert env.placement == 0
    env.placement = None
    for seed, seen in itertools.product(elsewhere, wide.values()):
      assert np.abs(projected(watch_expert(env, seed).task, seen.view)).max() <= 1.0
