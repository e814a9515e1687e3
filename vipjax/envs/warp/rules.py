"""What of a Meta-World task is read from the poses of bodies, found by probing the task itself.

Meta-World has fifty tasks, each with code of its own for its object features and its success. A
simulator that has the scene without Meta-World needs the same numbers as functions of arrays. They
are found, not written down: of many random states of a task's scene, each feature is explained by
the pose of one body, and the success by the distance of one point to the goal. What so simple a
rule does not explain to a micrometre is refused, so a rule that is found is Meta-World's own.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np

from vipjax.envs.metaworld_task import object_to_target
from vipjax.envs.robot_env import RobotEnv
from vipjax.runtime.errors import UserError

NUM_FEATURES = 14
# Metres, and parts of a quaternion. Probes are computed in double precision.
_EXACT = 1e-6
_RESETS, _STATES = 8, 24
# Bodies whose distance is the gripper's opening, and the sites whose middle is the hand's centre.
_CLAWS, _TIPS = ("rightclaw", "leftclaw"), ("rightEndEffector", "leftEndEffector")


@dataclasses.dataclass(frozen=True)
class Point:
  """A point that a body carries: the body's position + R(its orientation) offset + shift.

  Attributes:
    body: the body's number.
    offset: metres, in the body's frame.
    shift: metres, in the world's frame.
  """

  body: int
  offset: tuple[float, float, float]
  shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Turn:
  """A quaternion feature.

  Attributes:
    body: the number of the body that turns it; -1 for a constant.
    quat: what follows the body's orientation, w x y z, or the constant as it is.
    scalar_last: whether the feature is x y z w with its largest part positive, as SciPy makes
      quaternions of matrices, rather than w x y z as MuJoCo has it.
  """

  body: int
  quat: tuple[float, float, float, float]
  scalar_last: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
  """The numbers of a task as functions of the poses of bodies.

  Attributes:
    objects: position and orientation of each object, in the order of the features.
    claws: the bodies whose distance is the gripper's opening.
    tips: the points whose middle is the hand's centre.
    measured: the point whose distance to the goal is judged, a number of `objects`; -1 is the
      hand's centre.
    shift: from that point to the one that is judged, metres, in the world's frame.
    axes: which of x, y, z count in that distance.
    radius: success is a distance of at most this, metres.
  """

  objects: tuple[tuple[Point, Turn], ...]
  claws: tuple[int, int]
  tips: tuple[Point, Point]
  measured: int
  shift: tuple[float, float, float]
  axes: tuple[bool, bool, bool]
  radius: float

  @classmethod
  def from_dict(cls, values: dict[str, Any]) -> Rules:
    """Makes them from `dataclasses.asdict` of them, read from JSON."""
    objects = tuple(
      (Point(**_tuples(point)), Turn(**_tuples(turn))) for point, turn in values["objects"]
    )
    tips = tuple(Point(**_tuples(point)) for point in values["tips"])
    return cls(**{**_tuples(values), "objects": objects, "tips": tips})


class Measured(NamedTuple):
  """The numbers of N states.

  Attributes:
    opening: float32 [N], of the gripper, 0 (shut) to 1.
    features: float32 [N, 14], Meta-World's object features.
    hand_to_object, object_to_target: float32 [N], metres, as `RobotEnv.distances` gives them.
    success: bool [N].
  """

  opening: jnp.ndarray
  features: jnp.ndarray
  hand_to_object: jnp.ndarray
  object_to_target: jnp.ndarray
  success: jnp.ndarray


def measure(rules: Rules, xpos: jnp.ndarray, xquat: jnp.ndarray, goal: jnp.ndarray) -> Measured:
  """Applies the rules; jittable.

  Args:
    rules: the task's.
    xpos: [N, bodies, 3], positions of bodies, metres, world frame.
    xquat: [N, bodies, 4], their orientations, w x y z.
    goal: [N, 3], the task's goal position.
  """
  right, left = (xpos[:, body] for body in rules.claws)
  opening = jnp.clip(jnp.linalg.norm(right - left, axis=-1) / 0.1, 0.0, 1.0)
  points = [carried(point, xpos, xquat) for point, _ in rules.objects]
  parts = [
    part
    for point, (_, turn) in zip(points, rules.objects, strict=True)
    for part in (point, turned(turn, xquat))
  ]
  known = jnp.concatenate(parts, axis=-1)
  features = jnp.pad(known, ((0, 0), (0, NUM_FEATURES - known.shape[1])))
  hand = sum(carried(tip, xpos, xquat) for tip in rules.tips) / 2.0
  judged = hand if rules.measured < 0 else points[rules.measured]
  shift, axes = (jnp.asarray(each, xpos.dtype)[None] for each in (rules.shift, rules.axes))
  apart = jnp.linalg.norm((judged + shift - goal) * axes, axis=-1)
  to_object = jnp.linalg.norm(hand - points[0], axis=-1)
  return Measured(opening, features, to_object, apart, apart <= rules.radius)


def carried(point: Point, xpos: jnp.ndarray, xquat: jnp.ndarray) -> jnp.ndarray:
  """Returns [N, 3], where the bodies of `measure` have the point."""
  quat = xquat[:, point.body]
  scalar, vector = quat[:, :1], quat[:, 1:]
  offset = jnp.broadcast_to(jnp.asarray(point.offset, xpos.dtype), vector.shape)
  across = 2.0 * jnp.cross(vector, offset)
  rotated = offset + scalar * across + jnp.cross(vector, across)
  return xpos[:, point.body] + rotated + jnp.asarray(point.shift, xpos.dtype)[None]


def turned(turn: Turn, xquat: jnp.ndarray) -> jnp.ndarray:
  """Returns [N, 4], the quaternion feature for the bodies of `measure`."""
  constant = jnp.broadcast_to(jnp.asarray(turn.quat, xquat.dtype), (len(xquat), 4))
  if turn.body < 0:
    return constant
  quat = _product(xquat[:, turn.body], constant)
  if not turn.scalar_last:
    return quat
  largest = jnp.take_along_axis(quat, jnp.argmax(jnp.abs(quat), -1, keepdims=True), -1)
  return jnp.roll(jnp.where(largest < 0, -quat, quat), -1, axis=-1)


def _product(a, b):
  """Quaternions [N, 4] a b, w x y z."""
  scalar, vector, other, following = a[:, :1], a[:, 1:], b[:, :1], b[:, 1:]
  return jnp.concatenate([
    scalar * other - (vector * following).sum(-1, keepdims=True),
    scalar * following + other * vector + jnp.cross(vector, following),
  ], axis=-1)  # fmt: skip


def find_rules(env: RobotEnv) -> Rules:
  """Finds the rules of an environment's task by probing it.

  Args:
    env: the environment under torque control; it has to be reset afterwards.

  Raises:
    UserError: the task's features, its success or its distance to the target are of another kind.
  """
  probes = [_probed(env) for _ in _random_states(env, np.random.default_rng(0))]
  xpos, xquat = (np.stack([getattr(probe, name) for probe in probes]) for name in ("xpos", "xquat"))
  features = np.stack([probe.features for probe in probes])
  count = len(env.task._get_pos_objects()) // 3
  objects = tuple(
    (
      _point(features[:, 7 * i : 7 * i + 3], xpos, xquat, env.task_name),
      _turn(features[:, 7 * i + 3 : 7 * i + 7], xquat, env.task_name),
    )
    for i in range(count)
  )
  model = env.model
  claws = tuple(int(model.body(name).id) for name in _CLAWS)
  tips = tuple(
    Point(int(model.site_bodyid[site.id]), tuple(map(float, site.pos)))
    for site in map(model.site, _TIPS)
  )
  rules = Rules(objects, claws, tips, *_success(env, count, np.random.default_rng(0)))
  goals = np.stack([probe.goal for probe in probes])
  found = measure(rules, *(jnp.asarray(each) for each in (xpos, xquat, goals)))
  told = np.array([probe.object_to_target for probe in probes])
  # JAX computes in single precision.
  if np.abs(np.asarray(found.object_to_target) - told).max() > 1e-5:
    raise _unknown(env.task_name, "distance to the target")
  return rules


class _Probe(NamedTuple):
  """What Meta-World says of a state, beside the poses of bodies."""

  xpos: np.ndarray
  xquat: np.ndarray
  features: np.ndarray
  goal: np.ndarray
  object_to_target: float


def _random_states(env: RobotEnv, rng: np.random.Generator) -> Iterator[None]:
  """Brings the environment into one state after another, all over its joints' ranges."""
  model, data = env.model, env.data
  own = np.isin(np.arange(model.njnt), [model.joint(name).id for name in env.robot.arm_joints])
  for reset in range(_RESETS):
    env.reset(seed=reset)
    first = data.qpos.copy()
    for _ in range(_STATES):
      for number in range(model.njnt):
        start, kind = model.jnt_qposadr[number], model.jnt_type[number]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
          data.qpos[start : start + 3] = first[start : start + 3] + rng.normal(0.0, 0.1, 3)
          quat = rng.normal(size=4)
          data.qpos[start + 3 : start + 7] = quat / np.linalg.norm(quat)
        elif own[number]:
          data.qpos[start] = first[start] + rng.normal(0.0, 0.3)
        else:
          low, high = model.jnt_range[number] if model.jnt_limited[number] else (-1.0, 1.0)
          data.qpos[start] = rng.uniform(low, high)
      mujoco.mj_kinematics(model, data)
      env._place_markers()
      yield


def _probed(env: RobotEnv) -> _Probe:
  observation = env.scripted_observation()
  _, info = _evaluated(env)
  apart = object_to_target(env.task_name, env.task, info)
  xpos, xquat = env.data.xpos.copy(), env.data.xquat.copy()
  return _Probe(xpos, xquat, observation[4:18], observation[-3:].copy(), apart)


def _evaluated(env: RobotEnv) -> tuple[float, dict[str, Any]]:
  with warnings.catch_warnings(), np.errstate(all="ignore"):
    # Shaped rewards divide by distances that a random state may have at 0.
    warnings.simplefilter("ignore")
    return env.task.evaluate_state(env.scripted_observation(), np.zeros(4, np.float32))


def _point(feature: np.ndarray, xpos: np.ndarray, xquat: np.ndarray, task: str) -> Point:
  """The point [S, 3] as one that a body carries, by least squares for one body after another."""
  states, bodies, _ = xpos.shape
  best = None
  for body in range(bodies):
    frames = np.zeros((states, 9))
    for state in range(states):
      mujoco.mju_quat2Mat(frames[state], xquat[state, body])
    columns = np.concatenate([frames.reshape(-1, 3), np.tile(np.eye(3), (states, 1))], axis=1)
    wanted = (feature - xpos[:, body]).reshape(-1)
    found = np.linalg.lstsq(columns, wanted, rcond=1e-9)[0]
    # Of several bodies that carry it the nearest, which is none of the world's if it moves.
    if np.abs(columns @ found - wanted).max() < _EXACT:
      length = float(np.linalg.norm(found))
      if best is None or length < best[0] - _EXACT:
        best = length, Point(body, tuple(map(float, found[:3])), tuple(map(float, found[3:])))
  if best is None:
    raise _unknown(task, "object's position")
  return best[1]


def _turn(feature: np.ndarray, xquat: np.ndarray, task: str) -> Turn:
  """The quaternion [S, 4] as one that a body turns, or a constant."""
  if np.ptp(feature, axis=0).max() < _EXACT:
    return Turn(-1, tuple(map(float, feature[0])))
  for scalar_last, body in itertools.product((False, True), range(xquat.shape[1])):
    quat = np.roll(feature, 1, axis=-1) if scalar_last else feature
    inverse = xquat[0, body] * [1, -1, -1, -1]
    follows = np.zeros(4)
    mujoco.mju_mulQuat(follows, inverse, quat[0])
    turn = Turn(body, tuple(map(float, follows)), scalar_last)
    if np.abs(np.asarray(turned(turn, jnp.asarray(xquat))) - feature).max() < 1e-5:
      return turn
  raise _unknown(task, "object's orientation")


def _success(
  env: RobotEnv, count: int, rng: np.random.Generator
) -> tuple[int, tuple[float, float, float], tuple[bool, bool, bool], float]:
  """What `Rules` has of the success: the point, the shift, the axes and the radius.

  The goal is moved about the point, for it can be brought anywhere: success ends at the radius
  along each axis that counts and nowhere along the others.
  """
  task, kept = env.task, env.task._target_pos

  def succeeds(target: np.ndarray) -> bool:
    task._target_pos = target
    try:
      return bool(_evaluated(env)[1]["success"])
    except ValueError as error:  # of a shaped reward that has no number for a goal so near
      raise _unknown(env.task_name, "success") from error

  def reach(start: np.ndarray, way: np.ndarray) -> float:
    low, high = 0.0, 1.0
    if succeeds(start + way):
      return np.inf
    while high - low > _EXACT / 10:
      middle = (low + high) / 2
      low, high = (middle, high) if succeeds(start + middle * way) else (low, middle)
    return high

  def reaches(start: np.ndarray) -> np.ndarray:
    return np.array([[reach(start, sign * way) for sign in (1, -1)] for way in np.eye(3)])

  points = {i: (lambda i=i: task._get_pos_objects()[3 * i : 3 * i + 3]) for i in range(count)}
  points[-1] = lambda: task.tcp_center
  states = _random_states(env, rng)
  next(states)
  try:
    for number, point in points.items():
      start = np.array(point())
      if not succeeds(start):
        continue
      # The middle of a chord of a ball is as far along it as the ball's.
      first = reaches(start)
      axes = np.isfinite(first).all(axis=1)
      shift = np.subtract(*np.where(axes[:, None], first, 0.0).T) / 2
      reached = reaches(start + shift)[axes]
      if not axes.any() or np.ptp(reached) > 2 * _EXACT:
        continue
      shift, radius = np.round(shift, 6) + 0.0, round(float(reached.mean()), 6)
      rule = point, shift, axes, radius
      if all(_agrees(succeeds, *rule, rng, states) for _ in range(40)):
        return number, tuple(map(float, shift)), tuple(map(bool, axes)), radius
  finally:
    task._target_pos = kept
  raise _unknown(env.task_name, "success")


def _agrees(succeeds, point, shift, axes, radius: float, rng, states) -> bool:
  """Whether the rule foretells success in the next random state, near the radius."""
  next(states)
  way = rng.normal(size=3)
  apart = way / np.linalg.norm(way * axes) * radius * rng.uniform(0.5, 1.5)
  return succeeds(point() + shift + apart) == (np.linalg.norm(apart * axes) <= radius)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
  return {
    name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
    for name, value in values.items()
  }


def _unknown(task: str, what: str) -> UserError:
  return UserError(
    f"expected a task whose {what} follows from the pose of one body, as that of window-open, got "
    f"{task}; use it with MuJoCo on the CPU (policy.backend mujoco)."
  )
