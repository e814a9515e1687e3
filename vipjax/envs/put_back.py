"""The expert's last pose beside an object that is back where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from vipjax.envs.record import noisy_expert, record_episode
from vipjax.envs.robot_env import RobotEnv
from vipjax.scene import View

FIRST, LAST, PUT_BACK = range(3)


class PutBack(NamedTuple):
  """Three states of an expert's episode.

  Attributes:
    frames: uint8 [3, H, W, 3] by view and visibility of the robot: the first state, the last, and
      the last with all objects as in the first and the robot as in the last.
    success: whether the expert succeeds.
    steps: control steps of the episode.
    straight: the distance between the hand's first and last place, as a share of the way that it
      went, in (0, 1].
    overlap: how deep the robot then reaches into anything else, metres, >= 0: where it does, the
      state is one that no policy comes to.
  """

  frames: Mapping[tuple[str, bool], np.ndarray]
  success: bool
  steps: int
  straight: float
  overlap: float


def draw_put_back(env: RobotEnv, views: Mapping[str, View], seed: int, *, hold: int = 5) -> PutBack:
  """Runs the expert to `hold` steps after success and draws the last pose with the objects back.

  Args:
    env: the environment; it is reset, and has to be reset again before the next step.
    views: viewpoints by name; each is drawn with and without the robot.
    seed: seed of the episode.
    hold: steps after success.

  Raises:
    UserError: as `record_episode`.
  """
  expert, states, hands = noisy_expert(env, 0.0, np.random.default_rng(seed)), [], []

  def act(observation: np.ndarray) -> np.ndarray:
    hands.append(env.task.tcp_center)
    return expert(observation)

  # So large a stride films the first and the last state alone.
  films = record_episode(
    env, views, seed, hold=hold, frame_stride=env.horizon + 1, act=act,
    at_frame=lambda: states.append(env.data.qpos.copy()),
  )  # fmt: skip
  way = np.array([*hands, env.task.tcp_center])
  length = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
  env.put_objects_back(states[0])
  frames = {
    (film.view, film.robot_visible): np.stack(
      [*film.frames, env.frame(views[film.view], film.robot_visible)]
    )
    for film in films
  }
  straight = float(np.linalg.norm(way[-1] - way[0]) / length)
  return PutBack(frames, bool(films[0].success), len(hands), straight, _overlap(env))


def _overlap(env: RobotEnv) -> float:
  """The deepest contact of the robot with anything else in the present state, metres."""
  model, contact = env.model, env.data.contact
  mujoco.mj_collision(model, env.data)
  roots = model.body_rootid[model.geom_bodyid[contact.geom]]  # [contacts, 2]
  of_robot = roots == model.body(env.robot.base_body).id
  return max(0.0, -float(np.min(contact.dist, where=of_robot.sum(1) == 1, initial=0.0)))
