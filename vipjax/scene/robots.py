"""The arms: their names in the scene, limits, home poses and mounts."""

from __future__ import annotations

import dataclasses
import math

from vipjax.runtime.errors import require_among


@dataclasses.dataclass(frozen=True)
class Mount:
  """One of robosuite's arms with a gripper, and its pose on the Sawyer's pedestal.

  Attributes:
    arm: MJCF file of the arm, in robosuite's assets.
    gripper: MJCF file of the gripper.
    position: of the arm's base in metres, world frame; it faces +y.
    spin: radians around the approach axis from robosuite's gripper frame to Meta-World's hand
      frame, in which the fingers close along y.
    right_pad: robosuite's name of the geom that replaces the Sawyer's right finger pad.
    left_pad: likewise for the left finger pad.
  """

  arm: str
  gripper: str
  position: tuple[float, float, float]
  spin: float
  right_pad: str
  left_pad: str


@dataclasses.dataclass(frozen=True)
class Robot:
  """An arm with a gripper of two sides.

  Attributes:
    name: public name.
    base_body: root of the robot's subtree, which robot-free frames leave out.
    hand_body: the frame that the workspace bounds and the expert steers.
    arm_joints: the seven actuated joints, base to wrist.
    finger_joints: the right and left joint in the observation.
    grip: the joints that the gripper's motor drives, each with its share of the force; positive
      force closes.
    gears: torque in Nm at action 1, one per arm joint.
    gripper_gear: force in N (torque in Nm for hinged fingers) of the gripper's motor at action 1.
    home: joint positions at reset in radians, one per arm joint.
    fingers_home: positions at reset of the finger joints that do not start at the model's own.
    mount: None for the Sawyer, which is part of Meta-World's scenes.
  """

  name: str
  base_body: str
  hand_body: str
  arm_joints: tuple[str, ...]
  finger_joints: tuple[str, str]
  grip: tuple[tuple[str, float], ...]
  gears: tuple[float, ...]
  gripper_gear: float
  home: tuple[float, ...]
  fingers_home: tuple[tuple[str, float], ...] = ()
  mount: Mount | None = None


# Torque limits are the Sawyer's rated joint torques. Its home is the pose in which Meta-World's own
# reset ends (50 steps of its mocap weld towards the task's hand position).
SAWYER = Robot(
  name="sawyer",
  base_body="base",
  hand_body="hand",
  arm_joints=tuple(f"right_j{i}" for i in range(7)),
  finger_joints=("r_close", "l_close"),
  grip=(("r_close", 1.0), ("l_close", -1.0)),
  gears=(80.0, 80.0, 40.0, 40.0, 9.0, 9.0, 9.0),
  gripper_gear=400.0,
  home=(2.1675, -0.546, -1.2347, 2.1711, 1.2478, 1.0195, 1.9012),
)

# Torque limits are those of robosuite's models. Positions and homes were found by trial: 15 cm
# nearer or farther the experts fail.
PANDA = Robot(
  name="panda",
  base_body="base",
  hand_body="hand",
  arm_joints=tuple(f"panda_joint{i}" for i in range(1, 8)),
  finger_joints=("panda_gripper_finger_joint2", "panda_gripper_finger_joint1"),
  grip=(("panda_gripper_finger_joint2", 1.0), ("panda_gripper_finger_joint1", -1.0)),
  gears=(80.0, 80.0, 80.0, 80.0, 80.0, 12.0, 12.0),
  gripper_gear=70.0,  # the hand's rated continuous force
  home=(0.2181, -0.2313, -0.2463, -2.8798, -0.1195, 2.6523, -0.7011),
  fingers_home=(("panda_gripper_finger_joint1", 0.04), ("panda_gripper_finger_joint2", -0.04)),
  mount=Mount(
    arm="robots/panda/robot.xml",
    gripper="grippers/panda_gripper.xml",
    position=(0.0, 0.05, 0.0),
    spin=math.pi / 2,
    right_pad="finger2_pad_collision",
    left_pad="finger1_pad_collision",
  ),
)

_JACO_FINGERS = tuple(f"jaco_gripper_joint_{finger}" for finger in ("thumb", "index", "pinky"))
JACO = Robot(
  name="jaco",
  base_body="base",
  hand_body="hand",
  arm_joints=tuple(f"jaco_j2s7s300_joint_{i}" for i in range(1, 8)),
  finger_joints=_JACO_FINGERS[:2],
  # One thumb opposes two fingers.
  grip=((_JACO_FINGERS[0], -1.0), (_JACO_FINGERS[1], -0.5), (_JACO_FINGERS[2], -0.5)),
  gears=(30.5, 30.5, 30.5, 30.5, 30.5, 6.8, 6.8),
  gripper_gear=1.0,
  home=(3.1987, 3.2847, -0.02, 0.8062, 0.0047, 3.8048, 3.1752 + math.pi / 2),
  # Open. No task gives its objects these values as coordinates: see metaworld_task.
  fingers_home=tuple((name + part, 1.1) for name in _JACO_FINGERS for part in ("", "_distal")),
  mount=Mount(
    arm="robots/jaco/robot.xml",
    gripper="grippers/jaco_three_finger_gripper.xml",
    position=(0.0, 0.15, 0.0),
    spin=math.pi / 2,
    right_pad="thumb_pad_collision",
    left_pad="index_pad_collision",
  ),
)

ROBOTS = {robot.name: robot for robot in (SAWYER, PANDA, JACO)}


def get_robot(name: str) -> Robot:
  """Returns the arm of that name; raises UserError for an unknown name."""
  require_among("a robot", name, ROBOTS)
  return ROBOTS[name]
