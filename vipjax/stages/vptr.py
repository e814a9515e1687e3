"""V-PTR's later phases: conservative Q-learning on data of many tasks, then on the target's, too.

The encoder is frozen. It sees the frames of the data once; what the agent learns from is kept.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import RobotEnv, Stream, episode_seed, num_actions, robot_state
from vipjax.runtime import files, run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter
from vipjax.runtime.preemption import Preemption
from vipjax.runtime.progress import Progress
from vipjax.runtime.settings import from_section
from vipjax.sac.actor_file import save_actor
from vipjax.sac.agent import SacSettings, SacState, compile_policy, init_agent
from vipjax.sac.conservative import (
  ConservativeSettings,
  OfflineData,
  OfflineSettings,
  make_conservative_update,
  make_offline,
  make_offline_updates,
  with_statistics,
)
from vipjax.scene import View
from vipjax.stages.agent import sac_settings
from vipjax.stages.embedded_data import load_data
from vipjax.stages.inputs import env_options, views_from_config
from vipjax.stages.stage import Resumed, not_finite, stage
from vipjax.types import Trajectory
from vipjax.videos import write_video

ROBOT, TARGET = "robot", "target"
_AGENT_STREAM = 5
_PER_DISPATCH = 50  # updates
_METRICS_EVERY = 500  # updates


class Sources(NamedTuple):
  """Where a run's data are.

  Attributes:
    robot: of many tasks: the folder of a `record_robot_data`, or any data set with actions.
    target: of the target task, likewise.
    cache: gets the embedded data; runs of one encoder share it.
    robot_run: the run folder of `train_robot`, where `train_target` goes on; runs that differ in
      the target's data alone share it. None is the run's own.
  """

  robot: pathlib.Path
  target: pathlib.Path
  cache: pathlib.Path
  robot_run: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class PhaseSettings:
  """Keys of the section `vptr` that the two phases read.

  Attributes:
    robot_updates, target_updates: of each phase; without the first the second has the target's data
      alone.
    target_share: of the target's data in each batch of the second phase.
    state_entries: first entries of the recorded state that the agent sees.
  """

  robot_updates: int
  target_updates: int
  target_share: float
  state_entries: int


class _Learner(NamedTuple):
  """What learns in a run, and from what.

  Attributes:
    phases, sac, settings: see there.
    tasks: the names of the one-hot vector.
    robot: the data of many tasks; None for a run without that phase.
    target: the data of the target task; None in the first phase.
    state: the agent before its first update.
    num_actions: of the environment.
  """

  phases: PhaseSettings
  sac: SacSettings
  settings: ConservativeSettings
  tasks: tuple[str, ...]
  robot: OfflineData | None
  target: OfflineData | None
  state: SacState
  num_actions: int


@stage(ROBOT)
def train_robot(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, value: ValueFunction, sources: Sources
) -> Resumed:
  """Learns from the data of many tasks, or goes on from the last checkpoint.

  Args:
    config: as configs/vptr.py declares it.
    workdir: the run folder; gets metrics and checkpoints.
    value: the frozen encoder.
    sources: of the data.

  Returns:
    "updates", "trajectories", "steps" and "successes" of the data, "tasks" of the agent's one-hot
    vector, and the last metrics of `make_conservative_update`.

  Raises:
    UserError: no data with actions, or such as do not fit; see `load_data`.
  """
  robot = load_data(config, value, sources.robot, sources.cache)
  learner = _learner(config, robot, None)
  facts, earlier, _ = _learn(
    config, workdir, ROBOT, learner, learner.state, learner.phases.robot_updates
  )
  return Resumed({**_counts(robot), "tasks": list(learner.tasks), **facts}, earlier)


@stage(TARGET)
def train_target(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, value: ValueFunction, sources: Sources
) -> Resumed:
  """Goes on from the first phase with the target's data mixed in, and evaluates the policy.

  With config.vptr.robot_updates = 0 it begins anew with the target's data alone. Writes `policy/`:
  the actor and a film of an episode.

  Args:
    config, workdir, value, sources: as for `train_robot`.

  Returns:
    "success", "final_success" and "steps_to_success" of "episodes" in the target task, beside what
    `train_robot` returns of the target's data.

  Raises:
    UserError: the first phase has not finished here, or as `train_robot`.
  """
  phases = from_section(PhaseSettings, config.vptr, "vptr")
  before = sources.robot_run or workdir
  if phases.robot_updates and not run_folder.stage_done(before, ROBOT):
    raise UserError(
      f"expected the stage '{ROBOT}' to be finished in {before} before '{TARGET}', got no result; "
      "add it to config.vptr.stages, or set config.vptr.robot_updates to 0."
    )
  robot = load_data(config, value, sources.robot, sources.cache) if phases.robot_updates else []
  target = load_data(config, value, sources.target, sources.cache)
  others = sorted({str(each.task) for each in target} - {config.env.task})
  if others:
    raise UserError(
      f"expected episodes of config.env.task = '{config.env.task}' in {sources.target}, got some "
      f"of {', '.join(others)}; choose the task, or give its data as config.vptr.target_data."
    )
  learner = _learner(config, robot, target)
  state = learner.state
  if phases.robot_updates:
    with Checkpointer(before / "checkpoints" / ROBOT) as checkpoints:
      _, state, _ = checkpoints.restore_latest(state)
  until = phases.robot_updates + phases.target_updates
  facts, earlier, state = _learn(config, workdir, TARGET, learner, state, until)
  save_actor(workdir / "policy", state.actor, learner.sac, learner.num_actions)
  played = evaluate_actor(config, workdir / "policy", value, state.actor, learner.tasks)
  return Resumed({**_counts(target), **facts, **played}, earlier)


def evaluate_actor(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  value: ValueFunction,
  actor: Any,
  tasks: Sequence[str],
) -> dict[str, Any]:
  """Plays config.policy.final_episodes of the target task without exploration.

  Args:
    config: as configs/vptr.py declares it; the camera is the only one of config.views.
    folder: gets `final.mp4`, the first episode.
    value: the encoder.
    actor: the actor's variables.
    tasks: of the one-hot vector.

  Returns:
    "success": share of episodes that succeed at some step; "final_success": at the last;
    "steps_to_success": mean over the successful ones, NaN without any; "episodes".
  """
  actions, sac = num_actions(config.env.control), sac_settings(config.policy)
  policy = compile_policy(actions, sac, deterministic=True)
  key, task = jax.random.key(0), _one_hot(tasks, config.env.task)
  episodes = config.policy.final_episodes
  first, when, final = episode_seed(Stream.FINAL, config.seed), [], []
  with target_env(config) as env, Progress(episodes, "play", unit="episode") as progress:
    for number in range(episodes):
      env.reset(seed=first + number)
      film, solved, truncated = [], None, False
      while not truncated:
        film.append(env.frame(env.view))
        seen = value.embed(film[-1][None], chunk=1)[0]
        state = robot_state(env)[: config.vptr.state_entries]
        observation = np.concatenate([seen, state, task])
        _, _, _, truncated, info = env.step(np.asarray(policy(actor, observation, key)))
        solved = len(film) if solved is None and info["success"] else solved
      if not number:
        rate = env.metadata["render_fps"]
        write_video(folder / "final.mp4", np.stack(film), rate, overwrite=True)
      when.append(np.nan if solved is None else solved)
      final.append(info["success"])
      progress.update()
  known = [steps for steps in when if not np.isnan(steps)]
  return {
    "success": len(known) / episodes,
    "final_success": float(np.mean(final)),
    "steps_to_success": float(np.mean(known)) if known else float("nan"),
    "episodes": episodes,
  }


def target_env(config: ml_collections.ConfigDict) -> RobotEnv:
  """The environment of the target task, which draws as the data were drawn."""
  return RobotEnv(**env_options(config.env), size=config.corpus.size, view=_view(config))


def _view(config: ml_collections.ConfigDict) -> View:
  views = views_from_config(config.views)
  if len(views) != 1:
    raise UserError(
      f"expected one view in config.views, which the agent sees, got {', '.join(views)}; keep one."
    )
  return next(iter(views.values()))


def _learner(
  config: ml_collections.ConfigDict, robot: list[Trajectory], target: list[Trajectory] | None
) -> _Learner:
  """Makes what learns; the agent sees each observation with the one-hot vector of its task."""
  sac = sac_settings(config.policy)
  offline = from_section(OfflineSettings, config.vptr, "vptr", discount=sac.discount)
  # Of all target tasks, so that they can share the first phase.
  tasks = tuple(sorted({str(each.task) for each in robot} | {*config.vptr.tasks}))

  def made(trajectories: list[Trajectory] | None) -> OfflineData | None:
    return (
      make_offline([_told(each, tasks) for each in trajectories], offline) if trajectories else None
    )

  of_robot, of_target = made(robot), made(target)
  first = of_target if of_robot is None else of_robot
  actions, size = num_actions(config.env.control), first.transitions.observation.shape[1]
  key = jax.random.fold_in(jax.random.key(config.seed), _AGENT_STREAM)
  state = with_statistics(init_agent(key, size, actions, sac), first, len(tasks))
  return _Learner(
    from_section(PhaseSettings, config.vptr, "vptr"), sac,
    from_section(ConservativeSettings, config.vptr, "vptr"), tasks, of_robot, of_target, state,
    actions,
  )  # fmt: skip


def _learn(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  name: str,
  learner: _Learner,
  state: SacState,
  until: int,
) -> tuple[dict[str, Any], float, SacState]:
  """Updates the agent until its step, from the last checkpoint of this phase if there is one.

  Returns:
    "updates" and the last metrics; the seconds of earlier legs; and the agent.
  """
  datasets, counts = _mixture(learner, name)
  datasets = jax.device_put(datasets)
  options = learner.num_actions, learner.sac, learner.settings, counts
  begun = int(state.step)
  with Checkpointer(workdir / "checkpoints" / name, keep=2) as checkpoints:
    restored = checkpoints.restore_latest(state)
    facts = restored[2] if restored else {"seconds": 0.0, "metrics": {}}
    state = restored[1] if restored else state
    first = done = int(state.step)
    earlier, metrics = facts["seconds"], facts["metrics"]
    started = time.monotonic() - earlier
    with (
      MetricsWriter(workdir, name, first if restored else None) as writer,
      Progress(until - begun, name, initial=first - begun, unit="update") as progress,
      Preemption() as preemption,
    ):
      while done < until:
        count = min(_PER_DISPATCH, until - done)
        state, found = _compiled(*options, count)(state, datasets)
        before, done = done, done + count
        last, stop = done == until, preemption.requested()
        if last or stop or done // _METRICS_EVERY > before // _METRICS_EVERY:
          metrics = {key: float(number) for key, number in jax.device_get(found).items()}
          writer.write(done, metrics)
          progress.update(0, q_data=metrics["q_data"], q_pi=metrics["q_pi"])
          skipped = int(state.skipped[1])
          if skipped >= config.policy.max_skipped:
            advice = "lower config.policy.learning_rate or raise config.vptr.conservative_weight"
            raise not_finite(metrics, skipped, done, advice)
        progress.update(count)
        every = config.policy.checkpoint_every
        if last or stop or done // every > before // every:
          facts = {"seconds": time.monotonic() - started, "metrics": files.jsonable(metrics)}
          checkpoints.save(done, state, facts)
        if stop:
          preemption.exit(name, done)
  return {"updates": until - begun, **metrics}, earlier, state


@functools.cache
def _compiled(
  num_actions: int,
  sac: SacSettings,
  settings: ConservativeSettings,
  counts: tuple[int, ...],
  updates: int,
) -> Callable:
  update = make_conservative_update(num_actions, sac, settings)
  return jax.jit(make_offline_updates(update, counts, updates))


def _mixture(learner: _Learner, name: str) -> tuple[tuple[OfflineData, ...], tuple[int, ...]]:
  """The data sets of a phase, and how many rows of a batch come from each."""
  size = learner.sac.batch_size
  if name == ROBOT:
    return (learner.robot,), (size,)
  if learner.robot is None:
    return (learner.target,), (size,)
  of_target = min(max(round(learner.phases.target_share * size), 1), size)
  return (learner.robot, learner.target), (size - of_target, of_target)


def _counts(trajectories: Sequence[Trajectory]) -> dict[str, int]:
  """What the data gave."""
  return {
    "trajectories": len(trajectories),
    "steps": sum(map(len, trajectories)),
    "successes": sum(bool(each.success) for each in trajectories),
  }


def _told(trajectory: Trajectory, tasks: Sequence[str]) -> Trajectory:
  """The trajectory with its task in each observation."""
  task = np.broadcast_to(_one_hot(tasks, str(trajectory.task)), (len(trajectory) + 1, len(tasks)))
  observations = np.concatenate([trajectory.observations, task], axis=1)
  return dataclasses.replace(trajectory, observations=observations)


def _one_hot(tasks: Sequence[str], task: str) -> np.ndarray:
  return np.array([each == task for each in tasks], np.float32)
