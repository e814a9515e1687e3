"""V-PTR and its ablations: video pre-training, then offline Q-learning on robot data."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.experiments.ablation import changed_config
from vipjax.experiments.runs import run_all
from vipjax.experiments.vptr_page import VIDEO, write_page
from vipjax.runtime import ranges, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.platform import on_cpu
from vipjax.stages.corpus import record_corpus
from vipjax.stages.filming import require_tasks
from vipjax.stages.finetune import finetune
from vipjax.stages.inputs import make_encoder
from vipjax.stages.robot_data import record_robot_data
from vipjax.stages.vptr import ROBOT, TARGET, Sources, train_robot, train_target

STAGES = (VIDEO, ROBOT, TARGET)
# The sections that phase 1 depends on.
_PHASE_1 = ("seed", "corpus", "data", "encoder", "finetune", "reward")
# Keys of config.vptr that say which runs there are, not what one is.
_OF_ALL_RUNS = ("stages", "seeds", "only", "rows")


def run_vptr(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> pathlib.Path | None:
  """Runs every row with every seed, and writes the page and the table that compare them.

  A run is a run folder, <workdir>/<row>/seed<n>, and goes on where it stopped. They share what is
  the same: phase 1 in `video/<row>`, recorded data in `data/` and `target/`, embedded frames.

  Args:
    config: as configs/vptr.py makes it.
    workdir: the folder of all runs.

  Returns:
    The page's path; None where no run has learned yet.

  Raises:
    UserError: an unknown stage, row or task, a bad setting, or another process uses the folder.
  """
  ranges.check("", config)
  options = config.vptr
  require_tasks("env.task", [config.env.task])
  _require_among("stages", options.stages, STAGES)
  every = _in_order(options.rows)
  _require_among("only", options.only, every)
  of_rows = row_configs(config)
  configs = {name: of_rows[name] for name in options.only or every}
  if VIDEO in options.stages:
    for name, made in _video_configs(config, of_rows, configs).items():
      folder = run_folder.open_run(workdir / VIDEO / name, made)
      record_corpus(made, folder)
      finetune(made, folder)
  learning = [name for name in (ROBOT, TARGET) if name in options.stages]
  jobs = []
  if learning:
    _record(config, workdir, configs, options.stages)
    jobs = [
      (workdir / name / f"seed{seed}", _of_run(made, seed))
      for seed in options.seeds
      for name, made in configs.items()
    ]
  page = functools.partial(write_page, workdir, every)
  run = functools.partial(_run, tuple(learning))
  problems = run_all("vptr", workdir, jobs, run, TARGET, page, on_cpu())
  return page(problems)


def row_configs(config: ml_collections.ConfigDict) -> dict[str, ml_collections.ConfigDict]:
  """The config of each row of config.vptr.rows; `vptr.video_run` names whose phase 1 it shares.

  Raises:
    UserError: a change that is no key=JSON of the config, or sets a number out of its range.
  """
  rows = config.vptr.rows
  made = {name: changed_config(config, rows[name]) for name in _in_order(rows)}
  for row in made.values():
    with row.unlocked():
      row.vptr.video_run = next(each for each in made if _before(made[each]) == _before(row))
  return made


def _video_configs(
  config: ml_collections.ConfigDict,
  of_rows: Mapping[str, ml_collections.ConfigDict],
  chosen: Mapping[str, ml_collections.ConfigDict],
) -> dict[str, ml_collections.ConfigDict]:
  """The config of each phase 1 that chosen rows need, by the row that names it."""
  needed = dict.fromkeys(row.vptr.video_run for row in chosen.values() if not row.vptr.encoder)
  return {
    name: changed_config(_without(of_rows[name], "vptr", "robot_data"), config.vptr.video)
    for name in needed
  }


def _run(stages: tuple[str, ...], config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
  """Runs the phases of one row and seed, in a process of `run_all`."""
  root, options = folder.parents[1], config.vptr
  value = _row_encoder(config, root)
  sources = Sources(
    pathlib.Path(options.data).expanduser() if options.data else root / "data",
    pathlib.Path(options.target_data).expanduser() if options.target_data
    else root / _target_name(config),
    root / "embedded",
  )  # fmt: skip
  said = "no phase of this row"
  if ROBOT in stages and options.robot_updates:
    result = train_robot(config, folder, value, sources)
    said = f"Q(data) {result['q_data']:.1f} after {result['updates']} updates"
  if TARGET in stages:
    result = train_target(config, folder, value, sources)
    said = f"{result['success']:.0%} of {result['episodes']}"
  return said


def _row_encoder(config: ml_collections.ConfigDict, root: pathlib.Path) -> ValueFunction:
  """The frozen encoder of a row."""
  name = config.vptr.encoder
  if name == "scratch":
    fresh = ml_collections.ConfigDict({**config.encoder.to_dict(), "init": "scratch"})
    return make_encoder(fresh, jax.random.key(config.seed))
  folder = root / VIDEO / config.vptr.video_run
  if not name and not run_folder.stage_done(folder, "finetune"):
    raise UserError(
      f"expected the encoder of phase 1 in {folder}, got none; add '{VIDEO}' to "
      "config.vptr.stages, or give an encoder as config.vptr.encoder."
    )
  return encoder.load(name or folder / "encoder")


def _record(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  rows: Mapping[str, ml_collections.ConfigDict],
  stages: Sequence[str],
) -> None:
  """Records the data that rows need and that were not given."""
  made = _without(config, "vptr")
  made.corpus.controls = (config.env.control,)
  made.robot_data.formats = made.robot_data.formats[:1]
  if any(row.vptr.robot_updates and not row.vptr.data for row in rows.values()):
    record_robot_data(made, run_folder.open_run(workdir / "data", made))
  for row in rows.values():
    if TARGET not in stages or row.vptr.target_data:
      continue
    made = _without(row, "vptr")
    made.corpus.controls = (row.env.control,)
    made.corpus.update({
      "expert_episodes": row.vptr.target_episodes, "recovering_episodes": 0, "noisy_episodes": 0,
      "random_episodes": 0, "noise": (0.0,),
    })  # fmt: skip
    made.robot_data.update({
      "tasks": (row.env.task,), "formats": made.robot_data.formats[:1],
      "placement": row.env.placement, "joint_noise": row.env.joint_noise,
    })  # fmt: skip
    record_robot_data(made, run_folder.open_run(workdir / _target_name(row), made))


def _target_name(config: ml_collections.ConfigDict) -> str:
  """The folder of the target's recorded data, in that of all runs."""
  return f"target/{config.env.task}_{config.vptr.target_episodes}"


def _of_run(config: ml_collections.ConfigDict, seed: int) -> ml_collections.ConfigDict:
  """The config of one run of a row."""
  made = ml_collections.ConfigDict(config.to_dict())
  made.seed = seed
  for name in _OF_ALL_RUNS:
    del made.vptr[name]
  return made


def _without(config: ml_collections.ConfigDict, *names: str) -> ml_collections.ConfigDict:
  """An unlocked copy without these sections."""
  return ml_collections.ConfigDict({k: v for k, v in config.to_dict().items() if k not in names})


def _before(config: ml_collections.ConfigDict) -> str:
  """All that phase 1 depends on."""
  return ml_collections.ConfigDict({name: config[name] for name in _PHASE_1}).to_json()


def _require_among(key: str, names: Sequence[str], known: Sequence[str]) -> None:
  unknown = [name for name in names if name not in known]
  if unknown:
    raise UserError(
      f"expected config.vptr.{key} among {', '.join(known)}, got {unknown}; choose some of these."
    )


def _in_order(rows: Mapping[str, Any]) -> list[str]:
  """All rows, the whole method first; a ConfigDict keeps its keys in the alphabet's order."""
  return sorted(rows, key=lambda name: (name != "full", name))
