"""V-PTR, its ablations, and rewards of videos beside them: what each is given, and its success.

V-PTR's rows learn from videos, then offline from robot data (`stages.vptr`); the others learn a
reward of the target's videos and act on it (`experiments.vptr_rewards`).
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.experiments.ablation import changed_config
from vipjax.experiments.runs import run_all
from vipjax.experiments.vptr_page import ROW, VIDEO, write_page
from vipjax.experiments.vptr_rewards import (
  needs_phase_1,
  needs_videos,
  reward_configs,
  reward_run_config,
  run_reward,
)
from vipjax.runtime import ranges, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.platform import on_cpu
from vipjax.stages.corpus import record_corpus
from vipjax.stages.filming import require_tasks
from vipjax.stages.finetune import finetune
from vipjax.stages.inputs import make_encoder
from vipjax.stages.offline import ROBOT, TARGET
from vipjax.stages.pipeline import Additions
from vipjax.stages.robot_data import record_robot_data
from vipjax.stages.vptr import Sources, train_robot, train_target
from vipjax.stages.vptr_online import train_online

REWARD = "reward"
STAGES = (VIDEO, ROBOT, TARGET, REWARD)
# The sections that phase 1 depends on.
_BEFORE_VIDEO = ("seed", "corpus", "data", "encoder", "finetune", "reward")
# Keys of config.vptr that say which runs there are, not what one is.
_OF_ALL_RUNS = ("stages", "seeds", "only", "asked_for", "rows", "rewards", "route")

Job = tuple[pathlib.Path, ml_collections.ConfigDict]
Configs = Mapping[str, ml_collections.ConfigDict]


def run_vptr(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  route: ml_collections.ConfigDict,
  additions: Additions,
) -> pathlib.Path | None:
  """Runs every row with every seed at every target, and writes the page that compares them.

  A run is a run folder, <workdir>/<task>_<episodes>/<row>/seed<n>, and goes on where it stopped.
  They share what is the same: phase 1 in `video/<row>`, phase 2 in `robot/<row>/seed<n>`, recorded
  data in `data/` and `target/`, embedded frames.

  Args:
    config: as configs/vptr.py makes it.
    workdir: the folder of all runs.
    route: the pipeline's config for rows of rewards, as configs/demo.py makes it.
    additions: as `run_stages` takes it.

  Returns:
    The page's path; None where no run has learned yet.

  Raises:
    UserError: an unknown stage, row or task, a bad setting, or another process uses the folder.
  """
  ranges.check("", config)
  options = config.vptr
  require_tasks("vptr.tasks", options.tasks)
  _require_among("stages", options.stages, STAGES)
  of_rows, of_rewards = row_configs(config), reward_configs(config, route)
  every = [*of_rows, *of_rewards]
  _require_among("only", options.only, every)
  names = list(options.only) or [name for name in every if name not in options.asked_for]
  rows, rewards = (
    {name: made[name] for name in names if name in made} for made in (of_rows, of_rewards)
  )
  if REWARD not in options.stages:
    rewards = {}
  if VIDEO in options.stages:
    for name, made in _video_configs(config, of_rows, rows, rewards).items():
      folder = run_folder.open_run(workdir / VIDEO / name, made)
      record_corpus(made, folder)
      finetune(made, folder)
  _record(config, workdir, rows)
  page, problems = functools.partial(write_page, workdir, every), []
  if ROBOT in options.stages:
    jobs = _robot_jobs(config, workdir, of_rows, rows)
    problems += run_all("phase 2", workdir, jobs, _run_robot, ROBOT, page, on_cpu())
  if TARGET not in options.stages:
    rows = {}
  phase_1 = _phase_1(next(iter(of_rows.values())), workdir)
  jobs = list(_jobs(config, workdir, rows, rewards, phase_1))
  run = functools.partial(_run, additions)
  return page(problems + run_all("vptr", workdir, jobs, run, ROW, page, on_cpu()))


def row_configs(config: ml_collections.ConfigDict) -> dict[str, ml_collections.ConfigDict]:
  """The config of each row of config.vptr.rows.

  `vptr.video_run` and `vptr.robot_run` name the rows whose phases 1 and 2 it shares.

  Raises:
    UserError: a change that is no key=JSON of the config, or sets a number out of its range.
  """
  rows = config.vptr.rows
  made = {name: changed_config(config, rows[name]) for name in _in_order(rows)}
  before = {name: (_before_robot(row), _before_video(row)) for name, row in made.items()}
  for name, row in made.items():
    with row.unlocked():
      for key, part in (("robot_run", 0), ("video_run", 1)):
        row.vptr[key] = next(each for each in made if before[each][part] == before[name][part])
  return made


def _video_configs(
  config: ml_collections.ConfigDict, of_rows: Configs, rows: Configs, rewards: Configs
) -> dict[str, ml_collections.ConfigDict]:
  """The config of each phase 1 that chosen rows need, by the row that names it."""
  of_rewards = [next(iter(of_rows.values()))] if any(map(needs_phase_1, rewards.values())) else []
  needed = dict.fromkeys(
    row.vptr.video_run for row in (*rows.values(), *of_rewards) if not row.vptr.encoder
  )
  return {
    name: changed_config(_without(of_rows[name], "vptr", "robot_data"), config.vptr.video)
    for name in needed
  }


def _robot_jobs(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, of_rows: Configs, rows: Configs
) -> list[Job]:
  """Each phase 2 that chosen rows go on from."""
  names = dict.fromkeys(row.vptr.robot_run for row in rows.values() if row.vptr.robot_updates)
  jobs = []
  for seed in config.vptr.seeds:
    for name in names:
      made = _of_run(of_rows[name], seed)
      del made.vptr.target_episodes, made.vptr.target_data
      jobs.append((workdir / ROBOT / name / f"seed{seed}", made))
  return jobs


def _jobs(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  rows: Configs,
  rewards: Configs,
  phase_1: str,
) -> Iterator[Job]:
  """Each row's run at each target with each seed; one seed of all comes first."""
  options = config.vptr
  for seed in options.seeds:
    for task in options.tasks:
      without = {name: row for name, row in rewards.items() if not needs_videos(row)}
      learned = {name: row for name, row in rewards.items() if needs_videos(row)}
      for episodes in (0, *options.target_episodes):
        folder = workdir / f"{task}_{episodes}"
        for name, row in (rows if episodes else {}).items():
          made = _of_run(row, seed)
          made.env.task, made.vptr.target_episodes = task, (episodes,)
          yield folder / name / f"seed{seed}", made
        for name, row in (learned if episodes else without).items():
          made = reward_run_config(row, task, episodes, seed, phase_1)
          yield folder / name / f"seed{seed}", made


def _run_robot(config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
  """Runs phase 2 of one row and seed, in a process of `run_all`."""
  root = folder.parents[2]
  result = train_robot(config, folder, _row_encoder(config, root), _sources(config, root))
  return f"Q(data) {result['q_data']:.1f} after {result['updates']} updates"


def _run(additions: Additions, config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
  """Runs one row at one target with one seed, in a process of `run_all`."""
  if "vptr" in config:
    root = folder.parents[2]
    sources = _sources(config, root)._replace(
      target=_given(config.vptr.target_data, root / _target_name(config)),
      robot_run=root / ROBOT / config.vptr.robot_run / folder.name,
    )
    value = _row_encoder(config, root)
    result = train_target(config, folder, value, sources)
    if config.vptr.online_episodes:
      result = train_online(config, folder, value, sources)
    said = f"{result['success']:.0%} of {result['episodes']}"
  else:
    said = run_reward(additions, config, folder)
  run_folder.mark_done(folder, ROW, {}, 0.0)
  return said


def _sources(config: ml_collections.ConfigDict, root: pathlib.Path) -> Sources:
  """The data of many tasks."""
  return Sources(_given(config.vptr.data, root / "data"), None, root / "embedded")


def _given(path: str, recorded: pathlib.Path) -> pathlib.Path:
  return pathlib.Path(path).expanduser() if path else recorded


def _row_encoder(config: ml_collections.ConfigDict, root: pathlib.Path) -> ValueFunction:
  """The encoder of a row, as it begins."""
  if config.vptr.encoder == "scratch":
    fresh = ml_collections.ConfigDict({**config.encoder.to_dict(), "init": "scratch"})
    return make_encoder(fresh, jax.random.key(config.seed))
  folder = root / VIDEO / config.vptr.video_run
  if not config.vptr.encoder and not run_folder.stage_done(folder, "finetune"):
    raise UserError(
      f"expected the encoder of phase 1 in {folder}, got none; add '{VIDEO}' to "
      "config.vptr.stages, or give an encoder as config.vptr.encoder."
    )
  return encoder.load(_phase_1(config, root))


def _phase_1(config: ml_collections.ConfigDict, root: pathlib.Path) -> str:
  """What `vipjax.load` takes for the encoder of a row's phase 1, or in its place."""
  return config.vptr.encoder or str(root / VIDEO / config.vptr.video_run / "encoder")


def _record(config: ml_collections.ConfigDict, workdir: pathlib.Path, rows: Configs) -> None:
  """Records the data that rows need and that were not given."""
  options = config.vptr
  offline = [name for name in (ROBOT, TARGET) if name in options.stages]
  if offline and any(row.vptr.robot_updates and not row.vptr.data for row in rows.values()):
    made = _without(config, "vptr")
    made.corpus.controls = (config.env.control,)
    made.robot_data.formats = made.robot_data.formats[:1]
    record_robot_data(made, run_folder.open_run(workdir / "data", made))
  if TARGET not in offline:
    return
  recorded = [row for row in rows.values() if not row.vptr.target_data]
  for row in recorded:
    for task, episodes in ((task, n) for task in options.tasks for n in options.target_episodes):
      made = _without(row, "vptr")
      made.env.task, made.corpus.controls = task, (row.env.control,)
      made.corpus.update({
        "expert_episodes": episodes, "recovering_episodes": 0, "noisy_episodes": 0,
        "random_episodes": 0, "noise": (0.0,),
      })  # fmt: skip
      made.robot_data.update({
        "tasks": (task,), "formats": made.robot_data.formats[:1],
        "placement": row.env.placement, "joint_noise": row.env.joint_noise,
      })  # fmt: skip
      record_robot_data(made, run_folder.open_run(workdir / _target(task, episodes), made))


def _target_name(config: ml_collections.ConfigDict) -> str:
  """The folder of a run's recorded target data, in that of all runs."""
  return _target(config.env.task, *config.vptr.target_episodes)


def _target(task: str, episodes: int) -> str:
  return f"target/{task}_{episodes}"


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


def _before_video(config: ml_collections.ConfigDict) -> str:
  """All that phase 1 depends on."""
  return ml_collections.ConfigDict({name: config[name] for name in _BEFORE_VIDEO}).to_json()


def _before_robot(config: ml_collections.ConfigDict) -> str:
  """All that phase 2 depends on."""
  made = _without(config)
  for name in [key for key in made.vptr if key.startswith(("target_", "online_"))]:
    del made.vptr[name]
  return made.to_json()


def _require_among(key: str, names: Sequence[str], known: Iterable[str]) -> None:
  unknown = [name for name in names if name not in known]
  if unknown:
    raise UserError(
      f"expected config.vptr.{key} among {', '.join(known)}, got {unknown}; choose some of these."
    )


def _in_order(rows: Mapping[str, Any]) -> list[str]:
  """All rows, the whole method first; a ConfigDict keeps its keys in the alphabet's order."""
  return sorted(rows, key=lambda name: (name != "full", name))
