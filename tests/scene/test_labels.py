"""Which pixels show the object and which the robot."""

import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.scene import BACKGROUND, OBJECT, ROBOT, View

VIEWS = [View(), View(azimuth=40.0), View(camera="corner2")]


@pytest.fixture(scope="module", params=["fast", "full"])
def env(request):
  with RobotEnv(size=64, placement=0, quality=request.param) as env:
    env.reset(seed=0)
    yield env


def moved(env, view, body):
  """bool [H, W]: where the robot-free picture changes when the body is far away."""
  before, position = env.frame(view, False), env.model.body(body).pos.copy()
  env.model.body(body).pos = (0.0, 0.0, -100.0)
  after = env.frame(view, False)
  env.model.body(body).pos = position
  return (before != after).any(-1)


@pytest.mark.parametrize("view", VIEWS, ids=["front", "other", "corner2"])
def test_labels_are_where_the_pictures_say(env, view):
  labels, free = env.labels(view), env.labels(view, robot_visible=False)
  assert labels.shape == (64, 64) and labels.dtype == np.uint8
  assert set(np.unique(labels)) == {BACKGROUND, OBJECT, ROBOT}
  assert ROBOT not in free
  robot = (env.frame(view) != env.frame(view, False)).any(-1)
  window = moved(env, view, "window")
  # Smoothed edges, shadows and reflections of full quality blur the comparison.
  loose = 0.15 if env._quality == "full" else 0.04
  assert (robot & (labels != ROBOT)).sum() <= loose * 64 * 64
  assert ((labels == ROBOT) & ~robot).mean() < 0.01
  assert ((free == OBJECT) & ~window).mean() < 0.01
  assert (free == OBJECT).sum() > 0.5 * window.sum() > 10
  # The robot hides the window, never the other way round in what is removed.
  assert ((labels == OBJECT) & (free != OBJECT)).sum() == 0


def test_frames_are_as_before_after_labels(env):
  before = env.frame(VIEWS[0])
  env.labels(VIEWS[0], robot_visible=False)
  np.testing.assert_array_equal(env.frame(VIEWS[0]), before)


@pytest.mark.parametrize("task", ["drawer-close", "plate-slide"])
def test_objects_of_other_tasks_are_found(task):
  with RobotEnv(task, size=48) as env:
    env.reset(seed=0)
    labels = env.labels(View(lookat=(0.0, 0.65, 0.1), distance=1.2), robot_visible=False)
    assert 0.002 < (labels == OBJECT).mean() < 0.5


def test_distances_of_hand_and_object():
  with RobotEnv(size=8, placement=0) as env:
    env.reset(seed=0)
    hand, target = env.distances()
    handle = env.data.site("handleOpenStart").xpos
    assert hand == pytest.approx(np.linalg.norm(env.task.tcp_center - handle))
    assert target == pytest.approx(abs(handle[0] - env.task._target_pos[0]))
    assert 0.2 < target < 0.3
