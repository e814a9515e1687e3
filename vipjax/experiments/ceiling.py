"""How far a perfect reward brings the agent: SAC at many tasks on what only a simulator knows.

The ideal potential takes the embedding reward's place and is paid as that one is; beside it runs
Meta-World's own dense reward. No pictures are drawn.
"""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections

from vipjax.envs import CONTROLS, FrameVectorEnv
from vipjax.experiments.runs import require_seeds_apart, run_all
from vipjax.ids import SOLVED
from vipjax.report.learning import Group, write_learning
from vipjax.reward.interface import Reward
from vipjax.reward.measured import DenseReward, IdealReward
from vipjax.runtime import ranges
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.sac import LoopSettings, SacSettings
from vipjax.stages.agent import loop_settings, reward_settings, sac_settings
from vipjax.stages.filming import agent_options, require_tasks
from vipjax.stages.stage import Resumed, stage
from vipjax.stages.task import filled
from vipjax.stages.training import STAGE, Training

REWARDS = ("ideal", "dense")
_TITLE = "How far a perfect reward brings the agent"


class Contest(NamedTuple):
  """A run in plain values, so that other agents can learn the same from the same.

  Attributes:
    task, control, seed: as in `Job`.
    env_options: keyword arguments of RobotEnv.
    num_envs: environments to act in.
    reward: what pays their steps.
    sac, loop: our agent's settings.
    replay_capacity: most transitions in a replay.
    steps: actions of all environments together.
    eval_every, eval_episodes: actions between two evaluations, and the episodes of one.
  """

  task: str
  control: str
  seed: int
  env_options: dict[str, Any]
  num_envs: int
  reward: Reward
  sac: SacSettings
  loop: LoopSettings
  replay_capacity: int
  steps: int
  eval_every: int
  eval_episodes: int


class Job(NamedTuple):
  """One run: which reward, control, task and seed."""

  reward: str
  control: str
  task: str
  seed: int

  def folder(self, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the run's folder inside the folder of all runs."""
    return workdir / self.reward / self.control / self.task / f"seed{self.seed}"


def find_jobs(config: ml_collections.ConfigDict) -> list[Job]:
  """Returns the runs that a config asks for, what tells most first: one seed of every task.

  Torques are left out where the scripted expert does not solve the task by them.

  Raises:
    UserError: an unknown reward, control or task, or runs that share a seed.
  """
  settings = config.ceiling
  require_seeds_apart("ceiling.seeds", settings.seeds, config.policy.seeds)
  require_tasks("ceiling.tasks", settings.tasks)
  for name, known in (("rewards", REWARDS), ("controls", CONTROLS)):
    if not set(settings[name]) <= set(known):
      raise UserError(
        f"expected config.ceiling.{name} among {', '.join(known)}, got {list(settings[name])}; "
        "choose one or more of these."
      )
  return [
    Job(reward, control, task, seed)
    for seed in settings.seeds
    for reward in settings.rewards
    for control in settings.controls
    for task in settings.tasks
    if control != "torque" or task in SOLVED[config.env.robot, control]
  ]


def run_config(config: ml_collections.ConfigDict, job: Job) -> ml_collections.ConfigDict:
  """The config of one run: the experiment's, with what its job is and what fits its task."""
  made = ml_collections.ConfigDict(config.to_dict())
  made.seed, made.env.task, made.env.control = job.seed, job.task, job.control
  weights = {name: config.ceiling[name] for name in ("hand_weight", "object_weight")}
  made.ceiling = ml_collections.ConfigDict({"reward": job.reward, **weights})
  if job.reward == "dense":
    made.reward.scale = config.ceiling.dense_scale
  return filled(made)


def make_reward(config: ml_collections.ConfigDict) -> Reward:
  """Returns the reward of a run, from the run's config."""
  if config.ceiling.reward == "dense":
    return DenseReward(config.reward.scale)
  weights = config.ceiling.hand_weight, config.ceiling.object_weight
  return IdealReward(reward_settings(config), *weights)


def find_contests(config: ml_collections.ConfigDict) -> list[Contest]:
  """Returns the runs of `find_jobs` in plain values; raises UserError as that does."""
  return [_contest(run_config(config, job)) for job in find_jobs(config)]


def _contest(config: ml_collections.ConfigDict) -> Contest:
  policy = config.policy
  return Contest(
    config.env.task,
    config.env.control,
    config.seed,
    agent_options(config),
    policy.num_envs,
    make_reward(config),
    sac_settings(policy),
    loop_settings(policy),
    policy.replay_capacity,
    policy.steps,
    policy.eval_every,
    policy.eval_episodes,
  )


def run_ceiling(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains every policy that is not there yet, one process on each core; prints each result.

  A run is a run folder, <workdir>/<reward>/<control>/<task>/seed<n>, and goes on where it stopped.
  `ceiling.html`, `ceiling.png` and `table.md` tell of all runs in the folder, unfinished ones and
  those of earlier calls among them; they are written at the start and after every run.

  Raises:
    UserError: a bad setting, another process uses the folder, or runs were left out.
  """
  ranges.check("", config)
  jobs = [(job.folder(workdir), run_config(config, job)) for job in find_jobs(config)]
  page = functools.partial(write_page, workdir, config.ceiling.tasks)
  problems = run_all("ceiling", workdir, jobs, _run, STAGE, page)
  if problems:
    raise UserError(
      f"expected {len(jobs)} runs, got {len(problems)} that were left out ({'; '.join(problems)}); "
      "mend these and run the command again."
    )


def write_page(workdir: pathlib.Path, tasks: Sequence[str] = ()) -> pathlib.Path | None:
  """Writes the page, its picture and the table of all runs in the folder, as `write_learning`.

  Args:
    workdir: the folder of all runs.
    tasks: in the order to show them; others follow.
  """
  return write_learning(workdir, "ceiling", _TITLE, find_groups(workdir, tasks), "reward, control")


def find_groups(workdir: pathlib.Path, tasks: Sequence[str] = ()) -> list[Group]:
  """Returns the runs in a folder of all runs by task, reward and control, finished or not."""
  found = sorted(path.name for path in workdir.glob("*/*/*") if path.parents[1].name in REWARDS)
  groups = []
  for task in dict.fromkeys([*tasks, *found]):
    for reward in REWARDS:
      for control in CONTROLS:
        folders = tuple(sorted((workdir / reward / control / task).glob("seed*")))
        if folders:
          groups.append(Group(task, f"{reward}, {control.replace('_', ' ')}", folders, reward))
  return groups


def _run(config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
  """Trains the policy of a run in a process of `run_all`."""
  jax.config.update("jax_platforms", "cpu")  # The networks are small, and every core has a run.
  result = train(config, folder)
  # A replay takes more room than all the rest.
  shutil.rmtree(folder / "checkpoints", ignore_errors=True)
  return f"{result['success']:.0%} of {result['episodes']}, {result['rate']:.0f} actions/s"


@stage(STAGE)
def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Resumed:
  """Trains and evaluates one policy; goes on from the last checkpoint.

  Args:
    config: that of a run, as `run_config` makes it.
    workdir: the run folder.

  Returns:
    JSON-able facts of the policy of the highest evaluation return: "success", "final_success",
    "return", "distance", "steps_to_success" of "episodes" new episodes, "best_step"; "last_success"
    of the last evaluation, "env_steps", and "rate", actions a second with evaluations. Of several
    agents (config.policy.seeds) means, with each one's in "agents".
  """
  policy, reward = config.policy, make_reward(config)
  if policy.input == "frame":
    raise UserError(
      "expected config.policy.input 'state' where nothing is drawn, got 'frame'; set it back."
    )
  sac, options = sac_settings(policy), agent_options(config)
  with (
    FrameVectorEnv(options, policy.seeds * policy.num_envs, num_workers=0) as env,
    FrameVectorEnv(
      options, policy.seeds * min(policy.eval_episodes, 10), num_workers=0
    ) as eval_env,
    Checkpointer(workdir / "checkpoints" / STAGE, keep=2) as checkpoints,
  ):
    training = Training(config, workdir, env, eval_env, reward, sac, jax.local_devices()[:1])
    training.run(checkpoints)
    final = training.evaluate_kept(eval_env)
  training.write_kept()
  return Resumed({**training.results(final), "rate": training.rate}, training.earlier_seconds)
