"""Measures a value function on states off the expert's path."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.encoder.progress import PROGRESS
from vipjax.evaluation import off_path
from vipjax.evaluation.curves import progress_sums
from vipjax.reward import EmbeddingReward, RewardSettings
from vipjax.reward.channels import (
  ChannelGoal,
  Channels,
  channel_goals,
  make_reward,
  picture_channels,
)
from vipjax.reward.settings import DRAWN
from vipjax.types import Video

_REPORTED = ("progress", "hand", "object", "progress_disturbed", "object_disturbed", "success")
_HACKS = 8
_CHUNK = 16


class OffPath(NamedTuple):
  """The result of `measure_off_path`.

  Attributes:
    means: by potential the `off_path.correlations` that are not of one kind of rollout; "hacked",
      the share of states whose rank by the reward's potential exceeds that by progress by more
      than half of all ranks; and "hacked_policy", that share for the policy's states. All but
      "hacked_policy" exclude the policy's states, which differ between runs.
    record: JSON-able: all correlations, all states, and the hacks.
    hacks: uint8 [H, W, 3] by file name, the states whose rank by the reward's potential exceeds
      that by progress most.
  """

  means: dict[str, Any]
  record: dict[str, Any]
  hacks: dict[str, np.ndarray]


def measure_off_path(
  value: ValueFunction,
  videos: Sequence[Video],
  rollouts: Iterable[off_path.Rollout],
  channels: Channels,
  settings: RewardSettings | None = None,
  robot_free: Sequence[ValueFunction] = (),
) -> OffPath:
  """Returns correlations of the value with true progress over rollouts off the expert's path.

  A reward of the form "progress" has no potential: the sum that it has paid up to each state, 0 in
  the first, stands for it. With a progress head such sums are also measured for each channel, as
  "<channel>, progress".

  Args:
    value: the value function.
    videos: the videos that give the reward's goals.
    rollouts: films from the channels' views, also without the robot if any of the videos is.
    channels: the reward's channels.
    settings: the reward's settings; None is as published.
    robot_free: as `make_reward` takes it.
  """
  settings = settings or RewardSettings()
  paid_goals = channel_goals(channels, videos)
  paid = make_reward(paid_goals, value, settings, robot_free=robot_free)
  free = any(video.robot_visible is False for video in videos)
  every = dataclasses.replace(channels, plain_weight=1.0, robot_free_weight=float(free))
  goals = channel_goals(every, videos)
  reward = make_reward(
    goals,
    value,
    dataclasses.replace(settings, normalize="none", potential="goal", robot_free=DRAWN),
  )
  seen = [each.channel for each in goals]
  columns = [seen.index(each) for each in picture_channels(paid_goals, settings)]
  has_head = PROGRESS in value.variables
  names = [each.view + ("" if each.channel.robot_visible else ", robot-free") for each in goals]
  parts, shown = [], []
  for number, (kind, films, hand, target) in enumerate(rollouts):
    frames = _stack(films, goals)
    distances = _in_chunks(reward.potential, frames)[1]
    every_state = functools.partial(np.full, len(hand))
    parts.append({
      "kind": every_state(kind), "rollout": every_state(number), "time": films[0].seconds,
      "hand": hand, "object": target, "success": every_state(bool(films[0].success)),
      "distances": distances, "reward": _paid(paid, frames[:, columns]),
    })  # fmt: skip
    if has_head:
      sums = [progress_sums(value, each) for each in np.moveaxis(frames, 1, 0)]
      parts[-1]["progress"] = np.stack(sums, axis=1)
    shown.append(films[0].frames)
  joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  potentials = {"reward": joined.pop("reward")}
  potentials |= dict(zip(names, -joined.pop("distances").T, strict=True))
  if has_head:
    named = [f"{name}, progress" for name in names]
    potentials |= dict(zip(named, joined.pop("progress").T, strict=True))
  states = off_path.States(**joined, potentials=potentials)
  hacks, gap = off_path.reward_hacks(
    states.potentials["reward"], states.progress, states.rollout, _HACKS, states.kind
  )
  found, pictures = [], {}
  for number, index in enumerate(hacks):
    place = index - int(np.argmax(states.rollout == states.rollout[index]))
    pictures[f"hack{number}.png"] = shown[states.rollout[index]][place]
    found.append({"file": f"hack{number}.png", "state": index, "gap": gap[index]})
  correlations = off_path.correlations(states)
  means = {name: {aim: numbers[aim] for aim in _REPORTED} for name, numbers in correlations.items()}
  record = {"correlations": correlations, "states": off_path.record(states), "hacks": found}
  return OffPath(means | _hacked(states, gap), record, pictures)


def _stack(films: Sequence[Video], goals: Sequence[ChannelGoal]) -> np.ndarray:
  """Returns uint8 [T, C, H, W, 3] in the order of the channels."""
  by_channel = {(film.view, film.robot_visible): film.frames for film in films}
  return np.stack([by_channel[each.view, each.channel.robot_visible] for each in goals], axis=1)


def _hacked(states: off_path.States, gap: np.ndarray) -> dict[str, float]:
  shared = states.shared
  of_shared = off_path.rank_gap(states.potentials["reward"][shared], states.progress[shared])
  found = {"hacked": float(np.mean(of_shared > 0.5))}
  if not shared.all():
    found["hacked_policy"] = float(np.mean(gap[~shared] > 0.5))
  return found


def _paid(reward: EmbeddingReward, frames: np.ndarray) -> np.ndarray:
  """Returns float32 [T], the potential of states, or for "progress" the sum paid up to each."""
  if reward.telescopes:
    return _in_chunks(reward.potential, frames)[0]
  states, _ = _in_chunks(reward.state, frames)
  return np.append(np.float32(0), np.cumsum(reward.reward(states[:-1], states[1:])))


def _in_chunks(
  measure: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns both results for all frames, computed in chunks that share one compiled program."""
  made = []
  for start in range(0, len(frames), _CHUNK):
    part = frames[start : start + _CHUNK]
    padded = np.pad(part, [(0, _CHUNK - len(part))] + [(0, 0)] * 4)
    made.append(measure(padded))
  first, second = (np.concatenate(parts)[: len(frames)] for parts in zip(*made, strict=True))
  return first, second
