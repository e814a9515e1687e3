"""Learning from some arms' videos, judged on another arm: every combination, resumable."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from typing import Any

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.evaluation.alignment import alignment_tau
from vipjax.evaluation.curves import distance_curves
from vipjax.evaluation.measure_attention import measure_attention
from vipjax.evaluation.statistics import rank_correlation
from vipjax.finetune import finetune
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.sac import train_policy
from vipjax.types import Video
from vipjax.videos import read_videos, write_videos
from vipjax.videos.record import record

FILE = "cross.json"


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
  options = itertools.product(settings.tcc, settings.robot_free, settings.seeds)
  return [
    Cell(chosen, target, *option)
    for option in options
    for chosen in sources
    for target in arms
    if target not in chosen
  ]


def cross_embodiment(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[dict]:
  """Records, fine-tunes, judges and trains policies; what is done stays done.

  Writes `arms/<arm>/` (videos), `encoders/<name>/` (fine-tuning runs), `judged/` (attention and
  policies, by encoder and target) and `cross.json`.

  Args:
    config: keys as declared in configs/cross_embodiment.py.
    workdir: the run folder.

  Returns:
    A dict for each cell: Cell's fields; "rank_correlation" (of the distance with time over the
    target's unseen expert episodes, each to its own last frame; 1 is best) and
    "rank_correlation_theirs" (the same to the last frames of the videos learnt from: the goal of
    the reward), both also with "_before" (fine-tuning); "tau" (alignment of the target's recorded
    videos with those learnt from); "object_over_area" and "robot_over_area" (attention);
    "policy_success", None where no policy was asked for.

  Raises:
    UserError: an expert fails, or bad settings.
  """
  for arm in config.cross.arms:
    record(_of_arm(config, arm), workdir / "arms" / arm)
  wanted = cells(config.cross)
  file = workdir / FILE
  rows = run_folder.read_json(file)["cells"] if file.exists() else []
  known = {_key(row) for row in rows}
  with Progress(len(wanted), "cross", unit="cell") as progress:
    for cell in wanted:
      row = run_folder.jsonable(dataclasses.asdict(cell))
      if _key(row) not in known:
        rows.append(run_folder.jsonable(row | _judge(config, workdir, cell)))
        run_folder.write_json(file, {"cells": rows})
      progress.update()
  wanted_keys = {_key(dataclasses.asdict(cell)) for cell in wanted}
  return [row for row in rows if _key(row) in wanted_keys]


def _key(row: dict[str, Any]) -> tuple:
  return (tuple(row["learnt_from"]), row["target"], row["tcc"], row["robot_free"], row["seed"])


def _of_arm(config: ml_collections.ConfigDict, arm: str) -> ml_collections.ConfigDict:
  config = config.copy_and_resolve_references()
  config.env.robot = arm
  return config


def _judge(config, workdir: pathlib.Path, cell: Cell) -> dict[str, Any]:
  run = encoder_run(workdir, cell)
  tuned = _of_arm(config, cell.target)
  tuned.seed = cell.seed
  if not cell.tcc:
    tuned.finetune.tcc.weight = 0.0
  if not cell.robot_free:
    tuned.reward.robot_free_weight = 0.0  # there are no goals for it
  taught = [
    video
    for arm in cell.learnt_from
    for video in read_videos(workdir / "arms" / arm / "videos")
    if cell.robot_free or video.robot_visible
  ]
  if not run_folder.stage_done(run, "finetune"):
    write_videos(run / "videos", taught, overwrite=True)
    finetune(tuned, run)
  target = workdir / "arms" / cell.target
  unseen, recorded = read_videos(target / "unseen"), read_videos(target / "videos")
  result: dict[str, Any] = {}
  for suffix, folder in (("_before", "encoder_before"), ("", "encoder")):
    value = encoder.load(run / folder)
    for name, number in _curves(value, unseen, taught).items():
      result[name + suffix] = number
  result["tau"] = _alignment(value, taught, recorded)
  # A folder like that of a run: the stages that follow read its videos and its encoders.
  judged = workdir / "judged" / f"{cell.encoder_name}_on_{cell.target}"
  judged.mkdir(parents=True, exist_ok=True)
  for name in ("videos", "encoder", "encoder_before"):
    if not (judged / name).exists():
      (judged / name).symlink_to((run / name).absolute(), target_is_directory=True)
  if config.evaluate.attention_episodes:
    stage, numbers = next(iter(measure_attention(tuned, judged).items()))
    result |= {name: numbers[name] for name in ("object_over_area", "robot_over_area")}
    result["attention_stage"] = stage
  wanted = _wants_policy(config.cross, cell)
  result["policy_success"] = train_policy(tuned, judged)["policy_success"] if wanted else None
  return result


def _wants_policy(settings: ml_collections.ConfigDict, cell: Cell) -> bool:
  first = (settings.tcc[0], settings.robot_free[0], settings.seeds[0])
  others = tuple(arm for arm in settings.arms if arm != cell.target)[:2]
  return (
    cell.target in settings.policies
    and cell.learnt_from == others
    and (cell.tcc, cell.robot_free, cell.seed) == first
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
