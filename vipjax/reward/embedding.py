"""Rewards from pictures: goals, the potential of a state, and its change over a step.

The potential of a state is minus a weighted sum of distances to goal frames, as the value's head
has them, one per channel (a viewpoint, with or without the robot); the publication has one channel
of weight 1. The reward of a step is the change of the potential, V(o', g) - V(o, g). Distances are
not bounded: a state unlike any that the encoder knows may cost many times what the whole way to the
goal earns. With a saturation s the distance x counts as x (1 + s) / (x + s): 0 at the goal, 1 at 1,
less than 1 + s anywhere.

The potentials "path" and "subgoal" ask the whole films, not only their ends (`reward.films`).

An encoder with a progress head may pay a step for its own progress instead, F(o, o')
(arXiv:2509.26627): no goal is in it, and it is the difference of no potential.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder import HEAD, L2, Head, ValueFunction, goal_distances, reduce_goals
from vipjax.encoder.progress import PROGRESS, signed_progress
from vipjax.envs import Seen
from vipjax.reward.films import along_path, by_subgoals, checked_films, subgoals
from vipjax.reward.settings import PREDICTED, RewardSettings
from vipjax.runtime import parallel
from vipjax.runtime.errors import UserError

_signed_progress = jax.jit(signed_progress)


class EmbeddingReward:
  """The potential of frames and the reward of steps, for one value function and its goals.

  Attributes:
    num_channels: number of pictures of a state, P: one a channel, unless the embeddings without the
      robot are predicted from the pictures with it.
    settings: the reward's settings.
    common: all that `in_program`'s functions know of this reward's value and goals, a pytree placed
      on the devices.
    state_shape, telescopes: as in `interface.Reward`, which this is; it remembers of a state its
      potential, or for the form "progress" the embeddings [C, D] of its frames.
  """

  def __init__(
    self,
    value: ValueFunction,
    goals: Sequence[np.ndarray],
    first_frames: Sequence[np.ndarray] | None,
    weights: Sequence[float],
    settings: RewardSettings | None = None,
    devices: Sequence[jax.Device] | None = None,
    films: Sequence[Sequence[np.ndarray]] | None = None,
    robot_visible: Sequence[bool] | None = None,
    robot_free: Sequence[ValueFunction] = (),
    pictures: Sequence[int] | None = None,
  ):
    """Embeds the goals.

    Args:
      value: the value function.
      goals: goal frames of each channel, uint8 [H, W, 3] or [G, H, W, 3].
      first_frames: frame uint8 [H, W, 3] of each channel for `normalize="first_frame"`; otherwise
        None suffices.
      weights: weight of each channel, >= 0.
      settings: None is as published.
      devices: devices that share the states of a call; None is JAX's first.
      films: for the potentials "path" and "subgoal" of each channel its films, uint8 [T, H, W, 3],
        the same episodes at the same moments in all channels; otherwise None suffices.
      robot_visible: for "subgoal" whether each channel shows the robot, some do and some do not;
        otherwise None suffices.
      robot_free: embed a picture with the robot as `value` embeds the same without it
        (`finetune.robot_free`), for the channels that do not show it, all of one architecture. Of
        several the least potential counts. Empty: these channels have pictures of their own.
      pictures: with `robot_free`, the picture of each channel, from 0 to P - 1.

    Raises:
      UserError: lists of different lengths, no channel, a first frame that equals the goal, the
        form "progress" for an encoder without a progress head or with `robot_free`, other encoders
        than `value`'s architecture in it, or films that do not fit.
    """
    self.settings = settings or RewardSettings()
    self.telescopes = self.settings.form != "progress"
    self.state_shape = () if self.telescopes else (len(goals), value.config.embedding_dim)
    firsts = [None] * len(goals) if first_frames is None else list(first_frames)
    if not len(goals) == len(firsts) == len(weights) > 0:
      raise UserError(
        "expected one goal, first frame and weight for each of at least one channel, got "
        f"{len(goals)}, {len(firsts)} and {len(weights)}; pass lists of one length."
      )
    self._robot_free = list(robot_free)
    _check_robot_free(value, self._robot_free, self.settings)
    self._pictures = list(range(len(goals)) if pictures is None else pictures)
    self.num_channels = max(self._pictures) + 1
    factors = np.asarray(weights, np.float32)
    if not (np.isfinite(factors).all() and (factors >= 0).all() and factors.sum() > 0):
      raise UserError(
        f"expected channel weights >= 0 with a sum above 0, got {list(weights)}; change them."
      )
    if self.settings.normalize == "first_frame" and any(first is None for first in firsts):
      raise UserError(
        "expected first frames of all channels for normalize='first_frame', got none; pass them "
        "or set normalize to 'none'."
      )
    devices = jax.local_devices()[:1] if devices is None else devices
    self._place = functools.partial(parallel.replicate, devices=devices)
    kind = self.settings.potential
    self._films = None if kind == "goal" else checked_films(kind, films, len(goals))
    self._visible = np.array(robot_visible if robot_visible else [True] * len(goals))
    if kind == "subgoal" and self._visible.all() | ~self._visible.any():
      raise UserError(
        "expected channels with the robot and channels without it for the reward's potential "
        f"'subgoal', got robot_visible {self._visible.tolist()}; give config.reward.plain_weight "
        "and robot_free_weight values above 0, or set potential to 'goal'."
      )
    embed = _embed_channels(value, self._robot_free, self._visible, self._pictures)
    self._function = _make_compute(
      embed, _measuring(value, self.settings).head, self.settings, self._visible,
      not self.telescopes,
    )  # fmt: skip
    self._compute = parallel.compile_map(self._function, devices)
    self._goals, self._firsts, self._weights = list(goals), firsts, factors
    self.common = self._measured_by(value)

  def __reduce__(self):
    """Copies and pickles the arguments, for JAX's first device; programs cannot be copied."""
    made_of = self._value, self._goals, self._firsts, self._weights, self.settings, None
    seen = self._visible.tolist(), self._robot_free, self._pictures
    return EmbeddingReward, (*made_of, self._films, *seen)

  def with_value(self, value: ValueFunction) -> EmbeddingReward:
    """Returns the same reward for a value function with other variables, without compiling.

    Args:
      value: a value function of the same architecture and preprocessing.

    Raises:
      UserError: as the constructor does.
    """
    other = copy.copy(self)
    other.common = other._measured_by(value)
    return other

  def _measured_by(self, value: ValueFunction):
    """Returns variables, goals' embeddings, weights and units of the distances, placed."""
    self._value = value
    value = _measuring(value, self.settings)
    if not self.telescopes:
      value.require_progress()
    starts = np.ones(len(self._goals))
    if self.settings.normalize == "first_frame":
      starts = np.array([
        value.distance(first[None], goal, self.settings.goal_reduction)[0]
        for first, goal in zip(self._firsts, self._goals, strict=True)
      ])  # fmt: skip
      if not (starts > 1e-6).all():
        raise UserError(
          f"expected first frames at a distance from their goal, got {starts.tolist()}; give a "
          "video that starts away from its goal and whose changes the value function sees."
        )
    reduction = self.settings.goal_reduction
    embedded = [
      reduce_goals(value.embed(goal if goal.ndim == 4 else goal[None]), reduction)
      for goal in self._goals
    ]
    path = ()
    if self._films is not None:
      embedded_films = [np.concatenate(list(map(value.embed, films))) for films in self._films]
      frames, lengths = np.stack(embedded_films, axis=1), list(map(len, self._films[0]))
      if self.settings.potential == "subgoal":
        move, rest = self.settings.subgoal_move, self.settings.subgoal_rest
        path = subgoals(frames, lengths, ~self._visible, starts, move, rest)
      else:
        places = np.concatenate([np.linspace(0, 1, length) for length in lengths])
        path = frames, places.astype(np.float32)
    variables = value.variables, [each.variables for each in self._robot_free]
    return self._place((
      variables, embedded, self._weights, starts.astype(np.float32),
      (self._weights / starts).astype(np.float32), path,
    ))  # fmt: skip

  def potential(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns potential and distances of N states, embedded in one call.

    Args:
      frames: uint8 [N, P, H, W, 3].

    Returns:
      float32 [N], minus the weighted sum of distances as they count, or what stands along the path,
      without the reward's scale; float32 [N, C], the distances to the goals in embedding units.
    """
    potential, distances, *_ = self._measure(frames)
    return potential, distances

  def state(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to remember of N states, embedded in one call, for `reward`.

    Args:
      frames: uint8 [N, P, H, W, 3].

    Returns:
      float32 [N, *state_shape]; float32 [N, C], the distances in embedding units.
    """
    potential, distances, *embeddings = self._measure(frames)
    return (potential if self.telescopes else embeddings[0]), distances

  def _measure(self, frames: np.ndarray) -> list[np.ndarray]:
    """Returns potential, distances and, for "progress", embeddings float32 [N, C, D]."""
    if frames.ndim != 5 or frames.shape[1] != self.num_channels:
      raise UserError(
        f"expected frames [N, {self.num_channels}, H, W, 3], all pictures of a state, got "
        f"{frames.shape}; pass one for each."
      )
    # All copies to the host start before the first is waited for.
    return list(jax.device_get(self._compute(self.common, frames)))

  def reward(self, state: np.ndarray, next_state: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps, from the states before and after."""
    if self.telescopes:
      return self.settings.pay(state, next_state)
    progress = np.asarray(_signed_progress(self._value.variables[PROGRESS], state, next_state))
    return self.settings.pay_progress(progress @ self._weights)

  def observe(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Returns `state` of the first pictures."""
    return self.state(seen.frames[:, : self.num_channels])

  def in_program(self) -> tuple[Callable, Callable]:
    """Returns `state` and `reward` as functions of arrays, parts of a program on one device.

    Returns:
      (common, frames) -> (states, distances); (common, states, next states) -> rewards; both pure,
      and the same for every reward that comes of this one by `with_value`.
    """
    compute, settings, telescopes = self._function, self.settings, self.telescopes

    def state(common, frames):
      potential, distances, *embeddings = compute(common, frames)
      return (potential if telescopes else embeddings[0]), distances

    def reward(common, state, next_state):
      if telescopes:
        return settings.pay(state, next_state)
      (variables, _), _, weights, *_ = common
      progress = signed_progress(variables[PROGRESS], state, next_state)
      return settings.pay_progress(progress @ weights)

    return state, reward

  def gain(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the returns of N episodes from their ends; not for "progress"."""
    return self.settings.scale * (last - first)


def _measuring(value: ValueFunction, settings: RewardSettings) -> ValueFunction:
  """The value with the head of the reward's distances."""
  return value if settings.potential == "goal" else value.replace(head=L2)


def _check_robot_free(
  value: ValueFunction, robot_free: Sequence[ValueFunction], settings: RewardSettings
) -> None:
  if (settings.robot_free == PREDICTED) > bool(robot_free):
    raise UserError(
      "expected encoders as robot_free for the setting robot_free = 'predicted', got none; give "
      "them, or set it to 'drawn'."
    )
  if robot_free and settings.form == "progress":
    raise UserError(
      "expected another reward form than 'progress' with robot_free, whose embeddings no progress "
      "head knows, got it; choose another form, or draw the frames."
    )
  if robot_free:
    value.require_l2("robot_free, which compares embeddings")
  for each in robot_free:
    if (each.config, each.preprocessing) != (value.config, value.preprocessing):
      raise UserError(
        f"expected encoders of the value's own architecture as robot_free, got {each.config} with "
        f"{each.preprocessing} for {value.config} with {value.preprocessing}; take those that "
        "were trained for it."
      )


def _embed_channels(
  value: ValueFunction,
  robot_free: Sequence[ValueFunction],
  visible: np.ndarray,
  pictures: Sequence[int],
) -> Callable[[tuple[Any, list[Any]], jax.Array], list[jax.Array]]:
  """Returns (variables of all, pictures [N, P, H, W, 3]) -> embeddings [N, C, D] of channels.

  There is one for each of `robot_free`, or one where all channels have pictures of their own.
  """
  embed, chosen = value.embed_fn, np.array(pictures)
  if not robot_free:
    return lambda variables, frames: [embed(variables[0], frames)]
  embed_free = robot_free[0].embed_fn

  def embed_all(variables, frames):
    free = [embed_free(each, frames)[:, chosen] for each in variables[1]]
    if not visible.any():
      return free
    shown = embed(variables[0], frames)[:, chosen]
    return [jnp.where(visible[None, :, None], shown, each) for each in free]

  return embed_all


def _make_compute(
  embed: Callable,
  head: Head,
  settings: RewardSettings,
  visible: np.ndarray,
  with_embeddings: bool,
):
  saturation = settings.saturation

  def counted(distances, units):
    x = distances / units[None]
    return x * (1 + saturation) / (x + saturation) if saturation else x

  def measure(variables, common, embeddings):
    _, goals, weights, units, factors, path = common
    distances = jnp.stack(
      [
        goal_distances(embeddings[:, c], each, head, variables.get(HEAD))
        for c, each in enumerate(goals)
      ],
      axis=1,
    )

    def along_films(joined, frames, units):
      # One film frame at a time: [N, F, C, D] of a large batch does not fit.
      def to_frame(frame):
        return joined(counted(jnp.linalg.norm(embeddings - frame[None], axis=-1), units))

      return jax.lax.map(to_frame, frames)

    if path and settings.potential == "subgoal":
      shown, hidden = jnp.where(visible, weights, 0), jnp.where(visible, 0, weights)
      object_away, arm_away = along_films(
        lambda away: (away @ hidden / jnp.sum(hidden), away @ shown), path.frames, path.units
      )
      potential = by_subgoals(
        object_away, arm_away, path, jnp.sum(hidden), settings.subgoal_temperature
      )
    elif path:
      away = along_films(lambda away: away @ (weights / jnp.sum(weights)), path[0], units).T
      potential = jnp.sum(weights) * along_path(
        away, path[1], settings.path_distance_weight, settings.path_temperature
      )
    elif not saturation:
      potential = -jnp.sum(distances * factors[None], axis=1)
    else:
      potential = -jnp.sum(counted(distances, units) * weights[None], axis=1)
    return potential, distances

  def compute(common, frames):
    embedded = embed(common[0], frames)
    found = [measure(common[0][0], common, each) for each in embedded]
    if with_embeddings:
      return *found[0], embedded[0]
    if len(found) == 1:
      return found[0]
    potentials, distances = map(jnp.stack, zip(*found, strict=True))
    least = jnp.argmin(potentials, axis=0)
    chosen = jnp.take_along_axis(distances, least[None, :, None], axis=0)[0]
    return jnp.min(potentials, axis=0), chosen

  return compute
