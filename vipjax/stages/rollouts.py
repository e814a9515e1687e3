"""Episodes that are filmed to be measured: off the expert's path, and with labels of each pixel."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import ml_collections
import numpy as np

from vipjax.envs import (
  RobotEnv,
  Stream,
  abandoned_expert,
  episode_seed,
  noisy_expert,
  random_motion,
  record_episode,
)
from vipjax.evaluation import off_path
from vipjax.runtime.progress import Progress
from vipjax.sac import load_actor
from vipjax.scene import View
from vipjax.stages.agent import agent_options, policy_views
from vipjax.stages.inputs import env_options, views_from_config
from vipjax.types import Video

# Rollouts are the same ones in every run, so that runs compare.
_ROLLOUTS_RUN = 0
# Deviation of the noise on perturbed experts' actions.
_NOISE = 0.4
# Steps after which experts are abandoned: they take about 80 to open a window.
_ABANDON = (10, 75)


def roll_out(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, size: int, free: bool
) -> Iterator[off_path.Rollout]:
  """Yields rollouts that leave the expert's path.

  They are experts disturbed by noise, experts that turn into random motion half way, random
  motion, and episodes of the run's policy if it has one: config.evaluate.off_path_episodes of
  each. They depend on the config and the policy, and not on the encoder.

  Args:
    config: keys as declared in configs/paper.py; config.evaluate.off_path_episodes >= 1.
    workdir: the run folder, for its policy.
    size: pixels of the frames.
    free: whether they are also drawn without the robot.
  """
  views, count = policy_views(config), config.evaluate.off_path_episodes
  has_policy = (workdir / "policy" / "actor.safetensors").exists()
  kinds = ("perturbed", "abandoned", "random", *((off_path.POLICY,) if has_policy else ()))
  expert_options = {**env_options(config.env), "quality": config.record.quality}
  with Progress(count * len(kinds), "off_path", unit="rollout") as progress:
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


def labelled_episodes(
  config: ml_collections.ConfigDict,
) -> Iterator[tuple[list[Video], list[np.ndarray]]]:
  """Yields expert episodes never recorded, as `evaluation.measure_attention` takes them.

  There are config.evaluate.attention_episodes of them, from all views.
  """
  views, count = views_from_config(config.views), config.evaluate.attention_episodes
  options = {**env_options(config.env), "placement": None}
  drawing = {"size": config.record.size, "quality": config.record.quality}
  with (
    RobotEnv(**options, **drawing) as env,
    Progress(count, "attention", unit="episode") as progress,
  ):
    for episode in range(count):
      yield _film_with_labels(env, views, config.record, episode)
      progress.update()


def _film_with_labels(env: RobotEnv, views: dict[str, View], record, episode: int):
  """Films an expert episode: videos of each view with and without the robot, and their labels."""
  channels = [(view, visible) for view in views.values() for visible in (True, False)]
  labels = [[] for _ in channels]

  def at_frame():
    for (view, visible), shown in zip(channels, labels, strict=True):
      shown.append(env.labels(view, visible))

  seed = episode_seed(Stream.UNSEEN, _ROLLOUTS_RUN, episode)
  videos = record_episode(
    env, views, seed, hold=record.hold, frame_stride=record.frame_stride, episode=episode,
    at_frame=at_frame,
  )  # fmt: skip
  return videos, [np.stack(shown) for shown in labels]
