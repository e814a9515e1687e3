"""V-PTR and its ablations: video pre-training, then offline Q-learning on robot data."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.evaluation import bootstrap_interval
from vipjax.experiments.ablation import changed_config
from vipjax.experiments.runs import run_all
from vipjax.report.charts import Chart, chart_document, grid
from vipjax.report.html import element, note, section, small, table, video
from vipjax.report.tables import duration_text
from vipjax.runtime import files, ranges, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.metrics import read_metrics
from vipjax.runtime.platform import on_cpu
from vipjax.stages.corpus import record_corpus
from vipjax.stages.filming import require_tasks
from vipjax.stages.finetune import finetune
from vipjax.stages.inputs import make_encoder
from vipjax.stages.robot_data import record_robot_data
from vipjax.stages.vptr import ROBOT, TARGET, Sources, train_robot, train_target

VIDEO = "video"
STAGES = (VIDEO, ROBOT, TARGET)
FROZEN = (
  "The encoder is frozen here. In V-PTR's publication frozen rows fail (VIP's frozen encoder with "
  "CQL: 0 of 48 trials) and the encoder learns with actor and critic, which is for a GPU and is "
  "not built: a row that fails here says little about V-PTR."
)
_LEGEND = (
  "Success is that of the last policy, without choice, in the target task; [95% bootstrap "
  "interval] over seeds, too narrow for few of them. Videos are those of phase 1, without actions, "
  "or the encoder's name. Actions and labels are those of the robot data and the target's; no row "
  "takes an environment step to learn. Wall clock: of phase 1, where the row has it, and of "
  "learning from data."
)
_HEALTH = (
  "Means over seeds in the last updates. Q-values of the policy's actions far above those of the "
  "data's, or of the data's far above their returns, tell of a critic that is wrong off the data; "
  "bounded: share of the policy's samples whose Q-value the returns hold up."
)
_HEALTH_KEYS = {
  "q_data": "Q(data)", "q_pi": "Q(policy)", "q_random": "Q(random)", "bounded": "bounded",
  "return": "return", "q_above_return": "Q(data) - return",
  "q_return_correlation": "correlation with the return",
}  # fmt: skip
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


def write_page(
  workdir: pathlib.Path, order: Sequence[str], problems: Sequence[str] = ()
) -> pathlib.Path | None:
  """Writes `vptr.html` and `table.md` of all rows that have learned anything.

  Args:
    workdir: the folder of all runs.
    order: rows in the order to show them.
    problems: why runs are missing, in words.
  """
  found = {name: _results(workdir / name) for name in order}
  found = {name: runs for name, runs in found.items() if runs}
  if not found and not problems:
    return None
  header, rows = _given(workdir, found)
  files.write_text(workdir / "table.md", markdown_table(header, rows) + f"\n\n{FROZEN}\n")
  health = [[_words(name), *_health(runs)] for name, runs in found.items()]
  films = [
    video(film, f"{_words(name)}, {folder.name}", workdir)
    for name, runs in found.items()
    for folder, _ in runs
    if (film := folder / "policy" / "final.mp4").exists()
  ]
  path = workdir / "vptr.html"
  files.write_text(path, chart_document(
    "V-PTR",
    element("header", element("h1", "V-PTR and its ablations"), note(FROZEN),
            *(note(f"Left out: {text}") for text in problems)),
    section("Success, and what each row was given", table(header, rows, range(1, len(header))),
            small(_LEGEND)),
    section("The critics", table(["row", *_HEALTH_KEYS.values()], health, range(1, 8)),
            grid(_charts(found), "charts broad"), small(_HEALTH)),
    section("Films", element("div", *films, class_="charts four")) if films else None,
  ))  # fmt: skip
  return path


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


def _words(name: str) -> str:
  return name.replace("_", " ")


def _results(row: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, dict[str, Any]]]]:
  """The runs of a row with the results of their finished phases."""
  found = []
  for folder in sorted(row.glob("seed*")):
    done = [name for name in (ROBOT, TARGET) if run_folder.stage_done(folder, name)]
    if done:
      found.append((folder, {name: run_folder.stage_result(folder, name) for name in done}))
  return found


def _given(workdir: pathlib.Path, found: Mapping[str, list]) -> tuple[list[str], list[list[str]]]:
  """Header and rows of the main table."""
  header = [
    "row", "seeds", "success", "at the end", "videos", "actions", "success labels",
    "environment steps", "wall clock",
  ]  # fmt: skip
  rows = []
  for name, runs in found.items():
    options = run_folder.stored_config(runs[0][0])["vptr"]
    videos = {"": "-", "scratch": "0"}.get(options["encoder"], options["encoder"])
    phase = workdir / VIDEO / options["video_run"]
    before = 0.0
    if not options["encoder"] and run_folder.stage_done(phase, "finetune"):
      videos = f"{run_folder.stage_result(phase, 'finetune')['videos']:,}"
      before = run_folder.stage_seconds(phase, "finetune")
    parts = list(runs[0][1].values())
    seconds = [
      sum(run_folder.stage_seconds(folder, each) for each in done) for folder, done in runs
    ]
    labels = sum(part["trajectories"] for part in parts)
    rows.append([
      _words(name), str(len(runs)), _share(runs, "success"), _share(runs, "final_success"), videos,
      f"{sum(part['steps'] for part in parts):,}",
      f"{labels:,} ({sum(part['successes'] for part in parts):,} succeed)", "0",
      duration_text(before + float(np.mean(seconds))),
    ])  # fmt: skip
  return header, rows


def _share(runs: Sequence[tuple[pathlib.Path, dict]], key: str) -> str:
  """The mean of a share over the seeds that were evaluated."""
  known = [done[TARGET][key] for _, done in runs if TARGET in done]
  if not known:
    return "-"
  text = f"{np.mean(known):.0%}"
  if len(known) > 1:
    text += " [{:.0%}, {:.0%}]".format(*bootstrap_interval(known))
  return text


def _health(runs: Sequence[tuple[pathlib.Path, dict]]) -> list[str]:
  """The means of the critics' numbers in each run's last phase."""
  last = [list(done.values())[-1] for _, done in runs]
  cells = []
  for key in _HEALTH_KEYS:
    known = [each[key] for each in last if each.get(key) is not None]
    cells.append(f"{np.mean(known):.2f}" if known else "-")
  return cells


def _charts(found: Mapping[str, list]) -> list[Chart]:
  """Q-values over the updates of each row's first run."""
  charts = []
  for name, runs in found.items():
    lines = [line for line in read_metrics(runs[0][0]) if line["stage"] in (ROBOT, TARGET)]
    traces = [
      {"x": [line["step"] for line in lines], "y": [line[key] for line in lines],
       "name": _HEALTH_KEYS[key], "colour": colour, "plotly": {"mode": "lines"}}
      for colour, key in enumerate(("q_data", "q_pi", "q_random", "return"))
    ]  # fmt: skip
    charts.append(Chart(_words(name), traces, {"xaxis": {"title": "updates"}, "showlegend": True}))
  return charts
