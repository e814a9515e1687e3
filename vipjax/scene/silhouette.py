"""Where a robot is in a real camera's pictures: its model, drawn in the pose of each frame."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import mujoco
import numpy as np

from vipjax.runtime import gl
from vipjax.runtime.errors import UserError
from vipjax.scene.parts import geoms_of, listed, names_of
from vipjax.scene.rendering import HoldsRenderer, geom_numbers

_CAMERA = "calibrated"
_SKIPPED = "-"


class Calibration(NamedTuple):
  """A camera as OpenCV calibrates it: x to the right, y down, z into the picture.

  Attributes:
    intrinsics: float64 [3, 3], [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels.
    world_to_camera: float64 [4, 4], from the model's world, in metres, to the camera.
  """

  intrinsics: np.ndarray
  world_to_camera: np.ndarray


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
  """Reads {"intrinsics": 3x3, "world_to_camera": 4x4} from a JSON file.

  Raises:
    UserError: no such file, or matrices of another shape, or that are no such transformation.
  """
  try:
    content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    found = Calibration(*(np.array(content[name], np.float64) for name in Calibration._fields))
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise _miscalibrated(path, f"'{error}'") from error
  if (found.intrinsics.shape, found.world_to_camera.shape) != ((3, 3), (4, 4)):
    raise _miscalibrated(path, f"{found.intrinsics.shape} and {found.world_to_camera.shape}")
  turn = found.world_to_camera[:3, :3]
  is_rotation = np.allclose(turn @ turn.T, np.eye(3), atol=1e-2) and np.linalg.det(turn) > 0
  if not is_rotation or found.intrinsics[0, 0] <= 0 or found.intrinsics[1, 1] <= 0:
    raise _miscalibrated(path, "one without a rotation or with focal lengths of 0 or less")
  return found


def _miscalibrated(path: str | os.PathLike[str], got: str) -> UserError:
  return UserError(
    f"expected a calibration in {path}, {{'intrinsics': 3x3, 'world_to_camera': 4x4}}, got {got}; "
    "write one, or name a camera of the model."
  )


class Silhouette(HoldsRenderer):
  """Draws a robot's masks; holds an OpenGL context: use it as a context manager, or close it."""

  def __init__(
    self,
    model: str | os.PathLike[str] | mujoco.MjSpec,
    camera: str | Calibration,
    size: tuple[int, int],
    body: str | None = None,
  ):
    """Compiles the model.

    Args:
      model: a MuJoCo XML or a URDF file, or a spec that has never been compiled.
      camera: the name of one in the model, or a calibration.
      size: height and width of the pictures in pixels.
      body: the root of the robot's bodies; None takes all that the model draws but planes.

    Raises:
      UserError: a file that MuJoCo cannot read, no such camera or body, or no GL library.
    """
    gl.require()
    spec = _spec(model)
    self._size, self._intrinsics = size, None
    if isinstance(camera, Calibration):
      _add_camera(spec, camera)
      camera, self._intrinsics = _CAMERA, camera.intrinsics
    try:
      self.model = spec.compile()
    except ValueError as error:
      raise _unreadable(model, error) from error
    known = names_of(self.model.camera, self.model.ncam)
    if camera not in known:
      raise UserError(
        f"expected a camera of the model ({listed(known)}), got {camera!r}; choose one of these, "
        "or give a calibration."
      )
    planes = self.model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    self._robot = np.flatnonzero(~planes if body is None else geoms_of(self.model, [body]))
    self.model.vis.global_.offheight, self.model.vis.global_.offwidth = size
    self.model.vis.quality.offsamples = 0
    self._data, self._camera = mujoco.MjData(self.model), camera
    self._renderer = mujoco.Renderer(self.model, *size)
    self._renderer.enable_segmentation_rendering()

  def masks(
    self, angles: np.ndarray, names: Sequence[str] | None = None, degrees: bool = False
  ) -> np.ndarray:
    """The robot's pixels, without what other geoms of the model hide.

    Args:
      angles: float64 [T, J], radians or degrees of hinges, metres of slides. Joints that are not
        among them stay where the model has them.
      names: of the model's joint of each column, "-" for a column that is none; None takes the
        model's hinges and slides in order.
      degrees: whether hinges are in degrees.

    Returns:
      bool [T, H, W].

    Raises:
      UserError: no such joint, or another number of columns than of joints.
    """
    columns, joints = self._joints(angles.shape[1], names)
    hinges = self.model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_HINGE
    values = angles[:, columns] * np.where(hinges & degrees, np.pi / 180, 1.0)
    masks = np.empty((len(angles), *self._size), bool)
    for row, mask in zip(values, masks, strict=True):
      self._data.qpos[self.model.jnt_qposadr[joints]] = row
      mask[:] = self.mask()
    return masks

  def mask(self) -> np.ndarray:
    """bool [H, W], of the present positions."""
    mujoco.mj_kinematics(self.model, self._data)
    mujoco.mj_camlight(self.model, self._data)
    self._renderer.update_scene(self._data, self._camera)
    if self._intrinsics is not None:
      _set_frustum(self._renderer.scene, self._intrinsics, self._size)
    drawn = geom_numbers(self._renderer.render())
    return np.isin(drawn, self._robot)

  def joint_names(self) -> list[str]:
    """The names of the hinges and slides, in the model's order."""
    return [self.model.joint(number).name for number in self._single_joints()]

  def _single_joints(self) -> np.ndarray:
    kinds = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
    return np.flatnonzero(np.isin(self.model.jnt_type, [int(kind) for kind in kinds]))

  def _joints(self, count: int, names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """The columns that are joints, and these joints' numbers."""
    single, known = self._single_joints(), self.joint_names()
    expected = known if names is None else names
    if len(expected) != count:
      raise UserError(
        f"expected joint angles in {len(expected)} columns ({listed(expected)}), got {count}; "
        "name the joint of each column, - for one that is none."
      )
    if names is None:
      return np.arange(count), single
    columns = np.array([index for index, name in enumerate(names) if name != _SKIPPED], int)
    wanted = [names[index] for index in columns]
    unknown = [name for name in wanted if name not in known]
    if unknown:
      raise UserError(
        f"expected joints of the model ({listed(known)}), got {listed(unknown)}; name the joint "
        "of each column, - for one that is none."
      )
    return columns, single[[known.index(name) for name in wanted]]


def _spec(model: str | os.PathLike[str] | mujoco.MjSpec) -> mujoco.MjSpec:
  if isinstance(model, mujoco.MjSpec):
    return model.copy()
  path = pathlib.Path(model).expanduser()
  if not path.is_file():
    raise UserError(f"expected a MuJoCo XML or URDF file, got nothing at {path}; check the path.")
  try:
    root = ElementTree.parse(path).getroot()
    if root.tag == "robot":
      spec = mujoco.MjSpec.from_string(_with_visuals(root, path.parent))
    else:
      spec = mujoco.MjSpec.from_file(str(path))
  except (ValueError, ElementTree.ParseError) as error:
    raise _unreadable(path, error) from error
  # Nothing here has a weight, in the file or out of it.
  spec.compiler.boundmass = spec.compiler.boundinertia = 1e-6
  spec.compiler.balanceinertia = True
  return spec


def _with_visuals(root: ElementTree.Element, folder: pathlib.Path) -> str:
  """The URDF, changed so that MuJoCo keeps visible shapes and the names of fixed bodies."""
  compiler = root.find("mujoco/compiler")
  if compiler is None:
    compiler = ElementTree.SubElement(ElementTree.SubElement(root, "mujoco"), "compiler")
  compiler.attrib = {"discardvisual": "false", "fusestatic": "false", **compiler.attrib}
  compiler.set("meshdir", str(folder.absolute() / compiler.get("meshdir", "")))
  return ElementTree.tostring(root, encoding="unicode")


def _unreadable(model: object, error: Exception) -> UserError:
  reason = " ".join(str(error).split()).rstrip(".")
  return UserError(
    f"expected a model that MuJoCo reads in {model}, got '{reason}'; mend it, or its meshes' paths."
  )


def _add_camera(spec: mujoco.MjSpec, camera: Calibration) -> None:
  turn, shift = camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3]
  quat = np.empty(4)
  # MuJoCo's cameras have y up and look along -z.
  mujoco.mju_mat2Quat(quat, (turn.T @ np.diag([1.0, -1.0, -1.0])).ravel())
  spec.worldbody.add_camera(name=_CAMERA, pos=-turn.T @ shift, quat=quat)


def _set_frustum(scene: mujoco.MjvScene, intrinsics: np.ndarray, size: tuple[int, int]) -> None:
  """Makes what is drawn end at the borders of the calibrated camera's picture."""
  height, width = size
  (fx, _, cx), (_, fy, cy), _ = intrinsics
  for camera in scene.camera:
    near = camera.frustum_near
    camera.frustum_top, camera.frustum_bottom = near * cy / fy, near * (cy - height) / fy
    camera.frustum_center = near * (width / 2 - cx) / fx
    camera.frustum_width = near * width / 2 / fx
