"""Scenes as MjSpec edits: robots, torque control, robot removal, fast rendering. No XML copies."""

# ruff: noqa: E402, F401 (what the other rooms take from this one)
from vipjax.runtime import gl

# MuJoCo reads MUJOCO_GL when it is imported, so this comes before everything that imports it.
gl.configure()

try:
  from vipjax.scene.rendering import BACKGROUND, OBJECT, ROBOT, SceneRenderer, View
except (ImportError, AttributeError):
  # PyOpenGL raises these inside `import mujoco` when MUJOCO_GL names a library that is not
  # installed; `require` says so in one sentence.
  gl.require()
  raise
from vipjax.scene.arms import replace_arm
from vipjax.scene.kinematics import hand_error, home_at
from vipjax.scene.robots import ROBOTS, Robot, get_robot
from vipjax.scene.torque import bound_workspace, use_joint_torques
