"""Edits an MjSpec: joint-torque control in place of Meta-World's mocap weld, workspace walls."""

from __future__ import annotations

import mujoco
import numpy as np

from vipjax.scene import compat
from vipjax.scene.robots import Robot

# A contact bit that only the workspace walls and the hand's marker sphere have.
_WALL_BIT = 1 << 6


def use_joint_torques(spec: mujoco.MjSpec, robot: Robot) -> None:
  """Replaces the arm's actuators by seven joint motors and one gripper motor, in place.

  The motors have the order of the action: arm joints from base to wrist, then the gripper (positive
  closes). Control range is -1..1; torque is control times gear. The robot's gravity is compensated,
  as controllers of real arms do, so zero torque holds the pose.

  Args:
    spec: a scene that holds the robot; its mocap body, welds and actuators are deleted.
    robot: the arm.
  """
  for equality in list(spec.equalities):
    if equality.type == mujoco.mjtEq.mjEQ_WELD:
      compat.delete(spec, equality)
  mocap = spec.body("mocap")
  if mocap is not None:
    compat.delete(spec, mocap)
  for actuator in list(spec.actuators):
    compat.delete(spec, actuator)
  for body in _subtree(spec.body(robot.base_body)):
    body.gravcomp = 1.0
  for joint, gear in zip(robot.arm_joints, robot.gears, strict=True):
    _add_motor(spec, f"torque_{joint}", mujoco.mjtTrn.mjTRN_JOINT, joint, gear)
  tendon = spec.add_tendon(name="gripper")
  for joint, share in robot.grip:
    tendon.wrap_joint(joint, share)
  _add_motor(spec, "gripper", mujoco.mjtTrn.mjTRN_TENDON, "gripper", robot.gripper_gear)


def bound_workspace(
  spec: mujoco.MjSpec, robot: Robot, low: tuple[float, ...], high: tuple[float, ...]
) -> None:
  """Adds six invisible walls that keep the hand inside a box, in place.

  Under random torques the hand dives beside and below the table, where there is nothing to learn.
  Walls are contacts that every physics step solves, so they change neither the time limit nor the
  reward, as clipping or ending the episode would. They touch only a 1 cm sphere at the hand's
  origin.

  Args:
    spec: the scene.
    robot: the arm whose hand is bounded.
    low: lower corner of the box in metres, world frame.
    high: upper corner.
  """
  spec.body(robot.hand_body).add_geom(
    name="workspace_marker",
    type=mujoco.mjtGeom.mjGEOM_SPHERE,
    size=[0.01, 0, 0],
    rgba=[0, 0, 0, 0],
    group=5,
    mass=0.0,
    contype=_WALL_BIT,
    conaffinity=_WALL_BIT,
  )
  low, high = np.asarray(low, float), np.asarray(high, float)
  for axis in range(3):
    for side, corner in ((1.0, low), (-1.0, high)):
      normal = np.zeros(3)
      normal[axis] = side
      position = np.zeros(3)
      position[axis] = corner[axis] - side * 0.01  # the sphere's radius
      quat = np.zeros(4)
      mujoco.mju_quatZ2Vec(quat, normal)
      spec.worldbody.add_geom(
        name=f"workspace_{'xyz'[axis]}_{'low' if side > 0 else 'high'}",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 0.1],
        pos=position,
        quat=quat,
        rgba=[0, 0, 0, 0],
        group=5,
        contype=_WALL_BIT,
        conaffinity=_WALL_BIT,
      )


def _add_motor(spec, name, transmission, target, gear) -> None:
  # A spec's new actuator has a fixed gain of 1 and no bias, so it is a motor.
  spec.add_actuator(
    name=name,
    trntype=transmission,
    target=target,
    ctrllimited=True,
    ctrlrange=[-1.0, 1.0],
    gear=[gear, 0, 0, 0, 0, 0],
  )


def _subtree(body):
  yield body
  for child in body.bodies:
    yield from _subtree(child)
