"""Encoders that learn from some arms' videos and are judged on another arm, in all combinations."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.evaluation.alignment import alignment_tau
from vipjax.evaluation.curves import distance_curves
from vipjax.evaluation.measure_attention import finest_stage
from vipjax.evaluation.statistics import rank_correlation
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.agent import refuse_predicted
from vipjax.stages.evaluate import load_before_and_after, write_attention
from vipjax.stages.finetune import finetune
from vipjax.stages.record import record
from vipjax.stages.task import fit_to_task
from vipjax.stages.train_policy import train_policy
from vipjax.types import Video
from vipjax.videos import read_videos, write_videos

FILE = "cross.json"
ATTENTION = ("object_over_area", "robot_over_area", "frames_with_map")


@dataclasses.dataclass(frozen=True)
class Cell:
  """One combination of arms and options.

  Attributes:
    learnt_from: the arms whose videos are learnt from.
    target: the arm that the encoder is judged on.
    tcc: whether TCC is among the losses.
    robot_free: whether videos without the robot are learnt from too.
    seed: seed of fine-tuning.
  """

  learnt_from: tuple[str, ...]
  target: str
  tcc: bool
  robot_free: bool
  seed: int

  @property
  def encoder_name(self) -> str:
    """Names the fine-tuning, which cells that differ in their target alone share."""
    words = ["+".join(self.learnt_from), "tcc" if self.tcc else "vip"]
    return "_".join([*words, "free" if self.robot_free else "plain", f"seed{self.seed}"])

  @classmethod
  def of_row(cls, row: Mapping[str, Any]) -> Cell:
    """The cell that a row of `cross.json` is about."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(cls)}
    return cls(**{**fields, "learnt_from": tuple(row["learnt_from"])})


def encoder_run(workdir: pathlib.Path, cell: Cell) -> pathlib.Path:
  """The run folder of a cell's fine-tuning."""
  return workdir / "encoders" / cell.encoder_name


def cells(settings: ml_collections.ConfigDict) -> list[Cell]:
  """Every combination that config.cross asks for; raises UserError for fewer than two arms."""
  arms = tuple(settings.arms)
  if len(set(arms)) < max(2, len(arms)):
    raise UserError(
      f"expected two different arms or more in config.cross.arms, got {arms}; name each once."
    )
  sources = [chosen for n in (1, 2) for chosen in itertools.combinations(arms, n)]
  # The seeds vary slowest: with the first of them the matrix is whole.
  options = itertools.product(settings.seeds, settings.tcc, settings.robot_free)
  return [
    Cell(chosen, target, tcc, robot_free, seed)
    for seed, tcc, robot_free in options
    for chosen in sources
    for target in arms
    if target not in chosen
  ]


def judge_cells(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, wanted: Sequence[Cell]
) -> list[dict]:
  """Records videos, fine-tunes and judges; what is done stays done.

  Writes `arms/<arm>/` (videos), `encoders/<name>/` (fine-tuning runs), `judged/` (attention, by
  encoder and target) and, after each cell, `cross.json`.

  Args:
    config, workdir: as for every experiment.
    wanted: some of `cells(config.cross)`.

  Returns:
    A dict for each cell judged so far, whether wanted or not: Cell's fields; "rank_correlation" (of
    the distance with time over the target's unseen expert episodes, each to its own last frame; 1
    is best) and "rank_correlation_theirs" (the same to the mean of the last frames, of each view
    with the robot, of the videos learnt from), both also with "_before" (fine-tuning); "tau"
    (alignment of the target's recorded videos with those learnt from); "object_over_area",
    "robot_over_area" and "frames_with_map" (attention, at the finest stage); "policy_success" where
    `train_policies` was there.

  Raises:
    UserError: an expert fails, or bad settings.
  """
  refuse_predicted(config, "launch.cross_embodiment")
  for option, key, value in (
    ("tcc", "finetune.tcc.weight", config.finetune.tcc.weight),
    ("robot_free", "record.robot_free", config.record.robot_free),
  ):
    if any(config.cross[option]) and not value:
      raise UserError(
        f"expected config.{key}, which True in config.cross.{option} asks for, got {value}; set "
        "it, or leave True out there."
      )
  config = fit_to_task(config, workdir)  # once: all arms are filmed from the same viewpoints
  for arm in config.cross.arms:
    record(_of_arm(config, arm), workdir / "arms" / arm)
  rows = _read(workdir)
  known = {Cell.of_row(row) for row in rows}
  wanted = [cell for cell in wanted if cell not in known]
  with Progress(len(wanted), "cross", unit="cell") as progress:
    for cell in wanted:
      rows.append(files.jsonable(dataclasses.asdict(cell) | _judge(config, workdir, cell)))
      files.write_json(workdir / FILE, {"cells": rows})
      progress.update()
  return rows


def train_policies(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[dict]:
  """Trains policies for each arm of config.cross.policies, on what other arms' videos taught.

  There is one for each of config.cross.robot_free. With videos without the robot the reward is
  mostly the distance to their goals, which look the same whichever arm acted; without them it is
  the distance to the other arms' pictures. The success of a policy is added to the row of its cell,
  which `judge_cells` has judged; what is trained stays.

  Returns:
    As `judge_cells`.
  """
  config = fit_to_task(config, workdir)
  rows = _read(workdir)
  by_cell = {Cell.of_row(row): row for row in rows}
  for cell in cells(config.cross):
    row = by_cell.get(cell)
    if row is not None and _wants_policy(config.cross, cell) and "policy_success" not in row:
      result = train_policy(
        _tuned(config, cell), _judged(workdir, cell), encoder_run(workdir, cell)
      )
      row["policy_success"] = result["policy_success"]
      files.write_json(workdir / FILE, {"cells": rows})
  return rows


def _read(workdir: pathlib.Path) -> list[dict]:
  return files.read_json(workdir / FILE, {"cells": []})["cells"]


def _of_arm(config: ml_collections.ConfigDict, arm: str) -> ml_collections.ConfigDict:
  config = config.copy_and_resolve_references()
  config.env.robot = arm
  return config


def _tuned(config: ml_collections.ConfigDict, cell: Cell) -> ml_collections.ConfigDict:
  """The config of a cell: its target, its seed and its losses."""
  tuned = _of_arm(config, cell.target)
  tuned.seed = cell.seed
  if not cell.tcc:
    tuned.finetune.tcc.weight = 0.0
  if not cell.robot_free:
    tuned.reward.robot_free_weight = 0.0  # it has no goals
  return tuned


def _judged(workdir: pathlib.Path, cell: Cell) -> pathlib.Path:
  """The folder of a cell's attention and policy on its target."""
  return workdir / "judged" / f"{cell.encoder_name}_on_{cell.target}"


def _judge(config: ml_collections.ConfigDict, workdir: pathlib.Path, cell: Cell) -> dict[str, Any]:
  """Fine-tunes for a cell, unless that is done, and measures the encoder on its target."""
  run, tuned = encoder_run(workdir, cell), _tuned(config, cell)
  by_arm = {}
  for arm in cell.learnt_from:
    videos = read_videos(workdir / "arms" / arm / "videos")
    by_arm[arm] = [video for video in videos if cell.robot_free or video.robot_visible]
  taught = [video for videos in by_arm.values() for video in videos]
  if not run_folder.stage_done(run, "finetune"):
    for arm, videos in by_arm.items():
      write_videos(run / "videos" / arm, videos, overwrite=True)
    finetune(tuned, run)
  target = workdir / "arms" / cell.target
  unseen, recorded = read_videos(target / "unseen"), read_videos(target / "videos")
  values = load_before_and_after(run)
  before, after = (_curves(values[when], unseen, taught) for when in ("before", "after"))
  result: dict[str, Any] = {f"{name}_before": number for name, number in before.items()} | after
  result["tau"] = _alignment(values["after"], taught, recorded)
  if config.evaluate.attention_episodes:
    means = write_attention(tuned, values, _judged(workdir, cell) / "attention")
    # The finest stage, as everywhere else: the last one's few cells cannot tell object from arm.
    stage = finest_stage(means)
    result |= {name: means[stage][name] for name in ATTENTION}
    result["attention_stage"] = stage
  return result


def _wants_policy(settings: ml_collections.ConfigDict, cell: Cell) -> bool:
  """Whether `train_policies` trains one for a cell: all other arms, the first choice and seed."""
  first = (settings.tcc[0], settings.seeds[0])
  others = tuple(arm for arm in settings.arms if arm != cell.target)[:2]
  return (
    cell.target in settings.policies
    and cell.learnt_from == others
    and (cell.tcc, cell.seed) == first
  )


def _curves(value: ValueFunction, unseen: list[Video], taught: list[Video]) -> dict[str, float]:
  """Rank correlations with time of distances to own goals, and to goals of the videos taught."""
  own = [curve.rank_correlation for curve in distance_curves(value, unseen)]
  theirs = []
  for video in unseen:
    goals = [each.frames[-1] for each in taught if each.view == video.view and each.robot_visible]
    theirs.append(rank_correlation(value.distance(video.frames, np.stack(goals))))
  means = {"rank_correlation": own, "rank_correlation_theirs": theirs}
  return {name: float(np.mean(numbers)) for name, numbers in means.items()}


def _alignment(value: ValueFunction, taught: list[Video], recorded: list[Video]) -> float:
  """Mean tau, both ways, of pairs of a video taught and one of the target, of the same view."""
  taus = []
  for first, second in itertools.product(taught, recorded):
    if first.view == second.view and first.robot_visible and second.robot_visible:
      embeddings = value.embed(first.frames), value.embed(second.frames)
      taus += [alignment_tau(*embeddings), alignment_tau(*reversed(embeddings))]
  return float(np.mean(taus))
