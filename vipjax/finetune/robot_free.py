"""The robot-free encoder: embeds a frame with the robot as another embeds it without the robot.

The frame without the robot says what the object does whatever the arm does, but only a simulator
draws it, and a film gets it afterwards (`launch.erase`). So an encoder learns it from the videos
that fine-tuning has: the robots of all their moments, turned, moved and mirrored, are laid over the
scenes of all their moments, and it is asked for what the first encoder makes of the scene alone.

What a robot hides nobody can tell. Asked for it all the same an encoder answers with the mean of
what it might be, so that a policy is paid for an arm before the camera. So it is asked for the
earliest scene of the film that would look the same: what cannot be seen has not been done. And
several learn it, on pictures of their own: where robots look like nothing in any film each errs in
its own way, and the reward takes the one that sees least done.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vipjax import losses
from vipjax.encoder import Preprocessing, ValueFunction, normalize_levels
from vipjax.runtime import skips
from vipjax.runtime.errors import UserError
from vipjax.videos import LazyVideo
from vipjax.videos.composite import differing

# Shares of a step's pictures: true ones, and scenes without a robot; the others are composites.
_TRUE, _EMPTY = 0.08, 0.05
# Of the composites: robots of films of the task, a second robot over the first, robots that are
# moved.
_OF_TASK, _TWO, _MOVED = 0.4, 0.3, 0.75
# How far robots are moved, in shares of the picture's side and radians, and are made smaller and
# larger; and the share of those that are mirrored.
_SHIFT, _TURN, _SCALE, _MIRRORED = 0.25, 0.6, (0.7, 2.5), 0.25
# A robot is the likelier drawn the more it covers, up to the latter share of the picture: many
# films show none most of the time.
_COVERED = (0.02, 0.25)
# A scene looks like another one if less than this share of their difference is seen; it is compared
# with so many of its film, spread evenly over the object's way.
_VISIBLE, _STATES = 0.15, 16
# Share of the scenes that are drawn evenly over a film; the others evenly over the object's way,
# which is a short part of it.
_EVENLY = 0.3


@dataclasses.dataclass(frozen=True)
class RobotFreeSettings:
  """Settings of its training; the defaults are those of configs/paper.py.

  Attributes:
    members: how many encoders, M.
    steps: updates of each.
    batch_size: pictures of an update.
    learning_rate: of Adam, from which it falls to 0 along a cosine.
  """

  members: int = 2
  steps: int = 800
  batch_size: int = 64
  learning_rate: float = 1e-3


class Layers(NamedTuple):
  """What the pictures of a step are made of, at the encoder's input size S (a pytree).

  The robots of one view lie side by side, those of the task's films first.

  Attributes:
    robots: uint8 [A, S, S, 4], colours where the robot is, 0 elsewhere, and its opacity.
    robots_upto: float32 [A], running sum of how likely each is drawn.
    scenes: uint8 [E, S, S, 3], frames of the task's robot-free films.
    shown: uint8 [E, S, S, 3], the same moments with the robot.
    targets: float32 [E, D], embeddings of the scenes.
    units: float32 [E], the greatest distance in a scene's film to its last frame.
    upto: float32 [E], how likely a scene or one before it is drawn.
    way: float32 [E], the share of the object's way up to a scene, from 0 to 1.
    states: int32 [E, K], scenes of a scene's film in their order, the first among them.
    threshold: float32 scalar, levels that a codec changes: smaller differences are none.
    first, of_task, last: float32 [E], where in the sum `robots_upto` the robots of a scene's view
      begin, those of the task's films end, and all end.
  """

  robots: jax.Array
  robots_upto: jax.Array
  scenes: jax.Array
  shown: jax.Array
  targets: jax.Array
  units: jax.Array
  upto: jax.Array
  way: jax.Array
  states: jax.Array
  threshold: jax.Array
  first: jax.Array
  of_task: jax.Array
  last: jax.Array


class RobotFreeState(NamedTuple):
  """All that changes in training (a pytree): as in `step.TrainState`, but of M encoders.

  `params`, `batch_stats` and `opt_state` are tuples of M.
  """

  step: jax.Array
  key: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  skipped: jax.Array


def make_layers(
  value: ValueFunction,
  pairs: Sequence[tuple[LazyVideo, LazyVideo]],
  others: Sequence[tuple[LazyVideo, LazyVideo]] = (),
  threshold: int = 0,
) -> Layers:
  """The layers of films and their robot-free twins.

  Args:
    value: the encoder whose embeddings of scenes are wanted.
    pairs: films of the task, each with its twin; their scenes are to be told.
    others: more films with twins from the same views, such as of random motion, for their robots.
    threshold: levels that a codec changes, see `composite.differing`.

  Raises:
    UserError: a film whose object does not move.
  """
  views = list(dict.fromkeys(_view(plain) for plain, _ in pairs))
  robots, parts, first, drawn = [], [], 0.0, []
  for view in views:
    own, more = ([each for each in films if _view(each[0]) == view] for films in (pairs, others))
    layers = [_robots(value, *pair, threshold) for pair in (*own, *more)]
    of_view = [np.clip(each[..., 3].mean(axis=(1, 2)) / 255, *_COVERED) for each in layers]
    robots, drawn = robots + layers, drawn + of_view
    of_task, last = (
      first + sum(each.sum() for each in likely) for likely in (of_view[: len(own)], of_view)
    )
    for plain, twin in own:
      targets = value.embed(twin[:])
      steps = np.linalg.norm(np.diff(targets, axis=0, prepend=targets[:1]), axis=-1)
      unit = np.linalg.norm(targets - targets[-1], axis=-1).max()
      if not unit > 1e-6:
        raise UserError(
          "expected an object that moves in the task's robot-free videos, whose motion "
          "config.reward.robot_free = 'predicted' is about, got one that stands still in "
          f"{twin.metadata['source']}; leave it out, or set robot_free to 'drawn'."
        )
      likely = _EVENLY / len(steps) + (1 - _EVENLY) * steps / steps.sum()
      way = np.cumsum(steps) / steps.sum()
      before = sum(len(part[0]) for part in parts)
      states = before + np.searchsorted(way, np.linspace(0, 1, _STATES, endpoint=False))
      each = np.ones(len(steps), np.int32)
      parts.append((
        _levels(value, twin[:]), _levels(value, plain[:]), targets, unit * each, likely,
        way, np.outer(each, states).astype(np.int32), first * each, of_task * each, last * each,
      ))  # fmt: skip
    first = last
  scenes, shown, targets, units, likely, way, states, *places = map(
    np.concatenate, zip(*parts, strict=True)
  )
  upto, robots_upto = np.cumsum(likely) / likely.sum(), np.cumsum(np.concatenate(drawn))
  units, upto, way, robots_upto, *places = (
    each.astype(np.float32) for each in (units, upto, way, robots_upto, *places)
  )
  return Layers(
    np.concatenate(robots), robots_upto, scenes, shown, targets, units, upto, way, states,
    np.float32(threshold), *places,
  )  # fmt: skip


def init_robot_free(
  key: jax.Array, value: ValueFunction, settings: RobotFreeSettings
) -> RobotFreeState:
  """The state before the first update: the variables of the encoder that it is to follow."""
  # Copies: the training step donates its state, and the caller keeps its value function.
  params, statistics = (
    tuple(jax.tree.map(jnp.array, value.variables.get(name, {})) for _ in range(settings.members))
    for name in ("params", "batch_stats")
  )
  opt_state = tuple(_optimizer(settings).init(each) for each in params)
  return RobotFreeState(
    jnp.int32(0), key, params, statistics, opt_state, jnp.zeros(2, jnp.int32)
  )  # fmt: skip


def make_robot_free_step(
  value: ValueFunction, settings: RobotFreeSettings
) -> Callable[[RobotFreeState, Layers], tuple[RobotFreeState, dict[str, jax.Array]]]:
  """The pure training step (state, layers) -> (state, metrics), for one device.

  It is an update of each encoder; the metrics are their means.

  Args:
    value: gives the architecture; its variables are not used.
    settings: of the training.
  """
  optimizer = _optimizer(settings)

  def loss_fn(params, statistics, levels, targets, units):
    variables = {"params": params, **({"batch_stats": statistics} if statistics else {})}
    embeddings, updated = value.module().apply(
      variables, normalize_levels(levels), train=True, mutable=["batch_stats"]
    )
    loss, metrics = losses.robot_free_loss(embeddings, targets, units)
    return loss, (metrics, updated.get("batch_stats", statistics))

  def update(key, layers, params, statistics, opt_state):
    levels, told = draw_pictures(key, layers, settings.batch_size)
    (loss, (metrics, statistics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      params, statistics, levels, layers.targets[told], layers.units[told]
    )
    updates, opt_state = optimizer.update(grads, opt_state)
    metrics = {"loss": loss, **metrics, "gradient_norm": optax.tree.norm(grads)}
    return (optax.apply_updates(params, updates), statistics, opt_state), metrics

  def step(state, layers):
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), settings.members)
    members = zip(state.params, state.batch_stats, state.opt_state, strict=True)
    made, metrics = zip(
      *(update(key, layers, *member) for key, member in zip(keys, members, strict=True)),
      strict=True,
    )
    metrics = jax.tree.map(lambda *each: sum(each) / len(each), *metrics)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
    params, statistics, opt_state = zip(*made, strict=True)
    new = state._replace(params=params, batch_stats=statistics, opt_state=opt_state)
    state = skips.keep_finite(finite, new, state)
    metrics["skipped"], metrics["skipped_in_a_row"] = state.skipped
    return state, metrics

  return step


def draw_pictures(key: jax.Array, layers: Layers, count: int) -> tuple[jax.Array, jax.Array]:
  """Draws pictures of scenes with a robot, and what can be told of them; jittable.

  Args:
    key: random key, consumed.
    layers: what they are made of.
    count: B, how many.

  Returns:
    float32 [B, S, S, 3], levels from 0 to 255; int32 [B], the scene that each is to be taken for.
  """
  scene_key, robot_key, second_key, two_key, kind_key = jax.random.split(key, 5)
  scene = jnp.searchsorted(layers.upto, jax.random.uniform(scene_key, (count,)))
  scene = jnp.minimum(scene, len(layers.scenes) - 1)
  layer, second = (_draw_robots(each, layers, scene) for each in (robot_key, second_key))
  two = jax.random.uniform(two_key, (count, 1, 1, 1)) < _TWO
  layer = jnp.where(two, layer + (1 - layer[..., 3:] / 255) * second, layer)
  seen = 1 - layer[..., 3:] / 255
  behind = layers.scenes[scene].astype(jnp.float32)
  made = layer[..., :3] + seen * behind
  kind = jax.random.uniform(kind_key, (count, 1, 1, 1))
  shown = layers.shown[scene].astype(jnp.float32)
  pictures = jnp.where(kind < _TRUE, shown, jnp.where(kind < _TRUE + _EMPTY, behind, made))
  told = jax.vmap(functools.partial(_told, layers))(scene, seen)
  return pictures, jnp.where(kind[:, 0, 0, 0] < _TRUE + _EMPTY, scene, told)


def _told(layers: Layers, scene: jax.Array, seen: jax.Array) -> jax.Array:
  """The earliest scene of its film that looks like a scene where `seen` [S, S, 1] is above 0."""
  states = layers.states[scene]
  # Every second pixel of a row and a column says as much.
  scenes, seen = layers.scenes[:, ::2, ::2], seen[None, ::2, ::2]
  of_states, own = scenes[states].astype(jnp.float32), scenes[scene].astype(jnp.float32)
  differences = jnp.abs(of_states - own[None])
  differences *= differences > layers.threshold
  whole = jnp.sum(differences, axis=(1, 2, 3))
  alike = jnp.sum(seen * differences, axis=(1, 2, 3)) < _VISIBLE * whole
  alike &= layers.way[states] < layers.way[scene]
  return jnp.where(jnp.any(alike), states[jnp.argmax(alike)], scene)


def with_robot_free_state(value: ValueFunction, state: RobotFreeState) -> list[ValueFunction]:
  """The encoders that have learnt, without the heads of the one that they follow."""
  made = []
  for params, statistics in jax.device_get(list(zip(state.params, state.batch_stats, strict=True))):
    variables = {"params": params, **({"batch_stats": statistics} if statistics else {})}
    made.append(
      ValueFunction(value.config, value.preprocessing, variables, value.metadata, value.dtype)
    )
  return made


def _draw_robots(key: jax.Array, layers: Layers, scene: jax.Array) -> jax.Array:
  """Layers float32 [B, S, S, 4] of robots from the views of scenes int32 [B]."""
  place_key, of_task_key, motion_key = jax.random.split(key, 3)
  of_task = jax.random.uniform(of_task_key, scene.shape) < _OF_TASK
  first, last = layers.first[scene], jnp.where(of_task, layers.of_task[scene], layers.last[scene])
  place = first + jax.random.uniform(place_key, scene.shape) * (last - first)
  robot = jnp.minimum(jnp.searchsorted(layers.robots_upto, place), len(layers.robots) - 1)
  keys = jax.random.split(motion_key, len(scene))
  return jax.vmap(_moved)(keys, layers.robots[robot].astype(jnp.float32))


def _moved(key: jax.Array, layer: jax.Array) -> jax.Array:
  """Mostly turns, shifts, scales and mirrors a picture float32 [S, S, C]; its border goes on."""
  keys = jax.random.split(key, 5)
  size = layer.shape[0]
  shift = size * jax.random.uniform(keys[0], (2,), minval=-_SHIFT, maxval=_SHIFT)
  turn = jax.random.uniform(keys[1], minval=-_TURN, maxval=_TURN)
  scale = jnp.exp(jax.random.uniform(keys[2], minval=-np.log(_SCALE[1]), maxval=-np.log(_SCALE[0])))
  mirror = jnp.where(jax.random.uniform(keys[3]) < _MIRRORED, -1.0, 1.0)
  moves = jax.random.uniform(keys[4]) < _MOVED
  middle = (size - 1) / 2
  rows, columns = jnp.meshgrid(jnp.arange(size) - middle, jnp.arange(size) - middle, indexing="ij")
  rows, columns = rows - shift[0], (columns - shift[1]) * mirror
  at = jnp.stack([
    scale * (jnp.cos(turn) * rows - jnp.sin(turn) * columns),
    scale * (jnp.sin(turn) * rows + jnp.cos(turn) * columns),
  ])  # fmt: skip
  row, column = jnp.clip(jnp.round(at + middle), 0, size - 1).astype(jnp.int32)
  return jnp.where(moves, layer[row, column], layer)


def _view(film: LazyVideo) -> str | None:
  return film.metadata.get("view")


def _robots(value: ValueFunction, plain: LazyVideo, twin: LazyVideo, threshold: int) -> np.ndarray:
  """uint8 [T, S, S, 4], the robot of each frame as `Layers` has it."""
  frames = plain[:]
  masks = differing(frames, twin[:], threshold)[..., None]
  colours = _levels(value, frames * masks)
  opacity = _levels(value, np.repeat(np.where(masks, 255, 0).astype(np.uint8), 3, axis=-1))
  return np.concatenate([colours, opacity[..., :1]], axis=-1)


def _levels(value: ValueFunction, frames: np.ndarray) -> np.ndarray:
  """uint8 [T, S, S, 3], frames at the encoder's input size."""
  chex.assert_type(frames, np.uint8)
  levels = _compiled_levels(value.preprocessing)
  return np.concatenate([np.asarray(levels(frame[None])).astype(np.uint8) for frame in frames])


@functools.cache
def _compiled_levels(preprocessing: Preprocessing) -> Callable[[np.ndarray], jax.Array]:
  """One program for all films of a size."""
  return jax.jit(preprocessing.levels)


def _optimizer(settings: RobotFreeSettings) -> optax.GradientTransformation:
  return optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.steps))
