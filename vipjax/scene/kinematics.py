"""Where the hand is, and which joint angles bring it elsewhere."""

from __future__ import annotations

import mujoco
import numpy as np

from vipjax.scene.robots import Robot

# The hand's orientation in all of Meta-World's tasks: pointing down.
HAND_QUAT = np.array([1.0, 0.0, 1.0, 0.0]) / np.sqrt(2.0)
# Metres. Homes are known to a few millimetres, so a hand nearer than this is at the place.
_NEAR = 0.02
_STEPS, _DAMPING = 200, 1e-4


def hand_error(data: mujoco.MjData, hand: int, position: np.ndarray) -> np.ndarray:
  """Returns the motion that takes the hand to a position, pointing down.

  Args:
    data: the state, with its kinematics computed.
    hand: body number of the hand.
    position: [3], metres, world frame.

  Returns:
    float64 [6]: displacement in metres and rotation vector in radians, world frame.
  """
  error = np.zeros(6)
  error[:3] = position - data.xpos[hand]
  rotation, conjugate = np.zeros(4), np.zeros(4)
  mujoco.mju_negQuat(conjugate, data.xquat[hand])
  mujoco.mju_mulQuat(rotation, HAND_QUAT, conjugate)
  mujoco.mju_quat2Vel(error[3:], rotation, 1.0)
  return error


def home_at(model: mujoco.MjModel, robot: Robot, position: np.ndarray) -> np.ndarray:
  """Returns joint angles that hold the hand at a position, pointing down, close to the home pose.

  Solves by damped least squares from the home; joints that reach a limit stay there.

  Args:
    model: a scene with the robot.
    robot: the arm.
    position: [3], metres, world frame.

  Returns:
    float64 [7], radians; the home itself if it holds the hand within 2 cm of `position`.
  """
  data = mujoco.MjData(model)
  joints = [model.joint(name) for name in robot.arm_joints]
  qpos = np.array([joint.qposadr[0] for joint in joints])
  dofs = np.array([joint.dofadr[0] for joint in joints])
  low, high = np.array([joint.range for joint in joints]).T
  hand = model.body(robot.hand_body).id
  home = np.asarray(robot.home)
  data.qpos[qpos] = home
  for step in range(_STEPS):
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    error = hand_error(data, hand, position)
    if step == 0 and np.linalg.norm(error[:3]) < _NEAR:
      return home
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], hand)
    jacobian, free = jacobian[:, dofs], np.ones(7, bool)
    while True:
      part = jacobian * free
      inverse = part.T @ np.linalg.inv(part @ part.T + _DAMPING * np.eye(6))
      back = (np.eye(7) - inverse @ part) @ (home - data.qpos[qpos]) * free
      angles = data.qpos[qpos] + 0.5 * inverse @ error + 0.1 * back
      blocked = free & ((angles < low) | (angles > high))
      if not blocked.any():
        break
      free &= ~blocked
    data.qpos[qpos] = angles
  return data.qpos[qpos].copy()
