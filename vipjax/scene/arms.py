"""Another arm in the Sawyer's place, as edits of an MjSpec."""

from __future__ import annotations

import mujoco
import numpy as np

from vipjax.scene import compat
from vipjax.scene.robosuite import robosuite_assets
from vipjax.scene.robots import Mount, Robot

_SAWYER_ARM = "right_arm_base_link"
_COLLISION_GROUP = 3  # not drawn; robosuite has its collision shapes in group 0
# Of the arm's joints: with robosuite's own damping (0.1 and less) random torques end in NaN.
_ARMATURE, _DAMPING = 0.1, 1.0
# The Jaco's fingers weigh 10 g: without armature their motor pushes them half a radian past their
# limits.
_FINGER_ARMATURE = 0.01
# From the point between the fingertips back to Meta-World's hand frame, metres.
_HAND_OFFSET = 0.045


def replace_arm(spec: mujoco.MjSpec, robot: Robot) -> None:
  """Puts `robot` on the Sawyer's pedestal, in place.

  Deletes the Sawyer's arm with Meta-World's weld and gripper actuators, and makes these again for
  the new arm: a weld from the mocap body to the hand, and two motors that read Meta-World's gripper
  control (a, -a). The new arm's parts get the names that Meta-World's tasks look up (hand, claws,
  pads, end effectors). The order of bodies stays, because tasks address their objects' joints by
  number.

  Args:
    spec: one of Meta-World's scenes.
    robot: an arm with a mount.

  Raises:
    UserError: the arm's files are not in the cache and cannot be fetched.
  """
  for actuator in list(spec.actuators):
    compat.delete(spec, actuator)
  for equality in list(spec.equalities):
    if equality.type == mujoco.mjtEq.mjEQ_WELD:
      compat.delete(spec, equality)
  compat.delete(spec, spec.body(_SAWYER_ARM))
  base = spec.body(robot.base_body)
  arm = _arm(robot.mount)
  frame = base.add_frame(pos=robot.mount.position, quat=_quat([0, 0, 1], np.pi / 2))
  frame.attach_body(arm.body("base"), f"{robot.name}_", "")
  for joint in robot.arm_joints:
    joint = spec.joint(joint)
    joint.armature, joint.damping = _ARMATURE, _DAMPING
  for joint, _ in robot.fingers_home:
    joint = spec.joint(joint)
    joint.armature = max(float(joint.armature), _FINGER_ARMATURE)
  _add_hand(spec, robot)
  _add_gripper_motors(spec, robot)
  spec.add_equality(
    type=mujoco.mjtEq.mjEQ_WELD,
    objtype=mujoco.mjtObj.mjOBJ_BODY,
    name1="mocap",
    name2=robot.hand_body,
    solref=[0.02, 1.0],  # Meta-World's
  )


def _arm(mount: Mount) -> mujoco.MjSpec:
  """Returns robosuite's arm with its gripper attached, without actuators."""
  arm, gripper = _read(mount.arm), _read(mount.gripper)
  arm.body("right_hand").add_frame().attach_body(gripper.body("right_gripper"), "gripper_", "")
  return arm


def _read(file: str) -> mujoco.MjSpec:
  path = robosuite_assets() / file
  spec = mujoco.MjSpec.from_file(str(path))
  for mesh in spec.meshes:
    mesh.file = str(path.parent / mesh.file)  # the scene that it joins lies in another folder
  # The equalities hold the Jaco's fingertips 1.6 rad from the proximal joints, which is beyond the
  # fingertips' limits. The springs between the two stay.
  for element in [*spec.actuators, *spec.sensors, *spec.cameras, *spec.equalities]:
    compat.delete(spec, element)
  for geom in spec.geoms:
    if geom.group == 0:
      geom.group = _COLLISION_GROUP
  return spec


def _add_hand(spec: mujoco.MjSpec, robot: Robot) -> None:
  """Adds bodies with Meta-World's names; its hand frame approaches along x and closes along y."""
  prefix = f"{robot.name}_gripper_"
  quat = np.zeros(4)
  approach, spin = _quat([0, 1, 0], -np.pi / 2), _quat([1, 0, 0], robot.mount.spin)
  mujoco.mju_mulQuat(quat, approach, spin)
  spec.body(f"{prefix}eef").add_body(name=robot.hand_body, pos=[0, 0, -_HAND_OFFSET], quat=quat)
  for side, pad in (("right", robot.mount.right_pad), ("left", robot.mount.left_pad)):
    geom = spec.geom(f"{prefix}{pad}")
    geom.name = f"{side}pad_geom"
    for part in ("claw", "pad"):
      body = geom.parent.add_body(name=f"{side}{part}", pos=geom.pos)
    body.add_site(name=f"{side}EndEffector")


def _add_gripper_motors(spec: mujoco.MjSpec, robot: Robot) -> None:
  tendon = spec.add_tendon(name="mocap_gripper")
  for joint, share in robot.grip:
    tendon.wrap_joint(joint, share)
  for sign in (1.0, -1.0):
    spec.add_actuator(
      name=f"mocap_gripper{sign:+.0f}",
      trntype=mujoco.mjtTrn.mjTRN_TENDON,
      target="mocap_gripper",
      ctrllimited=True,
      ctrlrange=[-1.0, 1.0],
      gear=[sign * robot.gripper_gear / 2, 0, 0, 0, 0, 0],
    )


def _quat(axis: list[float], angle: float) -> np.ndarray:
  quat = np.zeros(4)
  mujoco.mju_axisAngle2Quat(quat, np.asarray(axis, float), angle)
  return quat
