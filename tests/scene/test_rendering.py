"""Frames are upright, show no marker dots, and lose the robot and nothing else."""

from __future__ import annotations

import contextlib
import copy

import mujoco
import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError
from vipjax.scene import SceneRenderer, View, get_robot
from vipjax.stages.inputs import views_from_config

SIZE = 64
FAR = (0.0, 0.0, -100.0)
LEFT, RIGHT = View(azimuth=140.0), View(azimuth=40.0)
CORNERS = ["corner", "corner2", "corner3", "corner4"]
VIEWS = [LEFT, RIGHT, *(View(camera=name) for name in CORNERS)]


def name_of(view):
  return view.camera or f"free{view.azimuth:.0f}"


@pytest.fixture(scope="module")
def fast():
  with RobotEnv(size=SIZE, joint_noise=0.0, placement=0) as env:
    env.reset(seed=0)
    yield env


@pytest.fixture(scope="module")
def full():
  with RobotEnv(size=SIZE, joint_noise=0.0, placement=0, quality="full") as env:
    env.reset(seed=0)
    yield env


@contextlib.contextmanager
def placed(env, body, position):
  """Puts a body that hangs on the world somewhere else, for a while."""
  before = env.model.body(body).pos.copy()
  env.model.body(body).pos = position
  yield
  env.model.body(body).pos = before


def differ(first, second):
  """bool [H, W]: where two frames do."""
  return (first != second).any(axis=-1)


def window_centre(env, view, displacement):
  """Row and column of the window's middle in the picture, once displaced in the world."""
  with placed(env, "window", FAR):
    without = env.frame(view, robot_visible=False)
  with placed(env, "window", env.model.body("window").pos + displacement):
    mask = differ(env.frame(view, robot_visible=False), without)
  assert mask.sum() > 20
  return np.argwhere(mask).mean(axis=0)


def sideways(env, view):
  """The unit vector of the world that points to the right for one who stands upright there."""
  if view.camera:
    forward = -env.data.camera(view.camera).xmat.reshape(3, 3)[:, 2]
  else:
    azimuth = np.radians(view.azimuth)
    forward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
  right = np.cross(forward, [0.0, 0.0, 1.0])
  return right / np.linalg.norm(right)


@pytest.mark.parametrize("view", VIEWS, ids=name_of)
def test_frames_are_upright_and_not_mirrored(fast, view):
  row, column = window_centre(fast, view, np.zeros(3))
  raised, _ = window_centre(fast, view, np.array([0.0, 0.0, 0.08]))
  _, moved = window_centre(fast, view, 0.08 * sideways(fast, view))
  assert raised < row - 1
  assert moved > column + 1


def test_the_arm_stands_above_its_pedestal(fast):
  # corner2 sees all of the robot: its grey pedestal in the lower half, its red head in the upper.
  view = View(camera="corner2")
  frame = fast.frame(view).astype(int)
  robot = differ(frame, fast.frame(view, robot_visible=False))
  red = robot & (frame[..., 0] > 2 * frame[..., 1] + 20)
  rows = np.arange(SIZE)[:, None] * np.ones((1, SIZE))
  assert red.sum() > 20 and (robot & ~red).sum() > 20
  assert rows[red].mean() < rows[robot & ~red].mean() - 5


@pytest.mark.parametrize("view", VIEWS, ids=name_of)
def test_the_robot_is_removed_and_nothing_else(fast, view):
  before = fast.frame(view)
  removed = fast.frame(view, robot_visible=False)
  with placed(fast, "base", FAR):
    absent = fast.frame(view)
  np.testing.assert_array_equal(removed, absent)
  np.testing.assert_array_equal(fast.frame(view), before)
  assert 0.03 < differ(before, removed).mean() < 0.6


def test_the_robot_is_removed_at_full_quality_with_its_shadow(full):
  before = full.frame(LEFT)
  removed = full.frame(LEFT, robot_visible=False)
  with placed(full, "base", FAR):
    absent = full.frame(LEFT)
  np.testing.assert_array_equal(removed, absent)
  assert differ(before, removed).mean() > 0.03


def test_the_robot_is_removed_under_end_effector_control():
  with RobotEnv(control="end_effector", size=SIZE) as env:
    env.reset(seed=0)
    removed = env.frame(RIGHT, robot_visible=False)
    visible = env.frame(RIGHT)
    with placed(env, "base", FAR):
      absent = env.frame(RIGHT)
  np.testing.assert_array_equal(removed, absent)
  assert differ(visible, removed).mean() > 0.03


def test_a_robot_with_materials_is_removed_too():
  # The Sawyer has none, other arms do.
  spec = mujoco.MjSpec.from_string("""
    <mujoco>
      <asset><material name="paint" rgba="1 0 0 1"/></asset>
      <worldbody>
        <geom type="plane" size="2 2 .1" rgba=".5 .5 .5 1"/>
        <body name="base" pos="0 0 .3">
          <joint type="slide"/>
          <geom type="box" size=".2 .2 .2" material="paint"/>
        </body>
      </worldbody>
    </mujoco>""")
  model = spec.copy().compile()
  data = mujoco.MjData(model)
  view = View(lookat=(0.0, 0.0, 0.3), distance=2.0)
  with SceneRenderer(spec, get_robot("sawyer"), SIZE) as renderer:
    visible = renderer.render(model, data, view)
    removed = renderer.render(model, data, view, robot_visible=False)
    np.testing.assert_array_equal(renderer.render(model, data, view), visible)
    model.body("base").pos = FAR
    absent = renderer.render(model, data, view)
  np.testing.assert_array_equal(removed, absent)
  assert differ(visible, removed)[SIZE // 2, SIZE // 2]


def test_what_the_robot_does_not_cover_stays(fast):
  # At reset the arm is in the left third of this view, the window right of it.
  seen = differ(fast.frame(LEFT), fast.frame(LEFT, robot_visible=False))
  assert seen[:, : SIZE // 3].any()
  assert not seen[:, SIZE // 2 :].any()


def test_frames_without_robot_show_the_window_move(fast):
  before = fast.frame(LEFT, robot_visible=False)
  fast.data.joint("window_slide").qpos = 0.2
  opened = fast.frame(LEFT, robot_visible=False)
  fast.data.joint("window_slide").qpos = 0.0
  assert differ(before, opened).mean() > 0.05
  np.testing.assert_array_equal(fast.frame(LEFT, robot_visible=False), before)


def green(frame):
  """How many pixels are as green as the goal's marker."""
  frame = frame.astype(int)
  return ((frame[..., 1] > frame[..., 0] + 40) & (frame[..., 1] > frame[..., 2] + 40)).sum()


@pytest.mark.parametrize("view", [LEFT, RIGHT], ids=name_of)
def test_no_marker_dots_in_fast_frames(fast, view):
  option = fast._scene_renderer()._option
  ours = fast.frame(view)
  # The same picture with the dots, to know that this scene has some and where.
  option.sitegroup[:] = 1
  dotted = fast.frame(view)
  option.sitegroup[:] = 0
  assert green(dotted) >= 4
  assert green(ours) == 0
  assert 4 <= differ(ours, dotted).sum() < 0.2 * SIZE**2


@pytest.mark.parametrize(("shadow", "levels"), [(1024, 0.0), (4096, 0.5)])
def test_full_quality_is_metaworlds_picture_without_its_dots(full, shadow, levels):
  frame = full.frame(View(camera="corner"))
  model, option = copy.copy(full.model), mujoco.MjvOption()
  model.vis.quality.shadowsize = shadow
  with contextlib.closing(mujoco.Renderer(model, SIZE, SIZE)) as renderer:
    renderer.update_scene(full.data, "corner", option)
    dotted = renderer.render()[::-1, ::-1]
    option.sitegroup[:] = 0
    renderer.update_scene(full.data, "corner", option)
    plain = renderer.render()[::-1, ::-1]
  assert full.model.vis.quality.shadowsize == 4096  # Meta-World's own
  assert np.abs(frame.astype(float) - plain).mean() <= levels
  assert differ(frame, dotted).any()


def test_fast_frames_look_like_full_ones(fast, full):
  ours, reference = fast.frame(LEFT), full.frame(LEFT)
  assert np.abs(ours.astype(float) - reference).mean() < 20  # of 255: shadows and mirrored light
  grey = np.stack([ours.mean(axis=-1).ravel(), reference.mean(axis=-1).ravel()])
  assert np.corrcoef(grey)[0, 1] > 0.9
  # The decimated robot has the outline of the whole one; full quality adds the robot's shadow,
  # and only ever darkens what it falls on: red pixels are the robot's.
  red = [(f[..., 0].astype(int) > 2 * f[..., 1].astype(int) + 20) for f in (ours, reference)]
  assert (red[0] & red[1]).sum() > 0.85 * (red[0] | red[1]).sum() > 0


def test_frames_are_drawn_into_the_array_given(fast):
  out = np.zeros((2, SIZE, SIZE, 3), np.uint8)
  assert fast.frame(View(camera="corner"), out=out[1]) is not None
  frame = fast.frame(View(camera="corner"))
  assert frame.dtype == np.uint8 and frame.flags.c_contiguous
  np.testing.assert_array_equal(out[1], frame)
  assert not out[0].any()


def test_frames_are_not_overwritten_by_the_next(fast):
  frame = fast.frame(LEFT)
  kept = frame.copy()
  fast.frame(RIGHT)
  np.testing.assert_array_equal(frame, kept)


def test_an_unknown_camera_is_told_with_those_there_are(fast):
  with pytest.raises(UserError) as error:
    fast.frame(View(camera="corner9"))
  message = str(error.value)
  assert "expected a camera of the scene" in message and "'corner9'" in message
  assert all(name in message for name in ["topview", *CORNERS, "gripperPOV"])


@pytest.mark.parametrize(("size", "quality"), [(0, "fast"), (8, "best")])
def test_bad_sizes_and_qualities(fast, size, quality):
  with pytest.raises(UserError, match="^expected .*(got size 0|got 'best')"):
    SceneRenderer(fast.task.spec_of_scene, fast.robot, size, quality)


def test_a_renderer_frees_its_context_once(fast):
  with SceneRenderer(fast.task.spec_of_scene, fast.robot, 8) as renderer:
    assert renderer.render(fast.model, fast.data, LEFT).shape == (8, 8, 3)
  renderer.close()
  assert renderer._renderer is None


def test_the_scene_given_stays_as_it_is(fast):
  # The drawing model has fewer faces; physics must keep its own.
  assert fast.drawn_model.nmeshface < 0.5 * fast.model.nmeshface
  assert fast.task.spec_of_scene.copy().compile().nmeshface == fast.model.nmeshface


def test_views_from_a_config():
  views = views_from_config(
    {"near": {"lookat": [0, 1, 2], "azimuth": 90.0}, "far": {"camera": "corner"}}
  )
  assert list(views) == ["near", "far"]
  assert views["near"] == View(lookat=(0, 1, 2), azimuth=90.0)
  assert views["far"].camera == "corner"


def test_bad_views():
  with pytest.raises(UserError, match="got zoom in view 'near'; remove or rename it"):
    views_from_config({"near": {"zoom": 2.0}})
  with pytest.raises(UserError, match="expected numbers for a view's azimuth, got None"):
    views_from_config({"near": {"azimuth": None}})
  with pytest.raises(UserError, match="expected at least one view, got none"):
    views_from_config({})
