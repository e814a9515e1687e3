"""The policy stage: SAC on the embedding reward of the run's encoder, resumable."""

from __future__ import annotations

import contextlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.envs import FrameVectorEnv, RobotEnv, Stream, episode_seed, record_episode
from vipjax.reward import EmbeddingReward
from vipjax.reward.channels import channel_goals, make_reward, record_goals
from vipjax.runtime import parallel, run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.numbers import require_at_least
from vipjax.runtime.platform import on_cpu
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress, peak_memory_mb
from vipjax.runtime.settings import from_section
from vipjax.sac.actor_file import save_actor
from vipjax.sac.agent import SacSettings, compile_policy, init_agent
from vipjax.sac.online import filmed
from vipjax.sac.rollout import (
  LoopSettings,
  LoopState,
  LoopStep,
  evaluate_policy,
  init_loop,
  train_loop,
)
from vipjax.stages.agent import (
  agent_options,
  make_online,
  policy_views,
  require_shared_memory,
  reward_channels,
  reward_settings,
)
from vipjax.stages.inputs import load_videos, require_encoder
from vipjax.types import Video
from vipjax.videos import resize_frames, write_video

STAGE = "policy"
_FINAL_SIZE = 480
_GLANCE = 160  # pixels; of the films for TensorBoard
_AGENT_STREAM, _ACTING_STREAM = 2, 3


def train_policy(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, source: pathlib.Path | None = None
) -> dict[str, Any]:
  """Trains SAC from scratch, or goes on from the last checkpoint, bit for bit (on a CPU).

  The reward is that of an encoder and the goal frames of its videos. Success is
  logged and used for nothing: the policy that is kept is the one with the highest evaluation
  *return*. Writes metrics, checkpoints and `policy/` (final.mp4, actor; and, where the encoder
  goes on learning meanwhile, config.policy.online, `encoder/` as it ended up).

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.
    source: the run folder, after fine-tuning, that has the encoder and the videos; None is workdir.

  Returns:
    JSON-able facts: "policy_success" (of the policy kept), "policy_return", "best_step",
    "last_success", "policy_success_moved_window", "episodes", "env_steps_per_second", ...

  Raises:
    UserError: no encoder or videos yet, no goal for a channel, bad settings, or too little shared
      memory.
  """
  own_frames = workdir / "policy" / "own_frames.bin"
  if run_folder.stage_done(workdir, STAGE):
    own_frames.unlink(missing_ok=True)  # killed just before it would have been
    return run_folder.stage_result(workdir, STAGE)
  started = time.monotonic()
  policy = config.policy
  counts = (
    "steps",
    "eval_every",
    "eval_episodes",
    "final_episodes",
    "checkpoint_every",
    "max_skipped",
  )
  for name in counts:
    require_at_least(f"config.policy.{name}", policy[name], 1)
  require_shared_memory(config)
  source = workdir if source is None else source
  require_encoder(source)
  value = encoder.load(source)
  devices = policy_devices(policy.batch_size)
  videos = load_videos(config, source)
  goals = channel_goals(reward_channels(config), videos)
  reward = make_reward(goals, value, reward_settings(config), devices)
  channels, size = [each.channel for each in goals], goals[0].frames.shape[1]
  record_goals(workdir / "policy", value, goals, config.reward.goal_reduction)
  sac = from_section(SacSettings, policy, "policy")
  options = agent_options(config)
  final_seed = episode_seed(Stream.FINAL, config.seed)
  seen = filmed(channels) if policy.online.every else channels
  with (
    FrameVectorEnv(options, policy.num_envs, seen, size) as env,
    FrameVectorEnv(options, min(policy.eval_episodes, 10), channels, size) as eval_env,
    Checkpointer(workdir / "checkpoints" / STAGE, keep=2) as checkpoints,
    make_online(config, own_frames, value, videos, env, (len(seen), size, size, 3))
    or contextlib.nullcontext() as online,
  ):
    state = _initial_state(config, env, sac, online)
    learnt = _learn(
      config, workdir, env, eval_env, reward, sac, state, online, checkpoints, devices
    )
    kept, reward = learnt.kept, learnt.reward
    final = evaluate_policy(eval_env, reward, kept["actor"], sac, policy.final_episodes, final_seed)
    peak_memory_mb()  # it remembers the most seen: asked for at the end, the workers are gone
  with FrameVectorEnv({**options, "placement": None}, 10, channels, size) as moved_env:
    moved = evaluate_policy(
      moved_env, reward, kept["actor"], sac, policy.final_episodes, final_seed
    )
  save_actor(workdir / "policy", kept["actor"], sac, env.action_space.shape[0])
  if online:
    learnt_on = {**value.metadata, "updates_beside_the_policy": online.updates}
    changed = online.value.replace(metadata=learnt_on)
    encoder.save(workdir / "policy" / "encoder", changed, overwrite=True)
  film = _film(config, kept["actor"], sac, _FINAL_SIZE)
  path = workdir / "policy" / "final.mp4"
  write_video(path, film.frames, fps=film.fps, crf=23, overwrite=True)
  with MetricsWriter(workdir, STAGE, learnt.env_steps) as writer:
    small = resize_frames(film.frames, (_GLANCE, _GLANCE))
    writer.film(learnt.env_steps, "final", small, film.fps)
  result = {
    "policy_success": final["success"],
    "policy_final_success": final["final_success"],
    "policy_return": final["return"],
    "policy_steps_to_success": final["steps_to_success"],
    "policy_success_moved_window": moved["success"],
    "episodes": policy.final_episodes,
    "best_step": int(kept["step"]),
    "last_success": float(kept["last_success"]),
    "env_steps": learnt.env_steps,
    "env_steps_per_second": learnt.env_steps / max(learnt.seconds, 1e-9),
  }
  seconds = learnt.seconds + (time.monotonic() - started - learnt.seconds_here)
  if online:
    result["encoder_updates"] = online.updates
  run_folder.mark_done(workdir, STAGE, result, seconds)
  own_frames.unlink(missing_ok=True)
  # As it is read back, so that a later call returns the same (NaN is None in JSON).
  return run_folder.stage_result(workdir, STAGE)


class _Learnt(NamedTuple):
  """kept: the best policy. env_steps: all. seconds: with those before a resume; and without.

  reward: as it is at the end, which online training changes.
  """

  kept: dict[str, Any]
  reward: EmbeddingReward
  env_steps: int
  seconds: float
  seconds_here: float


def policy_devices(batch_size: int) -> list[jax.Device]:
  """The devices that share the reward's embedding and the updates: as many accelerators as divide.

  Of a CPU, whose devices are its cores, one: the environments' workers use the others.
  """
  devices = jax.local_devices()
  if on_cpu():
    return devices[:1]
  return parallel.dividing(devices, batch_size, "transitions of config.policy.batch_size")


def _learn(
  config, workdir, env, eval_env, reward, sac, state, online, checkpoints, devices
) -> _Learnt:
  """Learns to the end, or from the last checkpoint to the end."""
  policy = config.policy
  kept = {
    "actor": jax.tree.map(jnp.array, state.agent.actor),
    "return": np.float32(-np.inf),
    "step": np.int32(0),
    "last_success": np.float32(0.0),
  }

  def everything(loop):
    return {"loop": loop, "kept": kept} | ({"online": online.state} if online else {})

  def evaluate(actor):
    return evaluate_policy(
      eval_env, reward, actor, sac, policy.eval_episodes,
      episode_seed(Stream.EVALUATION, config.seed),
    )  # fmt: skip

  restored = checkpoints.restore_latest(everything(state))
  earlier, episodes, changed = 0.0, [], None
  if restored:
    state, kept = restored[1]["loop"], restored[1]["kept"]
    earlier, episodes = restored[2]["seconds"], restored[2]["episodes"]
  if restored and online:
    online.restore(restored[1]["online"])
    reward = reward.with_value(online.value)
  first = done = int(state.env_steps)
  loop = from_section(LoopSettings, policy, "policy")
  seed = episode_seed(Stream.TRAINING, config.seed)
  loop_steps = train_loop(env, reward, state, sac, loop, seed, devices)
  check_replicas = parallel.compile_check(devices)
  started = time.monotonic()
  with contextlib.ExitStack() as stack:
    writer = stack.enter_context(MetricsWriter(workdir, STAGE, first if restored else None))
    progress = stack.enter_context(Progress(policy.steps, STAGE, initial=first))
    preemption = stack.enter_context(Preemption())
    while done < policy.steps:
      loop_step, changed = loop_steps.send(changed), None
      _require_finite(loop_step, policy.max_skipped)
      before, done = done, int(loop_step.state.env_steps)
      episodes = (episodes + loop_step.episodes)[-2 * policy.num_envs :]
      progress.update(done - before, **_shown(episodes, kept))
      last = done >= policy.steps
      if online:
        online.see(loop_step)
      if online and not last and online.due(before, done):
        loop_state, reward, row = online.learn(loop_step.state, reward)
        loop_step, changed = loop_step._replace(state=loop_state), (loop_state, reward)
        if kept["step"]:  # Returns under another reward are no match for those to come.
          kept["return"] = np.float32(evaluate(kept["actor"])["return"])
        writer.write(done, row)
      if last or done // policy.eval_every > before // policy.eval_every:
        row = evaluate(loop_step.state.agent.actor)
        kept["last_success"] = np.float32(row["success"])
        if row["return"] > kept["return"]:
          actor = jax.tree.map(jnp.array, loop_step.state.agent.actor)
          kept |= {"actor": actor, "return": np.float32(row["return"]), "step": np.int32(done)}
        # Steps to success are NaN without any.
        known = {name: number for name, number in row.items() if np.isfinite(number)}
        writer.write(
          done, {**known, **loop_step.metrics, **_training(episodes), **_skipped(loop_step)}
        )
      due = done // policy.checkpoint_every > before // policy.checkpoint_every
      stop = preemption.requested()
      if last or due or stop:
        if policy.check_replicas:
          check_replicas((loop_step.state.agent, loop_step.state.replay), done)
        seconds = earlier + time.monotonic() - started
        facts = {"seconds": seconds, "episodes": episodes}
        checkpoints.save(done, everything(loop_step.state), facts)
      if due and not last and not stop:
        film = _film(config, loop_step.state.agent.actor, sac, _GLANCE)
        writer.film(done, "episode", film.frames, film.fps)
      if stop:
        preemption.exit(STAGE, done)
  loop_steps.close()
  here = time.monotonic() - started
  return _Learnt(kept, reward, done, earlier + here, here)


def _skipped(loop_step: LoopStep) -> dict[str, int]:
  return dict(zip(("skipped", "skipped_in_a_row"), loop_step.state.agent.skipped, strict=True))


def _require_finite(loop_step: LoopStep, most: int) -> None:
  in_a_row = int(np.asarray(loop_step.state.agent.skipped)[1])
  if in_a_row < most:
    return
  broken = [name for name, number in loop_step.metrics.items() if not np.isfinite(number)]
  raise UserError(
    f"expected finite losses and gradients, but {in_a_row} updates in a row up to step "
    f"{int(loop_step.state.env_steps)} had none and were skipped (not finite: "
    f"{', '.join(broken)}); the last checkpoint is from before: lower config.policy.learning_rate "
    "or config.reward.scale."
  )


def _training(episodes: list[dict[str, float]]) -> dict[str, float]:
  if not episodes:
    return {}
  return {
    f"train_{name}": float(np.mean([episode[name] for episode in episodes])) for name in episodes[0]
  }


def _shown(episodes, kept) -> dict[str, float]:
  shown = {"eval_return": float(kept["return"]), "eval_success": float(kept["last_success"])}
  if not np.isfinite(kept["return"]):
    shown = {}
  if episodes:
    shown["train_return"] = float(np.mean([episode["return"] for episode in episodes]))
  return shown


def _initial_state(config, env: FrameVectorEnv, sac: SacSettings, online) -> LoopState:
  key = jax.random.key(config.seed)
  acting, own = (jax.random.fold_in(key, stream) for stream in (_ACTING_STREAM, _AGENT_STREAM))
  agent = init_agent(own, env.observation_space.shape[0], env.action_space.shape[0], sac)
  # A run never fills more than its own steps: what is not needed is not allocated.
  capacity = max(min(config.policy.replay_capacity, config.policy.steps), env.num_envs)
  if online:
    capacity = online.frames.steps * env.num_envs
  return init_loop(acting, agent, capacity, env)


def _film(config, actor: Any, sac: SacSettings, size: int) -> Video:
  """One episode of the policy, with the robot, from the same start at every call."""
  name, view = next(iter(policy_views(config).items()))
  with RobotEnv(**agent_options(config), size=size) as env:
    policy = compile_policy(env.action_space.shape[0], sac, deterministic=True)
    key = jax.random.key(0)
    (video,) = record_episode(
      env, {name: view}, episode_seed(Stream.FINAL, config.seed), robot_free=False, hold=20,
      act=lambda observation: np.asarray(policy(actor, observation, key)),
    )  # fmt: skip
  return video
