"""Viewpoints for a task: what the expert moves, and where it is seen to move."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from vipjax.envs.expert import Expert
from vipjax.envs.robot_env import RobotEnv
from vipjax.scene import SceneRenderer, View
from vipjax.scene.viewpoints import fitting_view, projected

# Of the picture's side, the middle in which object, target and the hand's way lie. An arm that
# strays has to stay in the picture: without it there is no difference to a hidden arm, which costs
# nothing and which nothing calls back. Chosen at drawer-open (docs/results/ten_tasks.md): with 0.65
# the reward followed the hand's nearness off the path by .20, with 0.4 by .63.
SHARE = 0.4
# Degrees. The usual direction is the one set by hand at window-open; another one is taken where it
# shows less than 0.4 of the change of the best. The small encoder has learnt from azimuths of 15 to
# 165, from the robot's side.
_USUAL = (140.0, -35.0)
_AZIMUTHS, _ELEVATIONS = np.arange(40.0, 141.0, 10.0).tolist(), (-35.0, -50.0, -20.0)
_GOOD = 0.4
# Degrees from the first view to the second, to the other side of the workspace: what one cannot
# tell along its line of sight the other sees; further ones stand between. From any first direction
# it ends where the small encoder has learnt. Chosen by policies at door-open and drawer-open
# (docs/results/ten_tasks.md).
_TURN = 75.0
# A view whose picture is filled by the arm to more than this shows little else.
_MOST_ROBOT = 0.35
_PIXELS = 64
# Metres from between the fingers: the hand.
_HAND = 0.2
# Metres. A nearer camera sees too little of where an arm may stray.
_NEAREST = 1.1
# Metres. From farther than the first, as a door's wide arc would have it, a hand some centimetres
# beside the handle looks like one that holds it: the camera rather looks at where they meet, from
# about the second. Chosen at door-open (docs/results/ten_tasks.md).
_FAR, _CLOSER = 1.8, 1.4
# Steps of the expert after success, in which the object comes to rest; and after a reset.
_REST, _SETTLED = 5, 10
# A geom that moved less, metres or entries of its rotation, did not move; one that moved by more
# than a tenth of it has been touched.
_STILL, _UNTURNED = 0.01, 0.1
_TOUCHED = 0.1


@dataclasses.dataclass(frozen=True)
class Motion:
  """What an expert's episode moves.

  Attributes:
    steps: control steps until success; None if it failed.
    geoms: int [G], the drawn geoms that it moved; where it moves none (reach), those of the hand.
    task: float64 [N, 3], metres: the corners of the moved geoms' boxes at the start and at the end,
      and the target.
    way: float64 [M, 3], metres: where the hand was.
    touch: float64 [3], metres: where the hand was when it began to move the object; where it moves
      none, at the end.
    start, end: states of the simulation, for the model as this episode's reset left it.
  """

  steps: int | None
  geoms: np.ndarray
  task: np.ndarray
  way: np.ndarray
  touch: np.ndarray
  start: mujoco.MjData
  end: mujoco.MjData


def watch_expert(env: RobotEnv, seed: int) -> Motion:
  """Runs the expert through the episode of a seed, without drawing."""
  env.reset(seed=seed)
  expert = Expert(env)
  expert.reset()
  start, way = copy.copy(env.data), [env.task.tcp_center.copy()]
  places, turns = [env.data.geom_xpos.copy()], [env.data.geom_xmat.copy()]
  steps, left, truncated = None, _REST, False
  while left and not truncated:
    _, _, _, truncated, info = env.step(expert.action())
    way.append(env.task.tcp_center.copy())
    places.append(env.data.geom_xpos.copy())
    turns.append(env.data.geom_xmat.copy())
    if steps is None and info["success"]:
      steps = len(way) - 1
    left -= steps is not None
  model, end = env.model, copy.copy(env.data)
  geoms = _moved(env, start, end)
  touch = way[_first_moved(np.array(way), np.array(places)[:, geoms], np.array(turns)[:, geoms])]
  corners = [_corners(model, data, geom) for data in (start, end) for geom in geoms]
  if not len(geoms):
    near = np.linalg.norm(start.geom_xpos - way[0], axis=1) < _HAND
    geoms = np.intersect1d(_robot(env), np.flatnonzero(near))
  task = np.concatenate([*corners, [env.task._target_pos]])
  return Motion(steps, geoms, task, np.array(way), touch, start, end)


def _first_moved(way: np.ndarray, places: np.ndarray, turns: np.ndarray) -> int:
  """The first step at which a geom near the hand moves or turns; -1 if none does.

  What settles after the reset, or moves away from the hand, does not count.

  Args:
    way, places, turns: [N, 3], [N, G, 3], [N, G, 9], of the hand and of the geoms in N steps.
  """
  settled = min(_SETTLED, len(way) - 1)
  moved = np.linalg.norm(places - places[settled], axis=-1) > _TOUCHED * _STILL
  turned = np.abs(turns - turns[settled]).max(-1, initial=0.0) > _TOUCHED * _UNTURNED
  near = np.linalg.norm(places - way[:, None], axis=-1) < _HAND
  found = np.flatnonzero(((moved | turned) & near).any(axis=1)[settled:])
  return settled + int(found[0]) if len(found) else -1


def _moved(env: RobotEnv, start: mujoco.MjData, end: mujoco.MjData) -> np.ndarray:
  model = env.model
  shown = (model.body_mocapid[model.geom_bodyid] < 0) & (model.geom_group < 3)  # MuJoCo's choice
  shown[_robot(env)] = False
  moved = np.linalg.norm(end.geom_xpos - start.geom_xpos, axis=1) > _STILL
  turned = np.abs(end.geom_xmat - start.geom_xmat).max(1) > _UNTURNED
  return np.flatnonzero(shown & (moved | turned))


def _robot(env: RobotEnv) -> np.ndarray:
  root = env.model.body_rootid[env.model.geom_bodyid]
  return np.flatnonzero(root == env.model.body(env.robot.base_body).id)


def _corners(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> np.ndarray:
  """float64 [8, 3]: the corners of a geom's box, world frame."""
  centre, half = model.geom_aabb[geom].reshape(2, 3)
  signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
  return data.geom_xpos[geom] + (centre + signs * half) @ data.geom_xmat[geom].reshape(3, 3).T


@dataclasses.dataclass(frozen=True)
class Seen:
  """A viewpoint and what it shows of a task.

  Attributes:
    view: the viewpoint.
    side: share of the picture's side that object and target span together, the longer way.
    object: shares of the picture that the object takes at the start and at the end; "object" is
      what the expert moves.
    change: share of the picture that is the object at either of the two, but not at both.
    robot: share of the picture that the robot takes, at the start or at the end, the larger.
  """

  view: View
  side: float
  object: tuple[float, float]
  change: float
  robot: float


def choose_views(
  env: RobotEnv,
  views: Mapping[str, Mapping[str, Any]],
  seeds: Iterable[int],
  elsewhere: Sequence[int] = (),
) -> tuple[dict[str, Seen], Motion]:
  """Chooses viewpoints for a task from what its expert moves.

  Each view looks at the middle of object, target and the hand's way, so that they take 0.4 of the
  picture's side, and so that they are in the picture with the object elsewhere, too. If the first
  stood farther than 1.8 m for that, all look at where the hand first moves the object instead, from
  1.4 m or as far as the object elsewhere asks, if that is less. All views look at one point, the
  second turned by 75 degrees from the first, further ones between. Of the directions the usual
  one, or the nearest to it from which at least 0.4 times as many pixels change as from the best.

  Args:
    env: the environment; it is reset, and need not draw.
    views: by name the numbers of `View`, None where one is to be chosen. A named camera stays.
    seeds: of episodes; the first in which the expert succeeds counts, or the last.
    elsewhere: seeds of episodes with random placements.

  Returns:
    What each view shows, by name, and the expert's episode.
  """
  placement, env.placement = env.placement, None
  others = [watch_expert(env, seed) for seed in elsewhere]
  env.placement = placement
  for seed in seeds:
    motion = watch_expert(env, seed)
    if motion.steps is not None:
      break
  points = np.concatenate([motion.task, motion.way])
  # The way of an expert that fails leads anywhere.
  wide = np.concatenate([motion.task, *(other.task for other in others if other.steps)])
  with SceneRenderer(env.task.spec_of_scene, env.robot, _PIXELS) as renderer:

    def fitted(
      given: Mapping[str, Any], azimuth: float, elevation: float, lookat, most: float
    ) -> View:
      azimuth, elevation, lookat = (
        default if given.get(name) is None else given[name]
        for name, default in (("azimuth", azimuth), ("elevation", elevation), ("lookat", lookat))
      )
      lookat = None if lookat is None else tuple(lookat)
      view = fitting_view(points, azimuth, elevation, SHARE, lookat=lookat)
      far = fitting_view(wide, azimuth, elevation, 1.0, lookat=view.lookat).distance
      distance = given.get("distance") or max(min(view.distance, most), far, _NEAREST)
      return dataclasses.replace(view, distance=distance)

    def seen(azimuth: float, elevation: float) -> dict[str, Seen]:
      result, lookat, first, free, most = {}, None, azimuth, 0, np.inf
      for name, given in views.items():
        if given.get("camera"):
          result[name] = _look(renderer, env, motion, View(camera=given["camera"]))
          continue
        view = fitted(given, azimuth, elevation, lookat, most)
        if not free and given.get("lookat") is None and view.distance > _FAR:
          close = fitted(given, azimuth, elevation, motion.touch.tolist(), _CLOSER)
          if close.distance <= _FAR:
            view, most = close, _CLOSER
        result[name] = _look(renderer, env, motion, view)
        lookat, first, free = view.lookat, first if free else view.azimuth, free + 1
        azimuth = first + (-1 if first >= 90 else 1) * _TURN / free
      return result

    candidates = {
      direction: seen(*direction) for direction in itertools.product(_AZIMUTHS, _ELEVATIONS)
    }
  scores = {direction: _score(each.values()) for direction, each in candidates.items()}
  good = [each for each in scores if scores[each] >= _GOOD * max(scores.values())]
  nearest = min(good, key=lambda each: np.abs(np.subtract(each, _USUAL)).sum())
  return candidates[nearest], motion


def _score(views: Iterable[Seen]) -> float:
  """The geometric mean of the changes that the views show, 0 where the arm fills one."""
  changes = [each.change if each.robot <= _MOST_ROBOT else 0.0 for each in views]
  return float(np.prod(changes)) ** (1 / len(changes))


def _look(renderer: SceneRenderer, env: RobotEnv, motion: Motion, view: View) -> Seen:
  drawn = [renderer.geoms(env.model, data, view) for data in (motion.start, motion.end)]
  start, end = (np.isin(each, motion.geoms) for each in drawn)
  robot = max(float(np.isin(each, _robot(env)).mean()) for each in drawn)
  span = np.ptp(projected(motion.task, view), axis=0).max() / 2 if not view.camera else float("nan")
  object = float(start.mean()), float(end.mean())
  return Seen(view, float(span), object, float((start ^ end).mean()), robot)
