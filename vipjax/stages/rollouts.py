"""Episodes that are filmed to be measured: off the expert's path, and with labels of each pixel."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.envs import RobotEnv, Stream, episode_seed, noisy_expert, random_motion, record_episode
from vipjax.evaluation import off_path
from vipjax.reward.channels import channel_goals
from vipjax.runtime.progress import Progress
from vipjax.sac import load_actor
from vipjax.stages.agent import policy_act, policy_views, reward_channels
from vipjax.stages.filming import Act, agent_options, give_up, open_env, unseen_seeds
from vipjax.stages.inputs import views_from_config
from vipjax.types import Video

# Rollouts are the same ones in every run, so that runs compare.
_ROLLOUTS_RUN = 0
# Deviation of the noise on perturbed experts' actions.
_NOISE = 0.4
# Steps after which experts are abandoned: they take about 80 to open a window.
_ABANDON = (10, 75)


def roll_out(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, videos: Sequence[Video]
) -> Iterator[off_path.Rollout]:
  """Yields rollouts that leave the expert's path.

  They are experts disturbed by noise, experts that turn into random motion half way, random
  motion, and episodes of the run's policy if it has one: config.evaluate.off_path_episodes of
  each. They depend on the config and the policy, and not on the encoder.

  Args:
    config: keys as declared in configs/paper.py; config.evaluate.off_path_episodes >= 1.
    workdir: the run folder, for its policy.
    videos: those of the run; rollouts have their size, and copies without the robot if they do.
  """
  views, count = policy_views(config), config.evaluate.off_path_episodes
  size = channel_goals(reward_channels(config), videos)[0].frames.shape[1]
  free = any(video.robot_visible is False for video in videos)
  has_policy = (workdir / "policy" / "actor.safetensors").exists()
  kinds = ("perturbed", "abandoned", "random", *((off_path.POLICY,) if has_policy else ()))
  with Progress(count * len(kinds), "off_path", unit="rollout") as bar:
    for number, kind in enumerate(kinds):
      # A policy sees and acts once for several control steps.
      of_policy = kind == off_path.POLICY
      options = agent_options(config) if of_policy else {}
      stride = 1 if of_policy else config.record.frame_stride
      actor = load_actor(workdir) if of_policy else None
      with open_env(config, **options, size=size) as env:
        if of_policy and config.policy.input == "frame":
          actor = policy_act(config, encoder.load(workdir), env, actor)
        for episode in range(count):
          seed = episode_seed(Stream.OFF_PATH, _ROLLOUTS_RUN, number * 1000 + episode)
          noted: list[tuple[float, float]] = []
          films = record_episode(
            env, views, seed, robot_free=free, hold=config.record.hold, frame_stride=stride,
            act=actor or _act(kind, env, seed), episode=episode,
            at_frame=lambda env=env, noted=noted: noted.append(env.distances()),
          )  # fmt: skip
          yield off_path.Rollout(kind, films, *np.array(noted).T)
          bar.update()


def _act(kind: str, env: RobotEnv, seed: int) -> Act:
  if kind == "perturbed":
    return noisy_expert(env, _NOISE, np.random.default_rng(seed))
  if kind == "abandoned":
    return give_up(env, seed, _ABANDON)
  return random_motion(seed, env.action_space.shape[0])


def labelled_episodes(
  config: ml_collections.ConfigDict,
) -> Iterator[tuple[list[Video], list[np.ndarray]]]:
  """Yields expert episodes never recorded, as `evaluation.measure_attention` takes them.

  There are config.evaluate.attention_episodes of them, from all views, each with and without the
  robot.
  """
  views, record = views_from_config(config.views), config.record
  channels = [(view, visible) for view in views.values() for visible in (True, False)]
  seeds = unseen_seeds(config.evaluate.attention_episodes)
  with (
    open_env(config, placement=None) as env,
    Progress(len(seeds), "attention", unit="episode") as bar,
  ):
    for episode, seed in enumerate(seeds):
      labels: list[list[np.ndarray]] = []
      videos = record_episode(
        env, views, seed, hold=record.hold, frame_stride=record.frame_stride, episode=episode,
        at_frame=lambda labels=labels: labels.append([env.labels(*each) for each in channels]),
      )  # fmt: skip
      yield videos, [np.stack(shown) for shown in zip(*labels, strict=True)]
      bar.update()
