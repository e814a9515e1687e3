"""The exported folder: its model, its placements, what it refuses."""

import json

import mujoco
import numpy as np
import pytest

from vipjax.envs import Channel, RobotEnv
from vipjax.envs.warp import export_scene, read_scene
from vipjax.envs.warp.scene import HIDDEN, ROBOT, SCENE
from vipjax.runtime.errors import UserError
from vipjax.scene import View


def test_what_window_open_is(scene):
  facts = scene.facts
  assert (facts.task, facts.robot, facts.moved) == ("window-open", "sawyer", ("window",))
  assert (facts.rules.measured, facts.rules.axes) == (0, (True, False, False))
  assert facts.rules.radius == pytest.approx(0.05, abs=1e-6)


def test_it_is_read_as_it_was_written(scene):
  again = read_scene(scene.folder)
  assert again.facts == scene.facts
  for name in ("qpos", "qvel", "moved", "goal"):
    np.testing.assert_array_equal(getattr(again, name), getattr(scene, name))


def test_placements_are_those_of_seeds(pinned, scene):
  env = RobotEnv(render_mode=None, joint_noise=0.0)
  for seed in (0, 5):
    env.reset(seed=seed)
    np.testing.assert_array_equal(scene.qpos[seed], np.float32(env.data.qpos))
    np.testing.assert_array_equal(scene.moved[seed, 0], np.float32(env.model.body("window").pos))
    np.testing.assert_array_equal(scene.goal[seed], np.float32(env.task._target_pos))


def test_the_model_has_the_pinned_masses_and_moves_its_window(pinned, scene):
  env = RobotEnv(render_mode=None)
  model, _ = scene.compile()
  for name in ("body_mass", "body_inertia", "body_invweight0", "dof_damping", "actuator_gear"):
    np.testing.assert_allclose(getattr(model, name), getattr(env.model, name), rtol=1e-6)
  data = mujoco.MjData(model)
  data.mocap_pos[0] = [0.3, 0.8, 0.2]
  mujoco.mj_kinematics(model, data)
  np.testing.assert_array_equal(data.body("window").xpos, [0.3, 0.8, 0.2])


def test_geoms_are_of_the_robot_or_of_the_scene_or_hidden(scene):
  model, _ = scene.compile()
  groups = {}
  for geom in range(model.ngeom):
    groups.setdefault(int(model.geom_group[geom]), []).append(geom)
  assert set(groups) == {SCENE, ROBOT, HIDDEN}
  base = model.body("base").id
  assert all(model.body_rootid[model.geom_bodyid[geom]] == base for geom in groups[ROBOT])
  assert all(model.body_rootid[model.geom_bodyid[geom]] != base for geom in groups[SCENE])
  # The panes of the window would be opaque.
  glass = model.mesh("windowa_h_glass").id
  (pane,) = np.flatnonzero((model.geom_type == 7) & (model.geom_dataid == glass))
  assert pane in groups[HIDDEN]


def test_cameras_look_where_views_do(scene):
  view = View(lookat=(0.0, 0.7, 0.1), azimuth=90.0, elevation=-90.0, distance=2.0)
  model, cameras = scene.compile([Channel(view), Channel(View(camera="corner"))])
  assert cameras == ["view_0", "corner"]
  data = mujoco.MjData(model)
  mujoco.mj_kinematics(model, data)
  mujoco.mj_comPos(model, data)
  mujoco.mj_camlight(model, data)
  camera = model.camera("view_0").id
  # From 2 m above it looks down, with y upwards in the picture.
  np.testing.assert_allclose(data.cam_xpos[camera], [0.0, 0.7, 2.1], atol=1e-6)
  axes = data.cam_xmat[camera].reshape(3, 3).T
  np.testing.assert_allclose(axes, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-6)


def test_an_unknown_camera_is_refused(scene):
  with pytest.raises(UserError, match="expected a camera of the scene .*, got 'ceiling'"):
    scene.compile([Channel(View(camera="ceiling"))])


def test_folders_that_are_none_are_refused(scene, tmp_path):
  with pytest.raises(UserError, match="without scene.json"):
    read_scene(tmp_path)
  facts = json.loads((scene.folder / "scene.json").read_text())
  (tmp_path / "scene.json").write_text(json.dumps({**facts, "format": 0}))
  with pytest.raises(UserError, match="of format 1, got 0"):
    read_scene(tmp_path)


def test_no_placements_are_refused(pinned, tmp_path):
  with pytest.raises(UserError, match="at least 1 placement, got 0"):
    export_scene(tmp_path, placements=0)
