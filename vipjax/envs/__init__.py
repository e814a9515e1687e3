"""Environments: the Gymnasium environment, many of them with frames, experts, recording."""

import vipjax.scene  # noqa: F401 (first: it chooses the GL library before MuJoCo is imported)
from vipjax.envs.expert import Expert
from vipjax.envs.make import make_env
from vipjax.envs.metaworld_task import CONTROL_STEP, CONTROLS, num_actions, task_names
from vipjax.envs.put_back import PutBack, draw_put_back
from vipjax.envs.record import (
  abandoned_expert,
  noisy_expert,
  random_motion,
  record_episode,
  record_trajectories,
  recovering_expert,
  robot_state,
)
from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.robot_free import RobotFreeView
from vipjax.envs.seeds import Stream, episode_seed
from vipjax.envs.vector import Channel, Episodes, FrameVectorEnv, Seen, Step

__all__ = [
  "CONTROLS",
  "CONTROL_STEP",
  "Channel",
  "Episodes",
  "Expert",
  "FrameVectorEnv",
  "PutBack",
  "RobotEnv",
  "RobotFreeView",
  "Seen",
  "Step",
  "Stream",
  "abandoned_expert",
  "draw_put_back",
  "episode_seed",
  "make_env",
  "noisy_expert",
  "num_actions",
  "random_motion",
  "record_episode",
  "record_trajectories",
  "recovering_expert",
  "robot_state",
  "task_names",
]
