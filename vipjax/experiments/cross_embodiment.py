"""Learning from some arms' videos, judged on another arm: every combination, resumable."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.evaluation.alignment import alignment_tau
from vipjax.evaluation.curves import distance_curves
from vipjax.evaluation.measure_attention import finest_stage, measure_attention
from vipjax.evaluation.statistics import rank_correlation
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.finetune import finetune
from vipjax.stages.record import record
from vipjax.stages.rollouts import labelled_episodes
from vipjax.stages.train_policy import train_policy
from vipjax.types import Video
from vipjax.videos import read_videos, write_videos

FILE = "cross.json"
ATTENTION = ("object_over_area", "robot_over_area", "frames_with_map")


@dataclasses.dataclass(frozen=True)
class Cell:
  """One combination.

  Attributes:
    learnt_from: the arms whose videos are learnt from.
    target: the arm that it is judged on.
    tcc: whether with TCC.
    robot_free: whether also from videos without the robot.
    seed: of fine-tuning.
  """

  learnt_from: tuple[str, ...]
  target: str
  tcc: bool
  robot_free: bool
  seed: int

  @property
  def encoder_name(self) -> str:
    """Of the fine-tuning that it shares with the other target."""
    words = ["+".join(self.learnt_from), "tcc" if self.tcc else "vip"]
    return "_".join([*words, "free" if self.robot_free else "plain", f"seed{self.seed}"])


def encoder_run(workdir: pathlib.Path, cell: Cell) -> pathlib.Path:
  """The folder of a cell's fine-tuning."""
  return workdir / "encoders" / cell.encoder_name


def cells(settings: ml_collections.ConfigDict) -> list[Cell]:
  """Every combination that config.cross asks for; raises UserError for fewer than two arms."""
  arms = tuple(settings.arms)
  if len(set(arms)) < max(2, len(arms)):
    raise UserError(f"expected two different arms or more in config.cross.arms, got {arms}.")
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
  """Records, fine-tunes and judges; what is done stays done.

  Writes `arms/<arm>/` (videos), `encoders/<name>/` (fine-tuning runs), `judged/` (attention, by
  encoder and target) and, after each cell, `cross.json`.

  Args:
    config: keys as declared in configs/cross_embodiment.py.
    workdir: the run folder.
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
  for option, key, value in (
    ("tcc", "finetune.tcc.weight", config.finetune.tcc.weight),
    ("robot_free", "record.robot_free", config.record.robot_free),
  ):
    if any(config.cross[option]) and not value:
      raise UserError(
        f"expected config.{key} other than {value} with True in config.cross.{option}, which asks "
        "for it; set it, or leave True out there."
      )
  for arm in config.cross.arms:
    record(_of_arm(config, arm), workdir / "arms" / arm)
  rows = _read(workdir)
  known = {_key(row) for row in rows}
  wanted = [cell for cell in wanted if _key(dataclasses.asdict(cell)) not in known]
  with Progress(len(wanted), "cross", unit="cell") as progress:
    for cell in wanted:
      rows.append(files.jsonable(dataclasses.asdict(cell) | _judge(config, workdir, cell)))
      files.write_json(workdir / FILE, {"cells": rows})
      progress.update()
  return rows


def train_policies(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[dict]:
  """Policies for each arm of config.cross.policies, by the reward that other arms' videos taught.

  One for each of config.cross.robot_free: with videos without the robot the reward is mostly of
  their goals, which look the same whichever arm acted; only without them the other arms' pictures
  have to do. Its success is added to the row of its cell, which `judge_cells` has judged; what is
  trained stays.

  Returns:
    As `judge_cells`.
  """
  rows = _read(workdir)
  keys = {_key(row): row for row in rows}
  for cell in cells(config.cross):
    row = keys.get(_key(dataclasses.asdict(cell)))
    if row is not None and _wants_policy(config.cross, cell) and "policy_success" not in row:
      result = train_policy(
        _tuned(config, cell), _judged(workdir, cell), encoder_run(workdir, cell)
      )
      row["policy_success"] = result["policy_success"]
      files.write_json(workdir / FILE, {"cells": rows})
  return rows


def _read(workdir: pathlib.Path) -> list[dict]:
  file = workdir / FILE
  return files.read_json(file)["cells"] if file.exists() else []


def _key(row: dict[str, Any]) -> tuple:
  return (tuple(row["learnt_from"]), row["target"], row["tcc"], row["robot_free"], row["seed"])


def _of_arm(config: ml_collections.ConfigDict, arm: str) -> ml_collections.ConfigDict:
  config = config.copy_and_resolve_references()
  config.env.robot = arm
  return config


def _tuned(config: ml_collections.ConfigDict, cell: Cell) -> ml_collections.ConfigDict:
  """The config of a cell's own run."""
  tuned = _of_arm(config, cell.target)
  tuned.seed = cell.seed
  if not cell.tcc:
    tuned.finetune.tcc.weight = 0.0
  if not cell.robot_free:
    tuned.reward.robot_free_weight = 0.0  # there are no goals for it
  return tuned


def _judged(workdir: pathlib.Path, cell: Cell) -> pathlib.Path:
  """The folder of what a cell's encoder makes of its target: attention, and the policy."""
  return workdir / "judged" / f"{cell.encoder_name}_on_{cell.target}"


def _judge(config, workdir: pathlib.Path, cell: Cell) -> dict[str, Any]:
  run, tuned = encoder_run(workdir, cell), _tuned(config, cell)
  by_arm = {
    arm: [
      video
      for video in read_videos(workdir / "arms" / arm / "videos")
      if cell.robot_free or video.robot_visible
    ]
    for arm in cell.learnt_from
  }
  taught = [video for videos in by_arm.values() for video in videos]
  if not run_folder.stage_done(run, "finetune"):
    for arm, videos in by_arm.items():
      write_videos(run / "videos" / arm, videos, overwrite=True)
    finetune(tuned, run)
  target = workdir / "arms" / cell.target
  unseen, recorded = read_videos(target / "unseen"), read_videos(target / "videos")
  result: dict[str, Any] = {}
  for suffix, folder in (("_before", "encoder_before"), ("", "encoder")):
    value = encoder.load(run / folder)
    for name, number in _curves(value, unseen, taught).items():
      result[name + suffix] = number
  result["tau"] = _alignment(value, taught, recorded)
  if config.evaluate.attention_episodes:
    folder = _judged(workdir, cell) / "attention"
    values = {
      when: encoder.load(run / name)
      for when, name in (("after", "encoder"), ("before", "encoder_before"))
    }
    found = measure_attention(values, labelled_episodes(tuned), folder)
    files.write_json(folder / "attention.json", found)
    measured = found["means"]
    # The finest stage, as everywhere else: the last one's few cells cannot tell object from arm.
    stage = finest_stage(measured)
    result |= {name: measured[stage][name] for name in ATTENTION}
    result["attention_stage"] = stage
  return result


def _wants_policy(settings: ml_collections.ConfigDict, cell: Cell) -> bool:
  first = (settings.tcc[0], settings.seeds[0])
  others = tuple(arm for arm in settings.arms if arm != cell.target)[:2]
  return (
    cell.target in settings.policies
    and cell.learnt_from == others
    and (cell.tcc, cell.seed) == first
  )


def _curves(value: ValueFunction, unseen: list[Video], taught: list[Video]) -> dict[str, float]:
  """Rank correlations of distance with time: to each video's own goal, and to those learnt from."""
  own = [curve.rank_correlation for curve in distance_curves(value, unseen)]
  theirs = []
  for video in unseen:
    goals = [each.frames[-1] for each in taught if each.view == video.view and each.robot_visible]
    theirs.append(rank_correlation(value.distance(video.frames, np.stack(goals))))
  return {
    "rank_correlation": float(np.mean(own)),
    "rank_correlation_theirs": float(np.mean(theirs)),
  }


def _alignment(value: ValueFunction, taught: list[Video], recorded: list[Video]) -> float:
  """Mean tau of pairs of one view: a video learnt from and one of the target, both ways."""
  taus = []
  for first, second in itertools.product(taught, recorded):
    if first.view == second.view and first.robot_visible and second.robot_visible:
      embeddings = value.embed(first.frames), value.embed(second.frames)
      taus += [alignment_tau(*embeddings), alignment_tau(*reversed(embeddings))]
  return float(np.mean(taus))
