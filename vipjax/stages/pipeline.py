"""All stages in a row, and the numbers of a run in one file."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Callable
from typing import Any

import ml_collections

from vipjax.reward.settings import PREDICTED
from vipjax.runtime import files, run_folder
from vipjax.runtime.progress import peak_memory_mb
from vipjax.stages import ahead
from vipjax.stages.agent import (
  refuse_online_seeds,
  require_input,
  require_predictable,
  require_shared_memory,
)
from vipjax.stages.evaluate import evaluate
from vipjax.stages.finetune import finetune
from vipjax.stages.record import record
from vipjax.stages.robot_free import train_robot_free
from vipjax.stages.sections import check_config
from vipjax.stages.task import filled, fit_to_task
from vipjax.stages.train_policy import train_policy

# Lists the additions to the published method that a config has on, each as {"name", "value",
# "reason"}; configs/paper.py has one.
Additions = Callable[[ml_collections.ConfigDict], list[dict[str, Any]]]
# Stage names as in the run folder, in their order; the report is written from their results.
STAGES = ("record", "finetune", "robot_free", "evaluate", "policy")


def run_stages(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  additions: Additions,
  policy: bool = True,
  command: str | None = None,
) -> dict[str, Any]:
  """Runs every stage that has not finished yet and returns `collect_results`.

  Args:
    config, workdir: as for every stage.
    additions, command: as `collect_results` takes them.
    policy: whether to train one.
  """
  check_config(config)
  if policy or not config.data.path:  # else there need be no simulator
    config = fit_to_task(config, workdir)
  require_predictable(config)
  if policy and not run_folder.stage_done(workdir, "policy"):
    refuse_online_seeds(config)
    require_input(config)
    require_shared_memory(config)
  stages = {
    "record": record, "finetune": finetune, "robot_free": train_robot_free, "evaluate": evaluate,
    "policy": train_policy,
  }  # fmt: skip
  if not policy:
    del stages["policy"]
  if config.reward.robot_free != PREDICTED:
    del stages["robot_free"]
  if config.evaluate.off_path_episodes:
    # What the policy visits is part of the evidence.
    stages["evaluate"] = stages.pop("evaluate")
  for number, (name, stage) in enumerate(stages.items(), 1):
    if name == "record" and config.data.path:
      continue  # The videos are the user's own.
    done = run_folder.stage_done(workdir, name)
    print(f"[{number}/{len(stages)}] {name}{': finished before' if done else ''}", flush=True)
    if name == "finetune" and policy:
      wait_for_programs = ahead.start(config, workdir)
    elif name == "policy":
      wait_for_programs()
    stage(config, workdir)
  return collect_results(config, workdir, additions, command)


def collect_results(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  additions: Additions,
  command: str | None = None,
) -> dict[str, Any]:
  """Writes `results.json` from the results of the stages that have finished, and returns it.

  Args:
    config, workdir: as for every stage.
    additions: that of configs/paper.py.
    command: the command that makes such a run again; None takes the one that was noted earlier,
      else one that reproduces this run.
  """
  path = workdir / "results.json"
  earlier = files.read_json(path, {})
  peak = earlier.get("peak_memory_mb", 0.0)
  results: dict[str, Any] = {}
  done = [name for name in STAGES if run_folder.stage_done(workdir, name)]
  for name in done:
    facts = run_folder.stage_result(workdir, name)
    # The first stages have names, such as "steps" or "loss", that mean little elsewhere.
    results |= facts if name in ("evaluate", "policy") else {f"{name}_{k}": facts[k] for k in facts}
  if "rank_correlation_unseen_before" in results:
    results["rank_correlation_before"] = results["rank_correlation_unseen_before"]
  results["seconds"] = {name: run_folder.stage_seconds(workdir, name) for name in done}
  results["peak_memory_mb"] = max(peak, peak_memory_mb())
  results["seeds"] = [agent["seed"] for agent in results.get("agents", [])] or [config.seed]
  results["additions"] = additions(filled(config))
  results["notes"] = _missed(config.expect, results)
  again = ["python", "-m", "launch.reproduce", f"--workdir={workdir}", f"--out={workdir}_again"]
  results["command"] = command or earlier.get("command") or shlex.join(again)
  files.write_json(path, results)
  return results


def _missed(expected: ml_collections.ConfigDict, results: dict[str, Any]) -> list[str]:
  """A sentence for each number of the results that is below what the config expects."""
  return [
    f"{name} is {results[name]:.3g}, below the {least:.3g} that this config should reach."
    for name, least in expected.items()
    if name in results and results[name] < least
  ]
