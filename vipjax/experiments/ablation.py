"""Runs of one config in variants x seeds, each in a run folder, and the page that compares them."""

from __future__ import annotations

import json
import pathlib
import shutil
import time
from collections.abc import Iterable

import ml_collections

from vipjax.experiments.comparison import write_comparison
from vipjax.report.page import write_report
from vipjax.reward.settings import PREDICTED
from vipjax.runtime import files, places, ranges, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.renamed_keys import check_key
from vipjax.stages import task
from vipjax.stages.pipeline import Additions, run_stages

# The sections that a recording depends on beside evaluate.unseen_episodes, and its folders.
_RECORDING_KEYS = ("seed", "env", "views", "record")
_RECORDED = ("videos", "unseen", "background", "robots", "dataset")


def run_ablation(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, additions: Additions
) -> pathlib.Path:
  """Runs every variant with every seed, and writes the page that compares them.

  A run that fails of what a user can mend (an encoder that cannot be loaded, say) is left out and
  named on the page; the others go on.

  Args:
    config: as configs/ablation.py makes it.
    workdir: the folder of all runs.
    additions: as `run_stages` takes it.

  Returns:
    The page's path.

  Raises:
    UserError: an unknown variant, a change that is no key=JSON of the config, or no run at all.
  """
  settings = config.ablation
  # The main ones first; a ConfigDict keeps its keys in the alphabet's order.
  order = list(dict.fromkeys([*settings.policies, *settings.variants]))
  names = list(settings.only) or [name for name in order if name not in settings.asked_for]
  for name in (*names, *settings.policies):
    if name not in settings.variants:
      raise UserError(
        f"expected variants among {', '.join(settings.variants)}, got {name!r}; rename or add it."
      )
  # All configs are made before the first run: a slip in the last one should not wait for hours.
  runs = [
    (name, seed, variant_config(config, settings.variants[name], seed))
    for seed in settings.seeds
    for name in names
  ]
  places.hold(workdir)
  problems = []
  for number, (name, seed, run_config) in enumerate(runs, 1):
    print(f"ablation {number}/{len(runs)}: {name}, seed {seed}", flush=True)
    try:
      folder = run_folder.open_run(workdir / name / f"seed{seed}", run_config)
      _run(run_config, folder, name in settings.policies, workdir, additions)
    except UserError as error:
      problems.append(f"{name}, seed {seed}: {error}")
      print(f"left out: {error}", flush=True)
  return write_comparison(workdir, order, problems)


def variant_config(
  config: ml_collections.ConfigDict, changes: Iterable[str], seed: int
) -> ml_collections.ConfigDict:
  """The config of one run: the ablation's without its section `ablation`, changed.

  Args:
    config: the ablation's config.
    changes: each is "section.key=JSON".
    seed: the seed of the run.

  Raises:
    UserError: a change has another form or a key that the config has not, or it sets a number out
      of its range.
  """
  made = ml_collections.ConfigDict(config.to_dict())
  del made["ablation"]
  made.seed = seed
  return changed_config(made, changes)


def changed_config(
  config: ml_collections.ConfigDict, changes: Iterable[str]
) -> ml_collections.ConfigDict:
  """A locked copy of a config with changes; takes and raises as `variant_config`."""
  made = ml_collections.ConfigDict(config.to_dict()).lock()
  for change in changes:
    key, _, text = change.partition("=")
    check_key(key)
    try:
      made.update_from_flattened_dict({key: json.loads(text)})
    except (KeyError, TypeError, ValueError) as error:
      raise UserError(
        f"expected changes like 'finetune.tcc.weight=0' of keys that the config has, got "
        f"{change!r}; correct it."
      ) from error
  ranges.check("", made)
  return made


def _run(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  policy: bool,
  workdir: pathlib.Path,
  additions: Additions,
) -> None:
  """Runs all stages and the report, unless that is done."""
  if run_folder.stage_done(folder, "report"):
    return
  _share_recording(config, folder, workdir)
  run_stages(config, folder, additions, policy)
  started = time.monotonic()
  write_report(folder)
  run_folder.mark_done(folder, "report", {}, time.monotonic() - started)


def _share_recording(
  config: ml_collections.ConfigDict, folder: pathlib.Path, workdir: pathlib.Path
) -> None:
  """Copies the videos of a run whose recording depends on the same, if there is one.

  What was chosen for its task comes with them.
  """
  if run_folder.stage_done(folder, "record") or config.data.path:
    return
  wanted = _recording(config.to_dict())
  for other in sorted(workdir.glob("*/seed*")):
    done = run_folder.stage_done(other, "record")
    if done and _recording(run_folder.stored_config(other)) == wanted:
      for name in _RECORDED:
        if (other / name).exists():
          shutil.copytree(other / name, folder / name, dirs_exist_ok=True)
      if (other / task.FILE).exists():
        shutil.copy(other / task.FILE, folder)
      result = run_folder.stage_result(other, "record")
      run_folder.mark_done(folder, "record", result, run_folder.stage_seconds(other, "record"))
      return


def _recording(config: dict) -> list:
  """The part of a config that a recording depends on, what fits its task filled in."""
  config = files.jsonable(task.filled(config))
  # Films of robots, for encoders that look past them.
  predicted = config["reward"].get("robot_free") == PREDICTED
  waving = (config["robot_free"]["random_episodes"], config["policy"]["views"]) if predicted else ()
  return [
    *(config[key] for key in _RECORDING_KEYS),
    config["evaluate"]["unseen_episodes"],
    waving,
  ]
