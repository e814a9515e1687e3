"""Reads the parts of a run folder that its report shows; each may be missing."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vipjax.evaluation import video_names
from vipjax.report.tables import STAGES
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import read_metrics
from vipjax.runtime.renamed_keys import with_new_names
from vipjax.stages import task
from vipjax.stages.inputs import reading_options
from vipjax.types import Video
from vipjax.videos import read_videos
from vipjax.videos.formats import hub
from vipjax.videos.formats.folders import MANIFEST, read_manifest

# Folders of the groups of videos that were filmed for the evaluation.
_FILMED = {
  "unseen": ("unseen",),
  "unseen_views": ("unseen_views",),
  "other_robots": ("other_robots",),
  "failed": ("background", "failed"),
}


@dataclasses.dataclass(frozen=True)
class Run:
  """The contents of a run folder.

  Attributes:
    workdir: the folder, absolute.
    config: `config.json`, with what fits the task in place of None; {} when missing, as the
      following.
    task: `task.json`, what was chosen for the task in the simulator; {} where nothing was open.
    versions: `versions.json`.
    results: `results.json`, its "seconds" completed from the stages that are marked as done.
    evaluation: `evaluation.json`: {"before": {"recorded": [curve], "unseen": [curve]},
      "after": ..., "alignment": {"after": {group: `align`}}} with curves as `DistanceCurve.record`
      makes them.
    attention: `attention/attention.json`, as `measure_attention` writes it.
    off_path: `off_path/off_path.json`, as `measure_off_path` writes it.
    hack_price: `hack_price/hack_price.json`, as `evaluate` writes it.
    goals: `policy/goals.json`, as `record_goals` writes it.
    videos: the run's videos by name (`vipjax.evaluation.video_names`): recorded, or the user's own.
    video_files: those that are mp4 files, which browsers play.
    films: mp4 files of the videos that were evaluated, by group and name as in `evaluation`.
    finetune: metrics of the stage "finetune", a dict per step.
    policy: metrics of the stage "policy"; of agents that learned at once their means, and those of
      each as `runtime.metrics.split_parts` finds them.
    policy_videos: films of the final policy, or of each agent's, by what they show.
  """

  workdir: pathlib.Path
  config: dict[str, Any]
  task: dict[str, Any]
  versions: dict[str, Any]
  results: dict[str, Any]
  evaluation: dict[str, Any]
  attention: dict[str, Any]
  off_path: dict[str, Any]
  hack_price: dict[str, Any]
  goals: dict[str, Any]
  videos: dict[str, Video]
  video_files: dict[str, pathlib.Path]
  films: dict[str, dict[str, pathlib.Path]]
  finetune: list[dict[str, Any]]
  policy: list[dict[str, Any]]
  policy_videos: dict[str, pathlib.Path]

  @property
  def pictures(self) -> pathlib.Path:
    """The folder of the report's pictures."""
    return self.workdir / "pictures"

  def curves(self, when: str, group: str) -> list[dict[str, Any]]:
    """The curves of a group of videos "before" or "after" fine-tuning."""
    return (self.evaluation.get(when) or {}).get(group) or []


def read_run(workdir: str | os.PathLike) -> Run:
  """Reads a run folder, finished or not.

  Raises:
    UserError: there is no such folder, or one of its files is damaged.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  if not workdir.is_dir():
    raise UserError(
      f"expected a run folder to report on, got none at {workdir}; run the pipeline first, or give "
      "another --workdir."
    )
  results = _read(workdir / "results.json")
  seconds = {
    stage: run_folder.stage_seconds(workdir, stage)
    for stage in STAGES
    if run_folder.stage_done(workdir, stage)
  }
  config, chosen = (_read(workdir / name) for name in ("config.json", task.FILE))
  config = task.filled(with_new_names(config), chosen)
  config.pop("for_task", None)  # it is filled in
  videos, files = _recorded(workdir / "videos", config.get("data") or {})
  return Run(
    workdir=workdir,
    config=config,
    task=chosen,
    versions=_read(workdir / "versions.json"),
    results={**results, "seconds": {**seconds, **(results.get("seconds") or {})}},
    evaluation=_read(workdir / "evaluation.json"),
    attention=_read(workdir / "attention" / "attention.json"),
    off_path=_read(workdir / "off_path" / "off_path.json"),
    hack_price=_read(workdir / "hack_price" / "hack_price.json"),
    goals=_read(workdir / "policy" / "goals.json"),
    videos=videos,
    video_files=files,
    films={"recorded": files} | {group: _films(workdir, group) for group in _FILMED},
    finetune=read_metrics(workdir, "finetune"),
    policy=read_metrics(workdir, "policy"),
    policy_videos=_policy_videos(workdir / "policy"),
  )


def _read(path: pathlib.Path) -> dict[str, Any]:
  if not path.is_file():
    return {}
  value = files.read_json(path)
  if not isinstance(value, dict):
    raise UserError(
      f"expected an object of JSON in {path}, got a {type(value).__name__}; remove the file or "
      "restore it."
    )
  return value


def _policy_videos(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  seeds = {int(film.parent.name[4:]): film for film in folder.glob("seed*/final.mp4")}
  films = {f"The final policy of seed {seed}": seeds[seed] for seed in sorted(seeds)}
  film = folder / "final.mp4"
  return films or ({"The final policy": film} if film.is_file() else {})


def _films(workdir: pathlib.Path, group: str) -> dict[str, pathlib.Path]:
  """Film files with the robot, by the names that `vipjax.stages.evaluate` gives them."""
  manifests = [workdir / folder / MANIFEST for folder in _FILMED[group]]
  entries = [
    (entry.file, Video(np.empty((0, 0, 0, 3), np.uint8), **entry.metadata))
    for manifest in manifests
    if manifest.is_file()
    for entry in read_manifest(manifest)
    if entry.metadata.get("robot_visible") is not False
    and not (group == "failed" and entry.metadata.get("success"))
  ]
  names = video_names([video for _, video in entries])
  return {name: path for name, (path, _) in zip(names, entries, strict=True)}


def _recorded(
  folder: pathlib.Path, data: Mapping[str, Any]
) -> tuple[dict[str, Video], dict[str, pathlib.Path]]:
  """Videos and their mp4 files by name; the user's own if the config has a data.path."""
  if own := data.get("path"):
    # They lie outside the run folder and may have been removed since.
    try:
      there = hub.on_hub(own) or pathlib.Path(own).expanduser().exists()
      videos = read_videos(own, **reading_options(data)) if there else []
    except UserError:
      if not hub.on_hub(own):
        raise
      videos = []  # not cached, and there is no network
    files = [pathlib.Path(video.source) for video in videos]
  elif (folder / MANIFEST).is_file():  # Recording writes it last.
    videos = read_videos(folder)
    files = [entry.file for entry in read_manifest(folder / MANIFEST)]
  else:
    return {}, {}
  names = video_names(videos)
  films = {
    name: path
    for name, path in zip(names, files, strict=True)
    if path.suffix.lower() == ".mp4" and path.is_file()
  }
  return dict(zip(names, videos, strict=True)), films
