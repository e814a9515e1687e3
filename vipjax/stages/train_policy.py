"""The policy stage: SAC on the embedding reward of the run's encoder, resumable."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import FrameVectorEnv, RobotEnv, Stream, episode_seed, record_episode
from vipjax.reward.channels import channel_goals, make_reward, picture_channels, record_goals
from vipjax.runtime import parallel
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.platform import on_cpu
from vipjax.runtime.progress import peak_memory_mb
from vipjax.sac.agent import SacSettings, compile_policy
from vipjax.sac.own_films import filmed
from vipjax.stages.agent import (
  make_online,
  policy_act,
  policy_env,
  policy_views,
  refuse_online_seeds,
  require_input,
  require_predictable,
  require_shared_memory,
  reward_channels,
  reward_settings,
  robot_free_encoders,
  sac_settings,
)
from vipjax.stages.filming import agent_options
from vipjax.stages.inputs import load_videos, require_encoder
from vipjax.stages.stage import Resumed, stage
from vipjax.stages.task import fit_to_task
from vipjax.stages.training import STAGE, Training
from vipjax.stages.warp_policy import open_scene, train_on_warp
from vipjax.types import Video


def train_policy(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, source: pathlib.Path | None = None
) -> dict[str, Any]:
  """Trains SAC from scratch, or goes on from the last checkpoint, bit for bit (on a CPU).

  The reward is that of an encoder and the goal frames of its videos. Success is logged and used for
  nothing: the policy that is kept is the one with the highest evaluation *return*. Writes metrics,
  checkpoints and `policy/`: final.mp4, the actor and, where the encoder goes on learning meanwhile
  (config.policy.online), `encoder/` as it ended up.

  With config.policy.seeds = N, N agents learn at once on one reward, each with the numbers of one
  alone with its seed. `policy/seed<n>/` gets what is kept of each, and `policy/` that of the
  highest evaluation return.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.
    source: the run folder, after fine-tuning, that has the encoder and the videos; None is workdir.

  Returns:
    JSON-able facts: "policy_success" (of the policy kept), "policy_return", "best_step",
    "last_success", "policy_success_moved_window", "episodes", "env_steps_per_second", ...; of
    several agents their means, and in "agents" those of each with its "seed".

  Raises:
    UserError: no encoder or videos yet, no goal for a channel, bad settings, several agents with
      config.policy.online, or too little shared memory.
  """
  result = _train_policy(config, workdir, workdir if source is None else source)
  # Only now: a run that goes on needs them.
  _frames_file(workdir).unlink(missing_ok=True)
  return result


@stage(STAGE)
def _train_policy(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, source: pathlib.Path
) -> Resumed:
  config = fit_to_task(config, source)
  policy = config.policy
  refuse_online_seeds(config)
  require_input(config)
  require_predictable(config)
  on_warp = policy.backend == "warp"
  scene = open_scene(config) if on_warp else require_shared_memory(config)
  require_encoder(source)
  value = encoder.load(source)
  devices = jax.local_devices()[:1] if on_warp else policy_devices(policy.batch_size)
  videos = load_videos(config, source)
  goals = channel_goals(reward_channels(config), videos)
  settings = reward_settings(config)
  reward = make_reward(goals, value, settings, devices, robot_free_encoders(config, source))
  channels, size = picture_channels(goals, settings), goals[0].frames.shape[1]
  record_goals(workdir / "policy", value, goals, config.reward.goal_reduction)
  sac = sac_settings(policy)
  if on_warp:
    return train_on_warp(config, workdir, scene, channels, size, reward, sac)
  options = agent_options(config)
  seen = filmed(channels) if policy.online.every else channels
  shape = (len(seen), size, size, 3)

  def open_envs(*arguments):
    env = FrameVectorEnv(*arguments, size=size, drawing=policy.drawing)
    return policy_env(config, value, env)

  with (
    open_envs(options, policy.seeds * policy.num_envs, seen) as env,
    open_envs(options, policy.seeds * min(policy.eval_episodes, 10), channels) as eval_env,
    Checkpointer(workdir / "checkpoints" / STAGE, keep=2) as checkpoints,
    make_online(config, _frames_file(workdir), value, videos, env, seen, shape)
    or contextlib.nullcontext() as online,
  ):
    film = functools.partial(_film, config, sac, value)
    training = Training(config, workdir, env, eval_env, reward, sac, devices, online, film)
    training.run(checkpoints)
    final = training.evaluate_kept(eval_env)
    peak_memory_mb()  # It remembers the most seen: when it is asked, the workers are gone.
  moved_options = {**options, "placement": None}
  with open_envs(moved_options, policy.seeds * 10, channels) as moved_env:
    moved = training.evaluate_kept(moved_env)
  training.write_kept()
  if online:
    metadata = {**value.metadata, "updates_beside_the_policy": online.updates}
    changed = online.value.replace(metadata=metadata)
    encoder.save(workdir / "policy" / "encoder", changed, overwrite=True)
  results = [
    {
      "policy_success": kept["success"],
      "policy_final_success": kept["final_success"],
      "policy_return": kept["return"],
      "policy_steps_to_success": kept["steps_to_success"],
      "policy_success_moved_window": elsewhere["success"],
    }
    for kept, elsewhere in zip(final, moved, strict=True)
  ]
  result = {
    **training.results(results),
    "env_steps_per_second": training.rate,
    **({"encoder_updates": online.updates} if online else {}),
  }
  return Resumed(result, training.earlier_seconds)


def _frames_file(workdir: pathlib.Path) -> pathlib.Path:
  """The file of the frames that online training learns from."""
  return workdir / "policy" / "own_frames.bin"


def policy_devices(batch_size: int) -> list[jax.Device]:
  """The devices that share the reward's embedding and the updates: as many accelerators as divide.

  On a CPU, whose devices are its cores, it is one: the environments' workers use the others.
  """
  devices = jax.local_devices()
  if on_cpu():
    return devices[:1]
  return parallel.dividing(devices, batch_size, "transitions of config.policy.batch_size")


def _film(
  config: ml_collections.ConfigDict,
  sac: SacSettings,
  value: ValueFunction,
  actor: Any,
  size: int,
  seed: int,
) -> Video:
  """Films an episode of an actor, with the robot, from the same start at every call of a seed."""
  name, view = next(iter(policy_views(config).items()))
  with RobotEnv(**agent_options(config), size=size) as env:
    policy = compile_policy(env.action_space.shape[0], sac, deterministic=True)
    key = jax.random.key(0)
    act = lambda observation: np.asarray(policy(actor, observation, key))  # noqa: E731
    (video,) = record_episode(
      env, {name: view}, episode_seed(Stream.FINAL, seed), robot_free=False, hold=20,
      act=policy_act(config, value, env, act),
    )  # fmt: skip
  return video
