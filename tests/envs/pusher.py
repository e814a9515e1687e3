"""An arm that pushes a box, as a MuJoCo environment of Gymnasium's own kind."""

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

SIZE = 16
_ARM = """
    <body name="arm" pos="-0.3 0 0.1">
      <joint name="lift" axis="0 1 0"/>
      <geom name="upper" type="capsule" fromto="0 0 0 0.3 0 0" size="0.05" material="steel"/>
      <body name="hand" pos="0.35 0 0">
        <geom name="fist" type="sphere" size="0.07" rgba="0.1 0.2 0.9 1"/>
      </body>
    </body>"""
_SCENE = """
<mujoco>
  <asset><material name="steel" rgba="0.9 0.6 0.1 1"/></asset>
  <visual><global offwidth="16" offheight="16"/></visual>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="front" pos="0 -1.4 0.9" xyaxes="1 0 0 0 0.5 0.8"/>
    <geom name="floor" type="plane" size="1 1 0.1" rgba="0.6 0.6 0.6 1"/>{arm}
    <body name="box" pos="0.2 0 0.08">
      <joint name="slide" type="slide" axis="1 0 0"/>
      <geom name="cube" type="box" size="0.08 0.08 0.08" rgba="0.1 0.8 0.2 1"/>
    </body>
    <site name="target" pos="0.5 0 0.2" size="0.08" rgba="1 0 0 1"/>
  </worldbody>
  <actuator><motor joint="slide" gear="20"/></actuator>
</mujoco>"""


def write_scenes(folder):
  """The scene's file, and that of the scene without the arm and the target's dot."""
  whole, bare = folder / "whole.xml", folder / "bare.xml"
  whole.write_text(_SCENE.format(arm=_ARM))
  lines = _SCENE.format(arm="").splitlines()
  bare.write_text("\n".join(line for line in lines if "<site" not in line))
  return str(whole), str(bare)


class PusherEnv(MujocoEnv):
  """The action pushes the box; an episode has `horizon` steps."""

  metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 50}

  def __init__(self, path, horizon=5, render_mode="rgb_array"):
    space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    super().__init__(
      path, 10, space, render_mode, width=SIZE, height=SIZE, camera_name="front"
    )  # fmt: skip
    self._horizon, self._time = horizon, 0

  def reset_model(self):
    self._time = 0
    self.set_state(self.init_qpos, self.init_qvel)
    return self._observation()

  def step(self, action):
    self.do_simulation(action, self.frame_skip)
    self._time += 1
    return self._observation(), 1.0, False, self._time >= self._horizon, {}

  def close(self):
    # Gymnasium's renderer would free its buffers whenever Python frees it, in whichever OpenGL
    # context is current then, which spoils that of another environment.
    if self.mujoco_renderer.viewer is not None:
      self.mujoco_renderer.viewer.make_context_current()
      self.mujoco_renderer.viewer.con.free()
    super().close()

  def _observation(self):
    return self.data.joint("slide").qpos.copy()
