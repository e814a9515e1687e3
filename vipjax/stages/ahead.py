"""Compiles the programs of later stages while fine-tuning compiles and runs, on accelerators.

There most of a short run is compilation, which uses a core or two beside the device: on an H100 42
seconds of the demo's 46 of fine-tuning, and about as much in its later stages. So a thread runs
these stages' own code for a step, on environments that stand still. It leaves its programs in JAX's
cache (`runtime.cache`), where the stages find them; nothing else of it is kept.

On a CPU fine-tuning needs all cores, so that nothing would be gained.
"""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
from absl import logging

from vipjax.encoder import ValueFunction
from vipjax.encoder.progress import PROGRESS, init_head
from vipjax.encoder.value import ACCELERATOR_CHUNK
from vipjax.envs import RobotEnv
from vipjax.envs.still import StillEnvs
from vipjax.reward.channels import channel_goals, make_reward, picture_channels
from vipjax.runtime import run_folder
from vipjax.runtime.platform import on_cpu
from vipjax.sac import LoopSettings, train_loop
from vipjax.sac.evaluation import evaluate_policies
from vipjax.stages.agent import (
  loop_settings,
  policy_env,
  reward_channels,
  reward_settings,
  sac_settings,
)
from vipjax.stages.filming import agent_options
from vipjax.stages.inputs import load_videos, make_encoder, with_config_head
from vipjax.stages.train_policy import policy_devices
from vipjax.stages.training import first_state, replay_capacity


def start(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Callable[[], None]:
  """Starts compiling what evaluation and policy will need, where that helps.

  Args:
    config: keys as declared in configs/paper.py, those of the task filled.
    workdir: the run folder, with its videos.

  Returns:
    A function that waits until all is compiled, for the policy stage to call first: two compilers
    of one program would take longer. What goes wrong is logged and is no error of the run.
  """
  if on_cpu() or run_folder.stage_done(workdir, "policy"):
    return lambda: None

  def work():
    try:
      compile_programs(config, workdir)
    except Exception as error:  # the stages raise it, if it is theirs
      logging.warning("The programs of later stages are not compiled ahead: %s", error)

  thread = threading.Thread(target=work, name="compile ahead", daemon=True)
  thread.start()
  return thread.join


def compile_programs(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Compiles the programs that embed the run's videos, and those of the policy stage.

  Args:
    config, workdir: as for `start`.
  """
  policy, sac = config.policy, sac_settings(config.policy)
  value = _like_fine_tuned(config)
  goals = channel_goals(reward_channels(config), load_videos(config, workdir))
  size = goals[0].frames.shape[1]
  value.embed(np.zeros((1, size, size, 3), np.uint8))
  value.embed(np.zeros((ACCELERATOR_CHUNK, size, size, 3), np.uint8))
  devices = policy_devices(policy.batch_size)
  settings = reward_settings(config)
  # Encoders of the same architecture; their weights do not matter.
  reward = make_reward(goals, value, settings, devices, [value] * config.robot_free.members)
  channels = picture_channels(goals, settings)
  probe = RobotEnv(**agent_options(config), size=size)
  spaces, pictures = (probe.observation_space, probe.action_space), (len(channels), size, size, 3)

  def still(count):
    return policy_env(config, value, StillEnvs(count, *spaces, pictures, probe.horizon))

  seeds = range(policy.seeds)
  env = still(policy.seeds * policy.num_envs)
  state = first_state(seeds, env, sac, replay_capacity(policy, env), reward.state_shape)
  loop = LoopSettings(policy.updates_per_step, 1, loop_settings(policy).exploration)
  steps = train_loop(env, reward, state, sac, loop, list(seeds), devices)
  for _ in range(3):  # random actions, the first of the policy, updates
    actors = next(steps).state.agent.actor
  steps.close()
  for count in sorted({min(policy.eval_episodes, 10), 10}):
    evaluate_policies(still(policy.seeds * count), reward, actors, sac, count, list(seeds))
  probe.close()


def _like_fine_tuned(config: ml_collections.ConfigDict) -> ValueFunction:
  """An encoder whose programs are those of the run's, with weights of before its fine-tuning."""
  key = jax.random.key(config.seed)
  value = with_config_head(make_encoder(config.encoder, key), config, key)
  if config.finetune.progress.weight and PROGRESS not in value.variables:
    head = init_head(value.config.embedding_dim)
    value = value.replace(variables={**value.variables, PROGRESS: head})
  return value
