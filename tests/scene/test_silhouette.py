"""A robot's model in a camera's picture, where projection by hand says that it is."""

import json

import numpy as np
import pytest

from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError
from vipjax.scene import ROBOT, View
from vipjax.scene.silhouette import Calibration, Silhouette, read_calibration

MODEL = """
<mujoco>
  <visual><map znear="0.001"/></visual>
  <worldbody>
    <geom type="plane" size="5 5 .1" pos="0 0 -1"/>
    <camera name="above" pos="0 0 1"/>
    <body name="arm" pos="0.2 0.1 0.05">
      <joint name="slide" type="slide" axis="1 0 0"/>
      <geom type="sphere" size=".02"/>
      <body pos="0 0 .1">
        <joint name="turn" type="hinge" axis="0 0 1"/>
        <geom type="sphere" size=".02" pos=".1 0 0"/>
      </body>
    </body>
    <body name="box" pos="-.3 0 0"><geom type="box" size=".05 .05 .05"/></body>
  </worldbody>
</mujoco>
"""
URDF = """
<robot name="stick">
  <link name="foot"><visual><geometry><box size=".1 .1 .1"/></geometry></visual></link>
  <link name="stick">
    <visual>
      <origin xyz="0 0 .15"/><geometry><cylinder radius=".02" length=".3"/></geometry>
    </visual>
  </link>
  <joint name="hinge" type="revolute">
    <parent link="foot"/><child link="stick"/><axis xyz="0 1 0"/><origin xyz="0 0 .05"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
</robot>
"""
SIZE = (160, 200)


def calibration():
  """A camera 1.2 m away that looks at the origin, its centre off the picture's."""
  place = np.array([0.1, -1.0, 0.6])
  forward = -place / np.linalg.norm(place)
  right = np.cross(forward, [0, 0, 1])
  right /= np.linalg.norm(right)
  turn = np.stack([right, np.cross(forward, right), forward])
  world_to_camera = np.eye(4)
  world_to_camera[:3, :3], world_to_camera[:3, 3] = turn, -turn @ place
  return Calibration(np.array([[300, 0, 70.0], [0, 280, 90], [0, 0, 1]]), world_to_camera)


def pixel(camera, point):
  x, y, z = camera.intrinsics @ (camera.world_to_camera @ [*point, 1])[:3]
  return np.array([x / z, y / z])


def centre(mask):
  y, x = np.nonzero(mask)
  return np.array([x.mean(), y.mean()]) + 0.5


@pytest.fixture
def model(tmp_path):
  (tmp_path / "model.xml").write_text(MODEL)
  return tmp_path / "model.xml"


def test_a_calibrated_camera_sees_points_where_their_projections_are(model):
  camera = calibration()
  with Silhouette(model, camera, SIZE, "arm") as drawn:
    for slide in (-0.1, 0.0, 0.1):
      # The second sphere is far to the side of the picture, above all.
      (mask,) = drawn.masks(np.array([[slide, np.pi]]))
      both = [pixel(camera, (0.2 + slide, 0.1, 0.05)), pixel(camera, (0.1 + slide, 0.1, 0.15))]
      assert mask.shape == SIZE and 100 < mask.sum() < 200
      np.testing.assert_allclose(centre(mask), np.mean(both, axis=0), atol=1)


def test_columns_are_named_turned_and_left_out(model):
  with Silhouette(model, "above", SIZE, "arm") as drawn:
    assert drawn.joint_names() == ["slide", "turn"]
    plain = drawn.masks(np.array([[0.1, np.pi / 2]]))
    named = drawn.masks(np.array([[90.0, 7.0, 0.1]]), ["turn", "-", "slide"], degrees=True)
    np.testing.assert_array_equal(plain, named)
    assert (plain != drawn.masks(np.array([[0.1, 0.0]]))).any()


def test_without_a_body_all_but_planes_is_the_robot(model):
  pose = np.zeros((1, 2))
  with Silhouette(model, "above", SIZE, "arm") as arm, Silhouette(model, "above", SIZE) as both:
    with Silhouette(model, "above", SIZE, "box") as box:
      masks = [each.masks(pose) for each in (arm, box, both)]
  np.testing.assert_array_equal(masks[0] | masks[1], masks[2])
  assert masks[0].any() and masks[1].any() and not masks[2].all()


def test_a_urdf_moves_and_keeps_the_shapes_that_are_seen(tmp_path):
  (tmp_path / "stick.urdf").write_text(URDF)
  camera = calibration()
  with Silhouette(tmp_path / "stick.urdf", camera, SIZE) as drawn:
    assert drawn.joint_names() == ["hinge"]
    upright, lying = drawn.masks(np.array([[0.0], [np.pi / 2]]))
  tip, side = (
    np.round(pixel(camera, point)).astype(int) for point in ((0, 0, 0.3), (0.3, 0, 0.05))
  )
  assert upright[tip[1], tip[0]] and not lying[tip[1], tip[0]]
  assert lying[side[1], side[0]] and not upright[side[1], side[0]]


@pytest.mark.parametrize("robot", ["sawyer", "jaco"])
def test_the_robots_of_our_scenes_lie_where_their_labels_do(robot):
  """A camera of the scene, full meshes against the decimated ones that are labelled."""
  with RobotEnv(robot=robot, size=64, placement=0) as env:
    env.reset(seed=0)
    truth = env.labels(View(camera="topview")) == ROBOT
    base, model = env.model.body(env.robot.base_body).id, env.model
    joints = np.flatnonzero(model.body_rootid[model.jnt_bodyid] == base)
    names = [model.joint(number).name for number in joints]
    with Silhouette(env.task.spec_of_scene, "topview", (64, 64), env.robot.base_body) as drawn:
      (mask,) = drawn.masks(env.data.qpos[None, model.jnt_qposadr[joints]], names)
  assert truth.sum() > 20
  assert (mask != truth).mean() < 0.03


@pytest.mark.parametrize(
  ("options", "part"),
  [
    ({"camera": "below"}, "a camera of the model (above), got 'below'"),
    ({"body": "leg"}, "on its world stand arm, box), got 'leg'"),
    ({"model": "missing.xml"}, "got nothing at missing.xml"),
  ],
)
def test_what_the_model_does_not_have(model, options, part):
  options = {"model": model, "camera": "above", "body": None, **options}
  with pytest.raises(UserError) as error:
    Silhouette(options["model"], options["camera"], SIZE, options["body"])
  assert part in str(error.value)


@pytest.mark.parametrize(
  ("columns", "names", "part"),
  [
    (3, None, "in 2 columns (slide, turn), got 3"),
    (1, ["slide", "turn"], "in 2 columns (slide, turn), got 1"),
    (2, ["slide", "twist"], "joints of the model (slide, turn), got twist"),
  ],
)
def test_joints_that_the_model_does_not_have(model, columns, names, part):
  with Silhouette(model, "above", SIZE) as drawn, pytest.raises(UserError) as error:
    drawn.masks(np.zeros((1, columns)), names)
  assert part in str(error.value)


def test_a_file_that_is_no_model(tmp_path):
  (tmp_path / "model.xml").write_text("<mujoco><worldbody><geom/></worldbody></mujoco>")
  with pytest.raises(UserError, match="that MuJoCo reads"):
    Silhouette(tmp_path / "model.xml", "above", SIZE)
  (tmp_path / "model.xml").write_text("no model")
  with pytest.raises(UserError, match="that MuJoCo reads"):
    Silhouette(tmp_path / "model.xml", "above", SIZE)


def test_calibrations(tmp_path):
  file, camera = tmp_path / "camera.json", calibration()
  content = {name: getattr(camera, name).tolist() for name in camera._fields}
  file.write_text(json.dumps(content))
  for ours, other in zip(read_calibration(file), camera, strict=True):
    np.testing.assert_array_equal(ours, other)
  for wrong in (
    {"intrinsics": content["intrinsics"]},
    {**content, "intrinsics": [[1, 2], [3, 4]]},
    {**content, "world_to_camera": np.diag([2.0, 1, 1, 1]).tolist()},
    {**content, "intrinsics": np.diag([-300.0, 280, 1]).tolist()},
  ):
    file.write_text(json.dumps(wrong))
    with pytest.raises(UserError, match="a calibration in .*camera.json"):
      read_calibration(file)
  with pytest.raises(UserError, match="a calibration in"):
    read_calibration(tmp_path / "none.json")
