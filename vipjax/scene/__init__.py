"""Scenes as MjSpec edits: robots, torque control, robot removal, fast rendering. No XML copies."""

from vipjax.scene.rendering import SceneRenderer, View, views_from_config
from vipjax.scene.robots import ROBOTS, Robot, get_robot
from vipjax.scene.torque import bound_workspace, use_joint_torques

__all__ = [
  "ROBOTS",
  "Robot",
  "SceneRenderer",
  "View",
  "bound_workspace",
  "get_robot",
  "use_joint_torques",
  "views_from_config",
]
