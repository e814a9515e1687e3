"""The policy stage: SAC on the embedding reward of the run's encoder, resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.envs import FrameVectorEnv, RobotEnv, Stream, episode_seed, record_episode
from vipjax.reward.channels import channel_goals, make_reward, record_goals
from vipjax.reward.interface import Reward
from vipjax.runtime import parallel
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.platform import on_cpu
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress, peak_memory_mb
from vipjax.sac.actor_file import save_actor
from vipjax.sac.agent import SacSettings, compile_policy, init_agent
from vipjax.sac.online import OnlineTraining
from vipjax.sac.own_films import filmed
from vipjax.sac.rollout import (
  LoopState,
  LoopStep,
  evaluate_policy,
  init_loop,
  train_loop,
)
from vipjax.stages.agent import (
  loop_settings,
  make_online,
  policy_views,
  require_shared_memory,
  reward_channels,
  reward_settings,
  sac_settings,
)
from vipjax.stages.filming import agent_options
from vipjax.stages.inputs import load_videos, require_encoder
from vipjax.stages.stage import Resumed, not_finite, stage
from vipjax.stages.task import fit_to_task
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

  The reward is that of an encoder and the goal frames of its videos. Success is logged and used for
  nothing: the policy that is kept is the one with the highest evaluation *return*. Writes metrics,
  checkpoints and `policy/`: final.mp4, the actor and, where the encoder goes on learning meanwhile
  (config.policy.online), `encoder/` as it ended up.

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
  require_shared_memory(config)
  require_encoder(source)
  value = encoder.load(source)
  devices = policy_devices(policy.batch_size)
  videos = load_videos(config, source)
  goals = channel_goals(reward_channels(config), videos)
  reward = make_reward(goals, value, reward_settings(config), devices)
  channels, size = [each.channel for each in goals], goals[0].frames.shape[1]
  record_goals(workdir / "policy", value, goals, config.reward.goal_reduction)
  sac = sac_settings(policy)
  options = agent_options(config)
  seen = filmed(channels) if policy.online.every else channels
  shape = (len(seen), size, size, 3)
  with (
    FrameVectorEnv(options, policy.num_envs, seen, size) as env,
    FrameVectorEnv(options, min(policy.eval_episodes, 10), channels, size) as eval_env,
    Checkpointer(workdir / "checkpoints" / STAGE, keep=2) as checkpoints,
    make_online(config, _frames_file(workdir), value, videos, env, seen, shape)
    or contextlib.nullcontext() as online,
  ):
    film = functools.partial(_film, config, sac)
    training = Training(config, workdir, env, eval_env, reward, sac, devices, online, film)
    training.run(checkpoints)
    final = training.evaluate_kept(eval_env)
    peak_memory_mb()  # It remembers the most seen: when it is asked, the workers are gone.
  with FrameVectorEnv({**options, "placement": None}, 10, channels, size) as moved_env:
    moved = training.evaluate_kept(moved_env)
  actor = training.kept["actor"]
  save_actor(workdir / "policy", actor, sac, env.action_space.shape[0])
  if online:
    metadata = {**value.metadata, "updates_beside_the_policy": online.updates}
    changed = online.value.replace(metadata=metadata)
    encoder.save(workdir / "policy" / "encoder", changed, overwrite=True)
  video = film(actor, _FINAL_SIZE)
  path = workdir / "policy" / "final.mp4"
  write_video(path, video.frames, fps=video.fps, crf=23, overwrite=True)
  with MetricsWriter(workdir, STAGE, training.env_steps) as writer:
    small = resize_frames(video.frames, (_GLANCE, _GLANCE))
    writer.film(training.env_steps, "final", small, video.fps)
  result = {
    "policy_success": final["success"],
    "policy_final_success": final["final_success"],
    "policy_return": final["return"],
    "policy_steps_to_success": final["steps_to_success"],
    "policy_success_moved_window": moved["success"],
    **training.facts,
    "env_steps_per_second": training.env_steps / max(training.seconds, 1e-9),
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


def first_state(
  seed: int,
  env: FrameVectorEnv,
  sac: SacSettings,
  capacity: int,
  state_shape: tuple[int, ...] = (),
) -> LoopState:
  """The loop's state before its first step, which depends on a run's seed alone.

  Args:
    seed: the run's.
    env, capacity, state_shape: as for `init_loop`.
    sac: hyperparameters of the agent.
  """
  key = jax.random.key(seed)
  acting, own = (jax.random.fold_in(key, stream) for stream in (_ACTING_STREAM, _AGENT_STREAM))
  agent = init_agent(own, env.observation_space.shape[0], env.action_space.shape[0], sac)
  return init_loop(acting, agent, capacity, env, state_shape)


@dataclasses.dataclass
class Training:
  """The training of a policy, with the environments to act in and those to evaluate in.

  Attributes:
    config: its section `policy`, as declared in configs/paper.py, and its seed are used.
    workdir: the run folder, which gets the metrics.
    reward: the reward, which online training changes.
    devices: the devices that share the updates.
    online: the encoder's training beside the policy's, or None.
    film: films an actor at a size in pixels, at every checkpoint; None where nothing is drawn.
    kept: of the best policy the "actor", "return" and "step"; of the last one, "last_success".
    env_steps: steps of all environments together.
    seconds: what all legs of the run took; `earlier_seconds` those before the last checkpoint.
  """

  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  env: FrameVectorEnv
  eval_env: FrameVectorEnv
  reward: Reward
  sac: SacSettings
  devices: list[jax.Device]
  online: OnlineTraining | None = None
  film: Callable[[Any, int], Video] | None = None
  kept: dict[str, Any] = dataclasses.field(default_factory=dict)
  env_steps: int = 0
  seconds: float = 0.0
  earlier_seconds: float = 0.0

  def run(self, checkpoints: Checkpointer) -> None:
    """Trains to the end, from the first step or from the last checkpoint."""
    policy, online = self.config.policy, self.online
    state, episodes, resume_step = self._start(checkpoints)
    loop = loop_settings(policy)
    seed = episode_seed(Stream.TRAINING, self.config.seed)
    loop_steps = train_loop(self.env, self.reward, state, self.sac, loop, seed, self.devices)
    check_replicas = parallel.compile_check(self.devices)
    done, changed = int(state.env_steps), None
    started = time.monotonic() - self.earlier_seconds
    with (
      MetricsWriter(self.workdir, STAGE, resume_step) as writer,
      Progress(policy.steps, STAGE, initial=done) as progress,
      Preemption() as preemption,
    ):
      while done < policy.steps:
        loop_step, changed = loop_steps.send(changed), None
        before, done = done, int(loop_step.state.env_steps)
        in_a_row = int(np.asarray(loop_step.state.agent.skipped)[1])
        if in_a_row >= policy.max_skipped:
          advice = "lower config.policy.learning_rate or config.reward.scale"
          raise not_finite(loop_step.metrics, in_a_row, done, advice)
        episodes = (episodes + loop_step.episodes)[-2 * policy.num_envs :]
        progress.update(done - before, **_shown(episodes, self.kept))
        last = done >= policy.steps
        if online:
          online.see(loop_step)
        if online and not last and online.due(before, done):
          loop_state, self.reward, row = online.learn(loop_step.state, self.reward)
          loop_step, changed = loop_step._replace(state=loop_state), (loop_state, self.reward)
          if self.kept["step"]:  # Returns under another reward are no match for those to come.
            self.kept["return"] = np.float32(self._evaluate(self.kept["actor"])["return"])
          writer.write(done, row)
        if last or done // policy.eval_every > before // policy.eval_every:
          row = self._keep_better(loop_step.state.agent.actor, done)
          writer.write(done, {**row, **loop_step.metrics, **_logged(episodes, loop_step)})
        due = done // policy.checkpoint_every > before // policy.checkpoint_every
        stop = preemption.requested()
        if last or due or stop:
          if policy.check_replicas:
            check_replicas((loop_step.state.agent, loop_step.state.replay), done)
          facts = {"seconds": time.monotonic() - started, "episodes": episodes}
          checkpoints.save(done, self._everything(loop_step.state), facts)
        if self.film and due and not last and not stop:
          video = self.film(loop_step.state.agent.actor, _GLANCE)
          writer.film(done, "episode", video.frames, video.fps)
        if stop:
          preemption.exit(STAGE, done)
    loop_steps.close()
    self.env_steps, self.seconds = done, time.monotonic() - started

  def evaluate_kept(self, env: FrameVectorEnv) -> dict[str, float]:
    """What `evaluate_policy` finds of the kept policy, in the same new episodes at every call."""
    seed = episode_seed(Stream.FINAL, self.config.seed)
    episodes = self.config.policy.final_episodes
    return evaluate_policy(env, self.reward, self.kept["actor"], self.sac, episodes, seed)

  @property
  def facts(self) -> dict[str, Any]:
    """JSON-able: how many episodes `evaluate_kept` plays, and what came of the training."""
    return {
      "episodes": self.config.policy.final_episodes,
      "best_step": int(self.kept["step"]),
      "last_success": float(self.kept["last_success"]),
      "env_steps": self.env_steps,
    }

  def _start(self, checkpoints: Checkpointer) -> tuple[LoopState, list[dict], int | None]:
    """The state to go on from, the last episodes before it, and the checkpoint's step, if any."""
    policy, env = self.config.policy, self.env
    # A run never fills more than its own steps: what is not needed is not allocated.
    capacity = max(min(policy.replay_capacity, policy.steps), env.num_envs)
    if self.online:
      capacity = self.online.frames.steps * env.num_envs
    state = first_state(self.config.seed, env, self.sac, capacity, self.reward.state_shape)
    self.kept = {
      "actor": jax.tree.map(jnp.array, state.agent.actor),
      "return": np.float32(-np.inf),
      "step": np.int32(0),
      "last_success": np.float32(0.0),
    }
    restored = checkpoints.restore_latest(self._everything(state))
    if not restored:
      return state, [], None
    _, everything, facts = restored
    state, self.kept = everything["loop"], everything["kept"]
    self.earlier_seconds = facts["seconds"]
    if self.online:
      self.online.restore(everything["online"])
      self.reward = self.reward.with_value(self.online.value)
    return state, facts["episodes"], int(state.env_steps)

  def _everything(self, loop: LoopState) -> dict[str, Any]:
    """What a checkpoint holds (a pytree)."""
    online = {"online": self.online.state} if self.online else {}
    return {"loop": loop, "kept": self.kept, **online}

  def _evaluate(self, actor: Any) -> dict[str, float]:
    seed = episode_seed(Stream.EVALUATION, self.config.seed)
    episodes = self.config.policy.eval_episodes
    return evaluate_policy(self.eval_env, self.reward, actor, self.sac, episodes, seed)

  def _keep_better(self, actor: Any, step: int) -> dict[str, float]:
    """Evaluates an actor and keeps it where its return is the highest; returns finite metrics."""
    row = self._evaluate(actor)
    self.kept["last_success"] = np.float32(row["success"])
    if row["return"] > self.kept["return"]:
      kept = jax.tree.map(jnp.array, actor)
      self.kept |= {"actor": kept, "return": np.float32(row["return"]), "step": np.int32(step)}
    # Steps to success are NaN without any.
    return {name: number for name, number in row.items() if np.isfinite(number)}


def _logged(episodes: list[dict[str, float]], loop_step: LoopStep) -> dict[str, Any]:
  """Means over the last episodes of training, and how many updates were skipped."""
  means = {
    f"train_{name}": float(np.mean([episode[name] for episode in episodes]))
    for name in (episodes[0] if episodes else ())
  }
  skipped = zip(("skipped", "skipped_in_a_row"), loop_step.state.agent.skipped, strict=True)
  return {**means, **dict(skipped)}


def _shown(episodes: list[dict[str, float]], kept: dict[str, Any]) -> dict[str, float]:
  """Numbers for the progress bar."""
  shown = {}
  if np.isfinite(kept["return"]):
    shown = {"eval_return": float(kept["return"]), "eval_success": float(kept["last_success"])}
  if episodes:
    shown["train_return"] = float(np.mean([episode["return"] for episode in episodes]))
  return shown


def _film(config: ml_collections.ConfigDict, sac: SacSettings, actor: Any, size: int) -> Video:
  """Films an episode of an actor, with the robot, from the same start at every call."""
  name, view = next(iter(policy_views(config).items()))
  with RobotEnv(**agent_options(config), size=size) as env:
    policy = compile_policy(env.action_space.shape[0], sac, deterministic=True)
    key = jax.random.key(0)
    (video,) = record_episode(
      env, {name: view}, episode_seed(Stream.FINAL, config.seed), robot_free=False, hold=20,
      act=lambda observation: np.asarray(policy(actor, observation, key)),
    )  # fmt: skip
  return video
