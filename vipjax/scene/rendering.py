"""Draws a scene from any viewpoint, with or without the robot, fast or at full quality.

Software rendering of Meta-World's meshes runs at 6 to 30 frames/s, because of 68 thousand mesh
faces, shadows and multisampling. The fast renderer therefore draws a model of its own, with
decimated meshes and without these effects, and copies the pose of the physics model into it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib

import mujoco
import numpy as np

from vipjax.runtime import gl, ranges
from vipjax.runtime.errors import UserError
from vipjax.scene.meshes import decimate
from vipjax.scene.parts import hidden
from vipjax.scene.robots import Robot

# Meta-World mounts these cameras upside down: rotated by 180 degrees, not mirrored.
ROTATED_CAMERAS = ("corner", "corner2", "corner3", "corner4")
# Meshes whose surfaces have cracks (edges that meet in the middle of another), which decimation
# widens to holes.
_KEEP_WHOLE = ("pedestal", "head")
# Pixel values of `SceneRenderer.labels`.
BACKGROUND, OBJECT, ROBOT = range(3)


@dataclasses.dataclass(frozen=True)
class View:
  """A viewpoint: either a camera of the scene by name, or a free camera.

  Attributes:
    camera: name of a camera in the scene; "" for a free camera.
    lookat: the point in the middle of the picture, metres.
    azimuth: degrees around the vertical axis.
    elevation: degrees, negative looks down.
    distance: metres from lookat, above 0.

  Raises:
    UserError: a number that is None or not finite, or a distance of 0 or less.
  """

  camera: str = ""
  lookat: tuple[float, float, float] = (0.0, 0.68, 0.15)
  azimuth: float = 140.0
  elevation: float = -35.0
  distance: float = 0.95

  def __post_init__(self):
    missing = [name for name, value in vars(self).items() if value is None]
    if missing:
      raise UserError(
        f"expected numbers for a view's {', '.join(missing)}, got None; give them, or fit the view "
        "to a task."
      )
    ranges.check("views.*", vars(self))


def check_drawing(size: int, quality: str) -> None:
  """Raises UserError for a size or quality that SceneRenderer does not support."""
  if size < 1:
    raise UserError(f"expected frames of at least 1 pixel, got size {size}; make it larger.")
  if quality not in ("fast", "full"):
    raise UserError(f"expected rendering quality 'fast' or 'full', got {quality!r}; choose one.")


class HoldsRenderer(contextlib.AbstractContextManager):
  """Has a MuJoCo renderer, whose OpenGL context must be freed."""

  _renderer: mujoco.Renderer | None

  def close(self) -> None:
    """Frees the OpenGL context; further calls do nothing."""
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None

  def __exit__(self, *unused):
    self.close()


class SceneRenderer(HoldsRenderer):
  """Draws the state of a physics model, offscreen.

  Holds an OpenGL context: close it, or use it as a context manager.

  Attributes:
    size: height and width of the frames in pixels.
    model: the drawing model; its geoms have the numbers of the physics model's.
  """

  def __init__(self, spec: mujoco.MjSpec, robot: Robot, size: int, quality: str = "fast"):
    """Compiles the drawing model.

    Args:
      spec: the scene of the physics model, not modified. It must never have been compiled
        (compile a copy instead), because a compiled mesh cannot be replaced.
      robot: the arm that frames may leave out.
      size: height and width of the frames in pixels.
      quality: "fast" (decimated, no shadows) or "full" (as Meta-World draws it, with shadow maps
        of 1024 instead of 4096 pixels).

    Raises:
      UserError: a size below 1, another quality, or no GL library to draw with.
    """
    check_drawing(size, quality)
    gl.require()
    self.size = size
    self._fast = quality == "fast"
    self.model = _drawing_model(spec, size, self._fast)
    self._data = mujoco.MjData(self.model)
    base = self.model.body(robot.base_body).id
    self._robot = np.flatnonzero(self.model.body_rootid[self.model.geom_bodyid] == base)
    self._geom_labels = _geom_labels(self.model, base)
    self._option = mujoco.MjvOption()
    self._option.sitegroup[:] = 0  # marker dots show where the goal is
    self._renderer = mujoco.Renderer(self.model, size, size)

  def render(
    self,
    model: mujoco.MjModel,
    data: mujoco.MjData,
    view: View,
    robot_visible: bool = True,
    out: np.ndarray | None = None,
  ) -> np.ndarray:
    """Draws the present state.

    Args:
      model: the physics model; its body positions are copied, because resets move bodies.
      data: the model's state.
      view: the viewpoint.
      robot_visible: False draws the robot with its alpha at 0.
      out: uint8 [size, size, 3] to draw into, or None for a new array.

    Returns:
      uint8 [size, size, 3], RGB, upright.

    Raises:
      UserError: the scene has no camera of that name.
    """
    frame = self._draw(model, data, view, robot_visible)
    if out is None:
      return np.ascontiguousarray(frame)
    out[...] = frame
    return out

  def labels(
    self, model: mujoco.MjModel, data: mujoco.MjData, view: View, robot_visible: bool = True
  ) -> np.ndarray:
    """Labels the pixels of the frame that `render` draws of the present state.

    A body tree with a joint, other than the robot, is an object: the window with its frame, a
    drawer, a puck. A tree without joints, such as the table, is background.

    Arguments and errors are those of `render`.

    Returns:
      uint8 [size, size]: BACKGROUND (0), OBJECT (1) or ROBOT (2).
    """
    drawn = self.geoms(model, data, view, robot_visible)
    return np.where(drawn < 0, BACKGROUND, self._geom_labels[drawn]).astype(np.uint8)

  def geoms(
    self, model: mujoco.MjModel, data: mujoco.MjData, view: View, robot_visible: bool = True
  ) -> np.ndarray:
    """Names the geom behind each pixel of the frame that `render` draws of the present state.

    Arguments and errors are those of `render`.

    Returns:
      int32 [size, size]: numbers of geoms, -1 where none is.
    """
    self._renderer.enable_segmentation_rendering()
    try:
      drawn = self._draw(model, data, view, robot_visible)
    finally:
      self._renderer.disable_segmentation_rendering()
    return geom_numbers(drawn)

  def _draw(self, model, data, view: View, robot_visible: bool) -> np.ndarray:
    """Returns an upright frame, or (id, type) per pixel while segmentation is on."""
    self._synchronise(model, data)
    with hidden(self.model, None if robot_visible else self._robot):
      self._renderer.update_scene(self._data, self._camera(view), self._option)
    if self._fast:
      for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION,
                   mujoco.mjtRndFlag.mjRND_HAZE, mujoco.mjtRndFlag.mjRND_FOG):  # fmt: skip
        self._renderer.scene.flags[flag] = 0
    frame = self._renderer.render()
    return frame[::-1, ::-1] if view.camera in ROTATED_CAMERAS else frame

  def _synchronise(self, model, data) -> None:
    self._data.qpos[:] = data.qpos
    self._data.mocap_pos[:] = data.mocap_pos
    self._data.mocap_quat[:] = data.mocap_quat
    self.model.body_pos[:] = model.body_pos
    self.model.body_quat[:] = model.body_quat
    mujoco.mj_kinematics(self.model, self._data)
    mujoco.mj_camlight(self.model, self._data)

  def _camera(self, view: View):
    if view.camera:
      if mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, view.camera) < 0:
        names = ", ".join(self.model.camera(i).name for i in range(self.model.ncam))
        raise UserError(
          f"expected a camera of the scene ({names}), got {view.camera!r}; choose one of these or "
          "leave it empty for a free camera."
        )
      return view.camera
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = view.lookat
    camera.azimuth, camera.elevation, camera.distance = view.azimuth, view.elevation, view.distance
    return camera


def geom_numbers(drawn: np.ndarray) -> np.ndarray:
  """int32 [H, W], numbers of geoms or -1, from what a renderer draws while segmentation is on."""
  return np.where(drawn[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, drawn[..., 0], -1)


def _geom_labels(model: mujoco.MjModel, base: int) -> np.ndarray:
  """Returns int [ngeom]: BACKGROUND, OBJECT or ROBOT by the root body of each geom's tree."""
  movable = np.unique(model.body_rootid[model.jnt_bodyid])
  root = model.body_rootid[model.geom_bodyid]
  return np.where(root == base, ROBOT, np.where(np.isin(root, movable), OBJECT, BACKGROUND))


def _drawing_model(spec: mujoco.MjSpec, size: int, fast: bool) -> mujoco.MjModel:
  spec = spec.copy()
  if fast:
    for mesh in spec.meshes:
      if mesh.name not in _KEEP_WHOLE:
        decimate(mesh, pathlib.Path(spec.modelfiledir) / spec.meshdir)
  model = spec.compile()
  model.vis.global_.offwidth = max(model.vis.global_.offwidth, size)
  model.vis.global_.offheight = max(model.vis.global_.offheight, size)
  if fast:
    model.vis.quality.offsamples = 0
    model.vis.quality.numslices, model.vis.quality.numstacks = 12, 6
    model.vis.quality.numquads = 1
  else:
    # MuJoCo's 4096 takes most of the time on a GPU and a third of it on a CPU, and changes a tenth
    # of a grey level (docs/results/gpu.md).
    model.vis.quality.shadowsize = 1024
  return model
