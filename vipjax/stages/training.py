"""The training of policies: acts, learns, evaluates, keeps the best and goes on after a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vipjax.envs import FrameVectorEnv, Stream, episode_seed
from vipjax.reward.interface import Reward
from vipjax.runtime import parallel
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress
from vipjax.sac.actor_file import save_actor
from vipjax.sac.agent import SacSettings, init_agent
from vipjax.sac.evaluation import evaluate_policies
from vipjax.sac.online import OnlineTraining
from vipjax.sac.rollout import LoopState, LoopStep, init_loop, train_loop
from vipjax.sac.seeds import Agents
from vipjax.stages.agent import loop_settings
from vipjax.stages.of_seeds import agent_names, alone_or_all, joined_metrics, joined_results, named
from vipjax.stages.stage import not_finite
from vipjax.types import Video
from vipjax.videos import resize_frames, write_video

STAGE = "policy"
_FINAL_SIZE = 480
_GLANCE = 160  # pixels; of the films for TensorBoard
AGENT_STREAM, ACTING_STREAM = 2, 3


def replay_capacity(policy: ml_collections.ConfigDict, env: FrameVectorEnv) -> int:
  """Transitions that each agent's replay holds: no more than those of the run's own steps."""
  return max(min(policy.replay_capacity, policy.steps), env.num_envs // policy.seeds)


def first_state(
  seeds: Sequence[int],
  env: FrameVectorEnv,
  sac: SacSettings,
  capacity: int,
  state_shape: tuple[int, ...] = (),
) -> LoopState:
  """The loop's state before its first step, which depends on the agents' seeds alone.

  Args:
    seeds: of each agent.
    env, capacity, state_shape: as for `init_loop`.
    sac: hyperparameters of the agents.
  """
  keys, agents = [jax.random.key(seed) for seed in seeds], Agents(len(seeds))
  acting, own = (
    [jax.random.fold_in(key, stream) for key in keys] for stream in (ACTING_STREAM, AGENT_STREAM)
  )
  sizes = env.observation_space.shape[0], env.action_space.shape[0]
  made = agents.stack([init_agent(key, *sizes, sac) for key in own])
  return init_loop(agents.stack(acting), made, capacity, env, state_shape)


@dataclasses.dataclass
class Training:
  """The training of a policy, or of several at once, with environments to act and to evaluate in.

  Attributes:
    config: its section `policy`, as declared in configs/paper.py, and its seed are used.
    workdir: the run folder, which gets the metrics.
    env, eval_env: the agents' environments, shared out evenly.
    reward: the reward, which online training changes.
    devices: the devices that share the updates.
    online: the encoder's training beside the policy's, or None.
    film: films an actor at a size in pixels, in the first episode of a seed, at every checkpoint;
      None where nothing is drawn.
    kept: for each agent, of the best policy the "actor", "return" and "step"; of the last one,
      "last_success".
    env_steps: steps of all environments of an agent together.
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
  film: Callable[[Any, int, int], Video] | None = None
  kept: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  env_steps: int = 0
  seconds: float = 0.0
  earlier_seconds: float = 0.0

  @property
  def seeds(self) -> range:
    """The seed of each agent."""
    return range(self.config.seed, self.config.seed + self.config.policy.seeds)

  @property
  def names(self) -> list[str]:
    """The agents' names in metrics and folders; that of a single agent is ""."""
    return agent_names(self.seeds)

  @property
  def agents(self) -> Agents:
    """How many agents there are."""
    return Agents(len(self.seeds))

  def run(self, checkpoints: Checkpointer) -> None:
    """Trains to the end, from the first step or from the last checkpoint."""
    policy, online = self.config.policy, self.online
    state, episodes, resume_step = self._start(checkpoints)
    loop_steps = self._steps(state)
    check_replicas = parallel.compile_check(self.devices)
    done, changed = int(state.env_steps), None
    started = time.monotonic() - self.earlier_seconds
    with (
      self._writer(resume_step) as writer,
      Progress(policy.steps, STAGE, initial=done) as progress,
      Preemption() as preemption,
    ):
      while done < policy.steps:
        loop_step, changed = loop_steps.send(changed), None
        before, done = done, int(loop_step.state.env_steps)
        self._require_finite(loop_step, done)
        episodes = self._latest(episodes, loop_step)
        progress.update(done - before, **_shown(episodes, self.kept))
        last = done >= policy.steps
        if online:
          online.see(loop_step)
        if online and not last and online.due(before, done):
          loop_state, self.reward, row = online.learn(loop_step.state, self.reward)
          loop_step, changed = loop_step._replace(state=loop_state), (loop_state, self.reward)
          (kept,) = self.kept
          if kept["step"]:  # Returns under another reward are no match for those to come.
            (found,) = self._evaluate(kept["actor"])
            kept["return"] = np.float32(found["return"])
          writer.write(done, row)
        if last or done // policy.eval_every > before // policy.eval_every:
          evaluated = self._keep_better(loop_step.state.agent.actor, done)
          writer.write(done, self._row(evaluated, episodes, loop_step))
        due = done // policy.checkpoint_every > before // policy.checkpoint_every
        stop = preemption.requested()
        if last or due or stop:
          if policy.check_replicas:
            check_replicas((loop_step.state.agent, loop_step.state.replay), done)
          facts = {"seconds": time.monotonic() - started, "episodes": alone_or_all(episodes)}
          checkpoints.save(done, self._everything(loop_step.state), facts)
        if self.film and due and not last and not stop:
          actors = self.agents.unstack(loop_step.state.agent.actor)
          for name, actor, seed in zip(self.names, actors, self.seeds, strict=True):
            video = self.film(actor, _GLANCE, seed)
            writer.film(done, named(name, "episode"), video.frames, video.fps)
        if stop:
          preemption.exit(STAGE, done)
    loop_steps.close()
    self.env_steps, self.seconds = done, time.monotonic() - started

  def evaluate_kept(self, env: FrameVectorEnv) -> list[dict[str, float]]:
    """What `evaluate` finds of each kept policy, in the same new episodes at every call."""
    actors = self.agents.stack([kept["actor"] for kept in self.kept])
    return self._found(env, actors, Stream.FINAL, self.config.policy.final_episodes)

  def write_kept(self) -> None:
    """Writes the kept actor and, where there is `film`, its film to `policy/`.

    Of several agents each one's go to `policy/seed<n>/`, and to `policy/` those of the highest
    evaluation return.
    """
    root, num_actions = self.workdir / "policy", self.env.action_space.shape[0]
    best = int(np.argmax([kept["return"] for kept in self.kept]))
    with self._writer(self.env_steps) if self.film else contextlib.nullcontext() as writer:
      for index, (name, kept) in enumerate(zip(self.names, self.kept, strict=True)):
        folders = {root / name, *([root] if index == best else [])}
        for folder in folders:
          save_actor(folder, kept["actor"], self.sac, num_actions)
        if not self.film:
          continue
        video = self.film(kept["actor"], _FINAL_SIZE, self.seeds[index])
        for folder in folders:
          write_video(folder / "final.mp4", video.frames, fps=video.fps, crf=23, overwrite=True)
        small = resize_frames(video.frames, (_GLANCE, _GLANCE))
        writer.film(self.env_steps, named(name, "final"), small, video.fps)

  def results(self, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """JSON-able: `joined_results` of each agent's evaluation and training."""
    rows = [
      {
        **each,
        "episodes": self.config.policy.final_episodes,
        "best_step": int(kept["step"]),
        "last_success": float(kept["last_success"]),
        "env_steps": self.env_steps,
      }
      for each, kept in zip(found, self.kept, strict=True)
    ]
    return joined_results(self.seeds, rows)

  @property
  def rate(self) -> float:
    """Steps of all environments of all agents in a second, with evaluations."""
    return len(self.seeds) * self.env_steps / max(self.seconds, 1e-9)

  def _start(self, checkpoints: Checkpointer) -> tuple[LoopState, list[list[dict]], int | None]:
    """The state to go on from, each agent's last episodes, and the checkpoint's step, if any."""
    policy, env, agents = self.config.policy, self.env, self.agents
    capacity = replay_capacity(policy, env)
    if self.online:
      capacity = self.online.frames.steps * env.num_envs
    state = self._first(capacity)
    self.kept = [
      {
        "actor": jax.tree.map(jnp.array, actor),
        "return": np.float32(-np.inf),
        "step": np.int32(0),
        "last_success": np.float32(0.0),
      }
      for actor in agents.unstack(state.agent.actor)
    ]
    restored = checkpoints.restore_latest(self._everything(state))
    if not restored:
      return state, [[] for _ in self.seeds], None
    _, everything, facts = restored
    state, kept, episodes = everything["loop"], everything["kept"], facts["episodes"]
    several = agents.count > 1
    self.kept = kept if several else [kept]
    self.earlier_seconds = facts["seconds"]
    if self.online:
      self.online.restore(everything["online"])
      self.reward = self.reward.with_value(self.online.value)
    return state, episodes if several else [episodes], int(state.env_steps)

  def _everything(self, loop: LoopState) -> dict[str, Any]:
    """What a checkpoint holds (a pytree)."""
    online = {"online": self.online.state} if self.online else {}
    return {"loop": loop, "kept": alone_or_all(self.kept), **online}

  def _writer(self, resume_step: int | None) -> MetricsWriter:
    return MetricsWriter(self.workdir, STAGE, resume_step, [name for name in self.names if name])

  def _episode_seeds(self, stream: Stream) -> list[int]:
    return [episode_seed(stream, seed) for seed in self.seeds]

  def _first(self, capacity: int) -> LoopState:
    """The loop's state before its first step; `capacity` is the replay's."""
    return first_state(self.seeds, self.env, self.sac, capacity, self.reward.state_shape)

  def _steps(self, state: LoopState) -> Generator[LoopStep, Any, None]:
    """The loop from a state on."""
    loop, seeds = loop_settings(self.config.policy), self._episode_seeds(Stream.TRAINING)
    return train_loop(self.env, self.reward, state, self.sac, loop, seeds, self.devices)

  def _found(
    self, env: FrameVectorEnv, actors: Any, stream: Stream, episodes: int
  ) -> list[dict[str, float]]:
    """What `evaluate_policies` finds of stacked actors in episodes of a stream."""
    seeds = self._episode_seeds(stream)
    return evaluate_policies(env, self.reward, actors, self.sac, episodes, seeds)

  def _evaluate(self, actors: Any) -> list[dict[str, float]]:
    episodes = self.config.policy.eval_episodes
    return self._found(self.eval_env, actors, Stream.EVALUATION, episodes)

  def _keep_better(self, actors: Any, step: int) -> list[dict[str, float]]:
    """Evaluates the actors and keeps those of a return higher than before; their finite metrics."""
    rows = self._evaluate(actors)
    for kept, row, actor in zip(self.kept, rows, self.agents.unstack(actors), strict=True):
      kept["last_success"] = np.float32(row["success"])
      if row["return"] > kept["return"]:
        made = jax.tree.map(jnp.array, actor)
        kept |= {"actor": made, "return": np.float32(row["return"]), "step": np.int32(step)}
    # Steps to success are NaN without any.
    return [{name: x for name, x in row.items() if np.isfinite(x)} for row in rows]

  def _latest(self, episodes: list[list[dict]], loop_step: LoopStep) -> list[list[dict]]:
    """Each agent's last episodes, with those that ended at this step."""
    num_envs = self.env.num_envs // self.agents.count
    ended: list[list[dict]] = [[] for _ in self.seeds]
    rows = np.flatnonzero(loop_step.step.truncated)
    for row, episode in zip(rows, loop_step.episodes, strict=True):
      ended[row // num_envs].append(episode)
    return [(old + new)[-2 * num_envs :] for old, new in zip(episodes, ended, strict=True)]

  def _require_finite(self, loop_step: LoopStep, step: int) -> None:
    """Raises UserError where an agent has skipped too many updates in a row."""
    in_a_row = np.asarray(loop_step.state.agent.skipped).reshape(-1, 2)[:, 1]
    worst = int(in_a_row.argmax())
    if in_a_row[worst] >= self.config.policy.max_skipped:
      advice = "lower config.policy.learning_rate or config.reward.scale"
      metrics = self.agents.unstack(loop_step.metrics)[worst]
      raise not_finite(metrics, int(in_a_row[worst]), step, advice)

  def _row(
    self, evaluated: list[dict[str, float]], episodes: list[list[dict]], loop_step: LoopStep
  ) -> dict[str, Any]:
    """A row of metrics, `joined_metrics`."""
    latest = self.agents.unstack((loop_step.metrics, loop_step.state.agent.skipped))
    rows = [
      {**row, **metrics, **_logged(ended, skipped)}
      for row, ended, (metrics, skipped) in zip(evaluated, episodes, latest, strict=True)
    ]
    return joined_metrics(self.names, rows)


def _logged(episodes: list[dict[str, float]], skipped: Any) -> dict[str, Any]:
  """Means over the last episodes of training, and how many updates were skipped."""
  means = {
    f"train_{name}": float(np.mean([episode[name] for episode in episodes]))
    for name in (episodes[0] if episodes else ())
  }
  return {**means, **dict(zip(("skipped", "skipped_in_a_row"), skipped, strict=True))}


def _shown(episodes: list[list[dict[str, float]]], kept: list[dict[str, Any]]) -> dict[str, float]:
  """Numbers for the progress bar, means over agents."""
  shown = {}
  if all(np.isfinite(each["return"]) for each in kept):
    names = {"eval_return": "return", "eval_success": "last_success"}
    shown = {name: float(np.mean([each[key] for each in kept])) for name, key in names.items()}
  if returns := [episode["return"] for each in episodes for episode in each]:
    shown["train_return"] = float(np.mean(returns))
  return shown
