"""Episodes of the expert in RobotEnv, written beside a scene, to hold another simulator against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vipjax.envs.expert import Expert
from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.vector import Channel
from vipjax.envs.warp.scene import Scene, moved_bodies, placed_by_reset
from vipjax.runtime.errors import UserError
from vipjax.scene import View

# The reward's pictures in configs/demo.py and configs/paper.py: front and side, both with and
# without the robot.
CHANNELS = tuple(
  Channel(view, visible)
  for view in (View(), View(azimuth=165.0, distance=1.05))
  for visible in (True, False)
)
# Steps after success, and from one picture of the first episode to the next.
_HOLD, _STRIDE = 5, 4


class Reference(NamedTuple):
  """E episodes of at most T steps; what lies after an episode's end repeats its last.

  Attributes:
    qpos, qvel, moved, goal: float32 [E, ...], the states in which they start (`WarpEnv.start`).
    actions: float32 [E, T, 8]; zeros after the end.
    lengths: int32 [E], steps of each.
    observations: float32 [E, T + 1, 51], before the first step and after each.
    hands: float32 [E, T + 1, 3], positions of the hand's body, metres.
    success: bool [E, T + 1].
    touching: bool [E, T + 1], whether the robot touches anything, walls included.
    frames: uint8 [F, C, H, W, 3], the first episode drawn by OpenGL for `CHANNELS`.
    frame_steps: int32 [F], the step after which each was drawn.
  """

  qpos: np.ndarray
  qvel: np.ndarray
  moved: np.ndarray
  goal: np.ndarray
  actions: np.ndarray
  lengths: np.ndarray
  observations: np.ndarray
  hands: np.ndarray
  success: np.ndarray
  touching: np.ndarray
  frames: np.ndarray
  frame_steps: np.ndarray


def record_reference(scene: Scene, episodes: int, size: int = 112) -> int:
  """Runs the expert and writes expert.npz into the scene's folder.

  Args:
    scene: a scene that was just exported, in the environment of the base install.
    episodes: how many, of the seeds from 0 on.
    size: height and width of the pictures in pixels.

  Returns:
    How many succeed.

  Raises:
    UserError: fewer than 1 episode.
  """
  if episodes < 1:
    raise UserError(f"expected at least 1 episode, got {episodes}; raise it.")
  facts = scene.facts
  env = RobotEnv(
    facts.task, facts.robot, "torque", horizon=facts.horizon, frame_skip=facts.frame_skip,
    placement=facts.placement, joint_noise=facts.joint_noise, size=size,
  )  # fmt: skip
  recorded = [_episode(env, number, drawn=number == 0) for number in range(episodes)]
  env.close()
  fields = {
    name: np.stack([each[name] for each in recorded])
    for name in Reference._fields
    if name not in ("frames", "frame_steps")
  }
  drawn = {name: recorded[0][name] for name in ("frames", "frame_steps")}
  np.savez_compressed(scene.folder / "expert.npz", **fields, **drawn)
  return int(fields["success"].any(axis=1).sum())


def read_reference(scene: Scene) -> Reference:
  """Reads what `record_reference` wrote; raises UserError if it did not."""
  path = scene.folder / "expert.npz"
  if not path.is_file():
    raise UserError(
      f"expected episodes of the expert in {path}, got no such file; export the scene again with "
      "--episodes=50."
    )
  with np.load(path) as arrays:
    return Reference(*(arrays[name] for name in Reference._fields))


def _episode(env: RobotEnv, seed: int, drawn: bool) -> dict[str, np.ndarray]:
  observation, info = env.reset(seed=seed)
  placed = placed_by_reset(env, moved_bodies(env))
  expert = Expert(env)
  expert.reset()
  told, actions, frames, frame_steps = [], [], [], []
  left = _HOLD

  def note(observation: np.ndarray, success: bool) -> None:
    hand = env.data.body(env.robot.hand_body).xpos
    told.append((observation, hand.astype(np.float32), success, _touches(env)))
    if drawn and len(actions) % _STRIDE == 0:
      frames.append([env.frame(channel.view, channel.robot_visible) for channel in CHANNELS])
      frame_steps.append(len(actions))

  note(observation, info["success"])
  for _ in range(env.horizon):
    actions.append(expert.action())
    observation, _, _, truncated, info = env.step(actions[-1])
    note(observation, info["success"])
    left -= any(success for *_, success, _ in told)
    if truncated or left < 0:
      break
  names = "observations", "hands", "success", "touching"
  arrays = {
    name: np.stack(values) for name, values in zip(names, zip(*told, strict=True), strict=True)
  }
  rest = env.horizon - len(actions)
  return {
    **placed,
    **{
      name: np.pad(values, [(0, rest)] + [(0, 0)] * (values.ndim - 1), mode="edge")
      for name, values in arrays.items()
    },
    "actions": np.pad(np.stack(actions), ((0, rest), (0, 0))),
    "lengths": np.int32(len(actions)),
    "frames": np.array(frames, np.uint8),
    "frame_steps": np.array(frame_steps, np.int32),
  }


def _touches(env: RobotEnv) -> bool:
  """Whether a contact of the last physics step was the robot's."""
  model = env.model
  base = model.body(env.robot.base_body).id
  roots = model.body_rootid[model.geom_bodyid[env.data.contact.geom]]  # [contacts, 2]
  return bool(((roots == base).sum(axis=1) == 1).any())
