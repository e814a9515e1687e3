"""V-PTR's later phases: conservative Q-learning on data of many tasks, then on the target's, too.

Either the encoder is frozen, sees the frames of the data once, and what the agent learns from is
kept; or actor and critics have a copy each that learns with them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import RobotEnv, Stream, episode_seed, num_actions, robot_state
from vipjax.runtime import run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.runtime.settings import from_section
from vipjax.sac.actor_file import save_actor
from vipjax.sac.agent import compile_policy
from vipjax.sac.sight import actors_encoder, eye, without_encoder
from vipjax.scene import View
from vipjax.stages.agent import sac_settings
from vipjax.stages.embedded_data import load_data
from vipjax.stages.inputs import env_options, views_from_config
from vipjax.stages.offline import (
  ROBOT,
  TARGET,
  Learner,
  PhaseSettings,
  learn,
  make_learner,
  one_hot,
)
from vipjax.stages.stage import Resumed, stage
from vipjax.types import Trajectory
from vipjax.videos import write_video


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


@stage(ROBOT)
def train_robot(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, value: ValueFunction, sources: Sources
) -> Resumed:
  """Learns from the data of many tasks, or goes on from the last checkpoint.

  Args:
    config: as configs/vptr.py declares it.
    workdir: the run folder; gets metrics and checkpoints.
    value: the encoder; where it learns, what it starts from.
    sources: of the data.

  Returns:
    "updates", "trajectories", "steps" and "successes" of the data, "tasks" of the agent's one-hot
    vector, and the last metrics of `make_conservative_update`.

  Raises:
    UserError: no data with actions, or such as do not fit; see `load_data`.
  """
  robot = load_data(config, value, sources.robot, sources.cache)
  learner = make_learner(config, value, robot, None)
  facts, earlier, _ = learn(
    config, workdir, ROBOT, learner, learner.state, learner.phases.robot_updates
  )
  return Resumed({**counts(robot), "tasks": list(learner.tasks), **facts}, earlier)


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
  learner = make_learner(config, value, robot, target)
  state = learner.state
  if phases.robot_updates:
    with Checkpointer(before / "checkpoints" / ROBOT) as checkpoints:
      _, state, _ = checkpoints.restore_latest(state)
  until = phases.robot_updates + phases.target_updates
  facts, earlier, state = learn(config, workdir, TARGET, learner, state, until)
  save_policy(workdir / "policy", value, state.actor, learner)
  played = evaluate_actor(config, workdir / "policy", value, state.actor, learner.tasks)
  return Resumed({**counts(target), **facts, **played}, earlier)


def save_policy(folder: pathlib.Path, value: ValueFunction, actor: Any, learner: Learner) -> None:
  """Writes the actor, and its encoder where that learned: `encoder/`, as `vipjax.load` takes it."""
  save_actor(folder, without_encoder(actor), learner.sac, learner.num_actions)
  if learner.sight is not None:
    encoder.save(folder / "encoder", actors_encoder(value, actor), overwrite=True)


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
    value: the encoder; an actor that has one of its own sees by that.
    actor: the actor's variables.
    tasks: of the one-hot vector.

  Returns:
    "success": share of episodes that succeed at some step; "final_success": at the last;
    "steps_to_success": mean over the successful ones, NaN without any; "episodes".
  """
  actions, sac = num_actions(config.env.control), sac_settings(config.policy)
  policy, see = compile_policy(actions, sac, deterministic=True), eye(value, actor)
  key = jax.random.key(0)
  episodes = config.policy.final_episodes
  first, when, final = episode_seed(Stream.FINAL, config.seed), [], []
  with target_env(config) as env, Progress(episodes, "play", unit="episode") as progress:
    for number in range(episodes):
      env.reset(seed=first + number)
      film, solved, truncated = [], None, False
      look = eyes(config, env, see, tasks)
      while not truncated:
        film.append(env.frame(env.view))
        action = policy(actor, look(film[-1]), key)
        _, _, _, truncated, info = env.step(np.asarray(action))
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


def eyes(
  config: ml_collections.ConfigDict,
  env: RobotEnv,
  see: Callable[[np.ndarray], np.ndarray],
  tasks: Sequence[str],
) -> Callable[[np.ndarray], np.ndarray]:
  """What the agent knows of the present state, from the frame of it; `see` is its `eye`."""
  task, entries = one_hot(tasks, config.env.task), config.vptr.state_entries

  def look(frame: np.ndarray) -> np.ndarray:
    return np.concatenate([see(frame), robot_state(env)[:entries], task])

  return look


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


def counts(trajectories: Sequence[Trajectory]) -> dict[str, int]:
  """How many "trajectories" and "steps" the data have, and how many of the former succeed."""
  return {
    "trajectories": len(trajectories),
    "steps": sum(map(len, trajectories)),
    "successes": sum(bool(each.success) for each in trajectories),
  }
