"""Rows beside V-PTR's that learn a reward of videos, without actions: runs of the pipeline."""

from __future__ import annotations

import pathlib
import shutil

import ml_collections

from vipjax.experiments import ceiling
from vipjax.experiments.ablation import changed_config
from vipjax.report.page import write_report
from vipjax.reward.measured import IdealReward
from vipjax.stages.pipeline import Additions, run_stages
from vipjax.stages.task import filled


def reward_configs(
  config: ml_collections.ConfigDict, route: ml_collections.ConfigDict
) -> dict[str, ml_collections.ConfigDict]:
  """The config of each row of config.vptr.rewards, before its task, episodes and seed are set.

  Args:
    config: as configs/vptr.py makes it; its environment is every row's.
    route: the pipeline's, as configs/demo.py makes it, which config.vptr.route changes for all rows
      and config.vptr.rewards for each. `ceiling.reward="ideal"` makes a row of the potential that
      only a simulator knows; `encoder.init=""` starts from phase 1's encoder.

  Raises:
    UserError: a change that is no key=JSON of that config, or sets a number out of its range.
  """
  base = ml_collections.ConfigDict(route.to_dict())
  base.expect = ml_collections.ConfigDict()
  base.env = ml_collections.ConfigDict(config.env.to_dict())
  weights = {name: getattr(IdealReward, name) for name in ("hand_weight", "object_weight")}
  base.ceiling = ml_collections.ConfigDict({"reward": "", **weights})
  options = config.vptr
  made = {
    name: changed_config(base, (*options.route, *options.rewards[name])) for name in options.rewards
  }
  for row in made.values():
    if not row.ceiling.reward:
      with row.unlocked():
        del row.ceiling
  return made


def needs_videos(config: ml_collections.ConfigDict) -> bool:
  """Whether a row's reward is learned: the ideal potential is given no episode."""
  return "ceiling" not in config


def needs_phase_1(config: ml_collections.ConfigDict) -> bool:
  """Whether a row starts from phase 1's encoder."""
  return needs_videos(config) and not config.encoder.init


def reward_run_config(
  config: ml_collections.ConfigDict, task: str, episodes: int, seed: int, phase_1: str
) -> ml_collections.ConfigDict:
  """The config of one run of a row.

  Args:
    config: of the row.
    task: the target.
    episodes: the expert's, that it films.
    seed: of the run.
    phase_1: encoder of phase 1, for rows that start from it.
  """
  made = ml_collections.ConfigDict(config.to_dict())
  made.seed, made.env.task = seed, task
  if not needs_videos(made):
    return filled(made)
  made.record.episodes = episodes
  made.encoder.init = made.encoder.init or phase_1
  return made


def run_reward(
  additions: Additions, config: ml_collections.ConfigDict, folder: pathlib.Path
) -> str:
  """Runs one row at one target with one seed, in a process of `run_all`, and its report."""
  if needs_videos(config):
    result = run_stages(config, folder, additions)
    write_report(folder)
    success = result["policy_success"]
  else:
    result = ceiling.train(config, folder)
    success = result["success"]
  # A replay takes more room than all the rest.
  shutil.rmtree(folder / "checkpoints", ignore_errors=True)
  return f"{success:.0%} of {result['episodes']}"
