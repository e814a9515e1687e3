"""Rollouts that leave the expert's path, and what the value says of their states."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.envs import (
  Channel,
  RobotEnv,
  Stream,
  abandoned_expert,
  env_options,
  episode_seed,
  noisy_expert,
  random_motion,
  record_episode,
)
from vipjax.evaluation import off_path
from vipjax.finetune import load_videos
from vipjax.reward import EmbeddingReward
from vipjax.runtime import files
from vipjax.runtime.progress import Progress
from vipjax.sac import agent_options, load_actor, make_reward, policy_views
from vipjax.scene import View
from vipjax.types import Video
from vipjax.videos import write_image

FOLDER = "off_path"
_REPORTED = ("progress", "hand", "object", "progress_disturbed", "object_disturbed", "success")
# Rollouts are the same ones in every run, so that runs compare.
_ROLLOUTS_RUN = 0
# Deviation of the noise on perturbed experts' actions.
_NOISE = 0.4
# Steps after which experts are abandoned: they take about 80 to open a window.
_ABANDON = (10, 75)
_HACKS = 8
_CHUNK = 16


def measure_off_path(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  rollouts: Iterable[off_path.Rollout] | None = None,
) -> dict[str, Any]:
  """Correlation of the value with true progress over rollouts that leave the expert's path.

  Rollouts are experts disturbed by noise, experts that turn into random motion half way, random
  motion, and episodes of the run's policy if it has one: config.evaluate.off_path_episodes of
  each. Goals are those of the policy's reward. Writes `off_path/off_path.json` with all states and
  `off_path/hack<n>.png`, the states that the reward's potential likes most beyond their progress.

  Args:
    config: keys as declared in configs/paper.py; config.evaluate.off_path_episodes >= 1.
    workdir: the run folder, after fine-tuning.
    rollouts: those of `roll_out`, where several encoders are to share them; None makes them.

  Returns:
    Of `off_path.correlations`, by potential, all that is not of one kind of rollout (the file
    also has them by kind of rollout), "hacked", the share of states whose rank by the reward's
    potential is above that by progress by more than half of all ranks, and "hacked_policy", the
    share of the policy's own ones. Those that do not say policy leave it out: its states differ
    from run to run, the others do not.
  """
  value, videos = encoder.load(workdir), load_videos(config, workdir)
  paid, paid_channels, size = make_reward(config, value, videos)
  every = config.copy_and_resolve_references()
  free = any(video.robot_visible is False for video in videos)
  every.reward.update({"plain_weight": 1.0, "robot_free_weight": float(free), "normalise": "none"})
  reward, channels, _ = make_reward(every, value, videos)
  columns = [channels.index(channel) for channel in paid_channels]
  parts = []
  if rollouts is None:
    rollouts = roll_out(config, workdir, size, free)
  for kind, films, hand, target in rollouts:
    frames = _stack(films, channels, policy_views(config))
    distances = _potential(reward, frames)[1]
    parts.append({
      "kind": kind, "video": films[0], "hand": hand, "object": target, "distances": distances,
      "reward": _potential(paid, frames[:, columns])[0],
    })  # fmt: skip
  states = _states(parts, _channel_names(channels, policy_views(config)))
  hacks, gap = off_path.reward_hacks(
    states.potentials["reward"], states.progress, states.rollout, _HACKS, states.kind
  )
  folder = workdir / FOLDER
  found = []
  for number, index in enumerate(hacks):
    part = parts[states.rollout[index]]
    place = index - int(np.argmax(states.rollout == states.rollout[index]))
    write_image(folder / f"hack{number}.png", part["video"].frames[place], overwrite=True)
    found.append({"file": f"hack{number}.png", "state": index, "gap": gap[index]})
  correlations = off_path.correlations(states)
  files.write_json(
    folder / "off_path.json",
    {"correlations": correlations, "states": off_path.record(states), "hacks": found},
  )
  result = {
    name: {aim: numbers[aim] for aim in _REPORTED} for name, numbers in correlations.items()
  }
  return result | _hacked(states, gap)


def roll_out(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, size: int, free: bool
) -> Iterator[off_path.Rollout]:
  """The rollouts of `measure_off_path`, one after another.

  They depend on the config and, if the run has one, on its policy, and not on its encoder.

  Args:
    config: as there.
    workdir: the run folder, for its policy.
    size: pixels of the frames.
    free: whether they are also drawn without the robot.
  """
  views, count = policy_views(config), config.evaluate.off_path_episodes
  has_policy = (workdir / "policy" / "actor.safetensors").exists()
  kinds = ("perturbed", "abandoned", "random", *((off_path.POLICY,) if has_policy else ()))
  expert_options = {**env_options(config.env), "quality": config.record.quality}
  with Progress(count * len(kinds), FOLDER, unit="rollout") as progress:
    for number, kind in enumerate(kinds):
      # A policy sees and acts once for several control steps.
      options = agent_options(config) if kind == off_path.POLICY else expert_options
      stride = 1 if kind == off_path.POLICY else config.record.frame_stride
      with RobotEnv(**options, size=size) as env:
        actor = load_actor(workdir) if kind == off_path.POLICY else None
        for episode in range(count):
          seed = episode_seed(Stream.OFF_PATH, _ROLLOUTS_RUN, number * 1000 + episode)
          noted: list[tuple[float, float]] = []
          films = record_episode(
            env, views, seed, robot_free=free, hold=config.record.hold, frame_stride=stride,
            act=actor or _act(kind, env, seed), episode=episode,
            at_frame=lambda env=env, noted=noted: noted.append(env.distances()),
          )  # fmt: skip
          yield off_path.Rollout(kind, films, *np.array(noted).T)
          progress.update()


def _act(kind: str, env: RobotEnv, seed: int) -> Callable[[np.ndarray], np.ndarray]:
  rng = np.random.default_rng(seed)
  if kind == "perturbed":
    return noisy_expert(env, _NOISE, rng)
  if kind == "abandoned":
    return abandoned_expert(env, int(rng.integers(*_ABANDON)), seed)
  return random_motion(seed, env.action_space.shape[0])


def _hacked(states: off_path.States, gap: np.ndarray) -> dict[str, float]:
  shared = states.shared
  of_shared = off_path.rank_gap(states.potentials["reward"][shared], states.progress[shared])
  found = {"hacked": float(np.mean(of_shared > 0.5))}
  if not shared.all():
    found["hacked_policy"] = float(np.mean(gap[~shared] > 0.5))
  return found


def _stack(films: Sequence[Video], channels: Sequence[Channel], views: dict[str, View]):
  """uint8 [T, C, H, W, 3] in the order of the channels."""
  by_channel = {Channel(views[film.view], film.robot_visible): film.frames for film in films}
  return np.stack([by_channel[channel] for channel in channels], axis=1)


def _channel_names(channels: Sequence[Channel], views: dict[str, View]) -> list[str]:
  names = {view: name for name, view in views.items()}
  return [names[c.view] + ("" if c.robot_visible else ", robot-free") for c in channels]


def _potential(reward: EmbeddingReward, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """`EmbeddingReward.potential` a few states at a time, compiled once for all rollouts."""
  made = []
  for start in range(0, len(frames), _CHUNK):
    part = frames[start : start + _CHUNK]
    padded = np.pad(part, [(0, _CHUNK - len(part))] + [(0, 0)] * 4)
    made.append(reward.potential(padded))
  potential, distances = (np.concatenate(parts)[: len(frames)] for parts in zip(*made, strict=True))
  return potential, distances


def _states(parts: Sequence[dict], names: Sequence[str]) -> off_path.States:
  def joined(make):
    return np.concatenate([make(number, part) for number, part in enumerate(parts)])

  def repeated(make):
    return joined(lambda number, part: np.repeat(make(number, part), len(part["hand"])))

  distances = joined(lambda _, part: part["distances"])
  return off_path.States(
    kind=repeated(lambda _, part: part["kind"]),
    rollout=repeated(lambda number, _: number),
    time=joined(lambda _, part: part["video"].seconds),
    hand=joined(lambda _, part: part["hand"]),
    object=joined(lambda _, part: part["object"]),
    success=repeated(lambda _, part: bool(part["video"].success)),
    potentials={"reward": joined(lambda _, part: part["reward"])}
    | {name: -distances[:, column] for column, name in enumerate(names)},
  )
