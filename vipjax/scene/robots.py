"""What the scene edits need to know of an arm."""

from __future__ import annotations

import dataclasses

from vipjax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Robot:
  """An arm with a two-finger gripper.

  Attributes:
    name: public name.
    base_body: root of the subtree that is the robot (what is removed from robot-free frames).
    hand_body: the frame that the workspace bounds and the expert steers.
    arm_joints: the seven actuated joints, base to wrist.
    finger_joints: two slide joints; the first closes in its positive direction, the second in
      its negative one.
    gears: torque in Nm at action 1, one per arm joint.
    gripper_gear: force in N of the gripper motor at action 1 (closing).
    home: joint positions at reset in radians, one per arm joint.
  """

  name: str
  base_body: str
  hand_body: str
  arm_joints: tuple[str, ...]
  finger_joints: tuple[str, str]
  gears: tuple[float, ...]
  gripper_gear: float
  home: tuple[float, ...]


# Torque limits are the Sawyer's rated joint torques; home is the pose that Meta-World's own reset
# (50 steps of its mocap weld towards the task's hand position) ends in.
SAWYER = Robot(
  name="sawyer",
  base_body="base",
  hand_body="hand",
  arm_joints=tuple(f"right_j{i}" for i in range(7)),
  finger_joints=("r_close", "l_close"),
  gears=(80.0, 80.0, 40.0, 40.0, 9.0, 9.0, 9.0),
  gripper_gear=400.0,
  home=(2.1675, -0.546, -1.2347, 2.1711, 1.2478, 1.0195, 1.9012),
)

ROBOTS = {SAWYER.name: SAWYER}


def get_robot(name: str) -> Robot:
  """The arm of that name; raises UserError for one that there is not."""
  if name not in ROBOTS:
    raise UserError(
      f"expected a robot among {', '.join(sorted(ROBOTS))}, got {name!r}; choose one of these."
    )
  return ROBOTS[name]
