"""The environments by the thousand on a GPU, with MuJoCo Warp; docs/warp.md."""

from vipjax.envs.warp.env import WarpEnv, WarpState, WarpStep
from vipjax.envs.warp.scene import Scene, export_scene, read_scene
from vipjax.envs.warp.simulation import Physics, Poses, Simulation

__all__ = [
  "Physics",
  "Poses",
  "Scene",
  "Simulation",
  "WarpEnv",
  "WarpState",
  "WarpStep",
  "export_scene",
  "read_scene",
]
