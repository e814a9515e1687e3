"""Environments as a config asks for them, and films of episodes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections
import numpy as np

from vipjax.envs import (
  CONTROL_STEP,
  RobotEnv,
  Stream,
  abandoned_expert,
  episode_seed,
  record_episode,
  task_names,
)
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.scene import View
from vipjax.stages.inputs import env_options
from vipjax.types import Video

# Unseen episodes are the same ones in every run, so that runs compare.
_UNSEEN_RUN = 0

Act = Callable[[np.ndarray], np.ndarray]


def open_env(config: ml_collections.ConfigDict, **options: Any) -> RobotEnv:
  """The config's environment, which draws as `config.record` says; `options` are RobotEnv's."""
  drawing = {"size": config.record.size, "quality": config.record.quality}
  return RobotEnv(**{**env_options(config.env), **drawing, **options})


def agent_options(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """RobotEnv's options for the agent: frames drawn as the videos were, actions held.

  Holding an action makes exploring torques add up instead of cancelling, and saves frames. An end
  effector's displacement is made anew in each control step.

  Raises:
    UserError: an action would be held for longer than an episode.
  """
  repeat, horizon = config.policy.action_repeat, config.env.horizon
  if repeat > horizon:
    raise UserError(
      f"expected config.policy.action_repeat of at most the horizon {horizon}, got {repeat}; "
      "lower it or raise config.env.horizon."
    )
  held = {"frame_skip": CONTROL_STEP * repeat, "horizon": horizon // repeat}
  sees = {"observes": "hand"} if config.policy.input == "frame" else {}
  return {**env_options(config.env), "quality": config.record.quality, **held, **sees}


def require_tasks(key: str, names: Iterable[str]) -> None:
  """Raises UserError where a key of a config names a task that Meta-World does not have."""
  unknown = sorted(set(names) - set(task_names()))
  if unknown:
    raise UserError(
      f"expected names of Meta-World tasks in config.{key}, got {unknown}; choose among "
      f"{', '.join(task_names())}."
    )


def unseen_seeds(count: int) -> list[int]:
  """Seeds of episodes that no run records to learn from."""
  return [episode_seed(Stream.UNSEEN, _UNSEEN_RUN, number) for number in range(count)]


def film_episodes(
  env: RobotEnv,
  record: ml_collections.ConfigDict,
  views: Mapping[str, View],
  seeds: Iterable[int],
  make_act: Callable[[RobotEnv, int], Act] | None = None,
  progress: Progress | None = None,
  **options: Any,
) -> list[Video]:
  """Films an episode for each seed.

  Args:
    env: the environment.
    record: the section `record` of a config.
    views: viewpoints by name.
    seeds: of the episodes.
    make_act: makes the policy of an episode from the environment and the seed; None is the expert.
    progress: is told of each episode.
    **options: those of `record_episode`; without them, `record`'s hold and frame_stride, and no
      copies without the robot.

  Returns:
    The videos of all episodes, in the order of `record_episode`.
  """
  options = {
    "hold": record.hold, "frame_stride": record.frame_stride, "robot_free": False, **options,
  }  # fmt: skip
  videos = []
  for episode, seed in enumerate(seeds):
    act = make_act(env, seed) if make_act else None
    videos += record_episode(env, views, seed, act=act, episode=episode, **options)
    if progress is not None:
      progress.update()
  return videos


def give_up(env: RobotEnv, seed: int, between: tuple[int, int]) -> Act:
  """An expert that turns into random motion after a number of steps drawn from a range."""
  return abandoned_expert(env, int(np.random.default_rng(seed).integers(*between)), seed)
