"""Times the whole loop of the policy stage against its parts, one after the other."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.benchmark import measure, start_up
from vipjax.benchmark.bench import Bench, forget_peak_memory
from vipjax.benchmark.results import OURS, Case, SuiteResult
from vipjax.benchmark.workers.worker import memory_mb
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.envs import Channel, FrameVectorEnv
from vipjax.reward import EmbeddingReward
from vipjax.sac import LoopSettings, LoopState, SacSettings, init_agent, init_loop, train_loop
from vipjax.sac.agent import make_update_many
from vipjax.scene import View

ABOUT = (
  "The loop: act, step and draw the environments, embed their pictures, reward, store, update; the "
  "unit is an environment step. Sizes are those of configs/demo.py (two pictures of each "
  "environment, ResNet-18 of width 16 at 80 px, 3 updates per step of all environments). Each part "
  "is timed alone in the same turns; one after the other they take the sum of their times, and the "
  "loop's share of that rate exceeds 100% if they overlap."
)


def run(
  bench: Bench,
  num_envs: int = 9,
  size: int = 128,
  width: int = 16,
  input_size: int = 80,
  updates: int = 3,
  steps: int = 6,
  sac: SacSettings | None = None,
  start_clips: int = 16,
) -> SuiteResult:
  """Measures the loop and its parts.

  Args:
    bench: measures the cases.
    num_envs: number of environments.
    size: size of their pictures in pixels.
    width: width of the encoder.
    input_size: size of the encoder's input in pixels.
    updates: updates per step of all environments.
    steps: steps of all environments in a run.
    sac: the agent's settings; None is the default.
    start_clips: clips in the batch of the first fine-tuning step, which ends the start-up.
  """
  sac = sac or SacSettings()
  channels = [Channel(View()), Channel(View(), robot_visible=False)]
  with (
    FrameVectorEnv({}, num_envs, channels, size) as env,
    # The loop stops with its environments in the middle of a step.
    FrameVectorEnv({}, num_envs, channels, size) as loop_env,
  ):
    first = env.reset(seed=0)[1].frames
    config = ResNetConfig("resnet18", width=width, embedding_dim=128)
    reward = make_reward(first, config, Preprocessing(input_size, input_size))
    state = _state(loop_env, sac)
    loop = LoopSettings(updates_per_step=updates, warmup_steps=num_envs)
    loop_steps = train_loop(loop_env, reward, state, sac, loop, seed=0)
    actions = np.zeros((num_envs, *env.action_space.shape), np.float32)
    contenders = {
      "loop": measure.timed(lambda: next(loop_steps).state, times=steps),
      "step and draw": measure.timed(env.step, actions, times=steps),
      "embed": measure.timed(reward.potential, first, times=steps),
      "update": _updating(env, sac, updates, steps),
    }
    forget_peak_memory()
    seconds = measure.interleave(contenders, bench.repeats)
    memory = memory_mb(os.getpid())
  case = Case(
    f"{num_envs} environments", "steps", steps * num_envs, {OURS: seconds["loop"]}, None,
    {OURS: memory}, {},
  )  # fmt: skip
  return SuiteResult(
    "pipeline", ABOUT, [case], bench.skipped, bench.peak,
    {
      "The loop and its parts": _rows(seconds, steps * num_envs),
      "Start-up: from the command to the end of fine-tuning's first step": start_up.rows(
        min(bench.repeats, 3), start_clips
      ),
    },
  )  # fmt: skip


def _rows(seconds: dict[str, list[float]], amount: int) -> list[dict[str, Any]]:
  """Returns rows for each part, for all parts in a row, and for the loop; ratios are by turn."""
  parts = {name: np.array(times) for name, times in seconds.items() if name != "loop"}
  parts["these in a row"] = sum(parts.values())
  parts["loop"] = np.array(seconds["loop"])
  rows = []
  for name, times in parts.items():
    share = measure.ratios(parts["these in a row"], times)
    rows.append({
      "part": name,
      "steps/s": amount / float(np.median(times)),
      "times the rate of all in a row": share.median,
      "least": share.least,
      "most": share.most,
    })  # fmt: skip
  return rows


def make_reward(
  frames: np.ndarray, config: ResNetConfig, preprocessing: Preprocessing
) -> EmbeddingReward:
  """The reward of an untrained encoder, for pictures [N, C, H, W, 3] of which any can be goals."""
  value = init_value(jax.random.key(0), config, preprocessing)
  goals = [frames[0, channel] for channel in range(frames.shape[1])]
  return EmbeddingReward(value, goals, goals, [1.0, 2.0][: len(goals)])


def _state(env: FrameVectorEnv, sac: SacSettings) -> LoopState:
  observation, actions = env.observation_space.shape[0], env.action_space.shape[0]
  agent = init_agent(jax.random.key(1), observation, actions, sac)
  return init_loop(jax.random.key(0), agent, 50_000, env)


def _updating(env: FrameVectorEnv, sac: SacSettings, updates: int, steps: int):
  state = _state(env, sac)
  memory = state.replay._replace(size=jnp.int32(50_000))
  update = jax.jit(make_update_many(env.action_space.shape[0], sac, updates), donate_argnums=0)
  return measure.stateful(update, state.agent, memory, times=steps)
