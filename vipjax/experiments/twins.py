"""The demo from robot-free twins that are drawn, and from erased ones, on a page that compares."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shutil

import ml_collections

from vipjax.experiments.comparison import write_comparison
from vipjax.experiments.runs import require_seeds_apart, run_all
from vipjax.report.page import write_report
from vipjax.reward.settings import PREDICTED
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.platform import on_cpu
from vipjax.stages.agent import require_predictable
from vipjax.stages.finetune import finetune
from vipjax.stages.pipeline import Additions, run_stages
from vipjax.stages.record import record
from vipjax.stages.task import filled
from vipjax.videos import open_videos
from vipjax.videos.composite import THRESHOLD as COMPRESSED
from vipjax.videos.composite import differing, films_with_twins
from vipjax.videos.erase import erase, motion_masks
from vipjax.videos.formats.folders import film_entry, film_stem, write_film

DRAWN = "robot-free"
SOURCES = (DRAWN, "given", "motion")
_FILMS = ("videos", "robots")  # folders of a run with twins among their films
_LAST_STAGE = "report"


def check_twins(config: ml_collections.ConfigDict) -> None:
  """Raises UserError where `run_twins` cannot be run as configured; quick."""
  settings, record = config.erasing, config.record
  unknown = sorted(set(settings.finetune) - set(SOURCES))
  if unknown or len(set(settings.finetune)) < len(settings.finetune):
    raise UserError(
      f"expected sources among {', '.join(SOURCES)}, each once, in config.erasing.finetune, got "
      f"{list(settings.finetune)}; choose among these."
    )
  require_seeds_apart("erasing.seeds", settings.seeds, config.policy.seeds)
  if settings.finetune and not (record.robot_free and record.format == "mp4"):
    raise UserError(
      "expected config.record.robot_free = True and config.record.format = 'mp4' with "
      f"config.erasing.finetune, got {record.robot_free} and {record.format!r}; change these."
    )
  require_predictable(filled(config))


def run_twins(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, additions: Additions, command: str
) -> pathlib.Path:
  """Runs the demo with robot-free twins that are drawn, and with erased ones, and compares them.

  A run is a run folder, `finetune/<source>/seed<n>`, with its own report, and goes on where it
  stopped. The films of all are the same but for the twins. With config.record.retreat the hand
  leaves after success, which shows what it hid and is then cut off. Where the reward draws its
  robot-free frames (config.reward.robot_free = "drawn"), so are its goals: the twins are
  fine-tuning's alone. Where they are predicted nothing but a film ever shows the scene without the
  robot.

  Args:
    config: as configs/erasing.py makes it.
    workdir: the folder of the experiment.
    additions: as `run_stages` takes it.
    command: makes all of this again; the runs' reports name it.

  Returns:
    The page that compares the sources.

  Raises:
    UserError: as `check_twins`, or not one run could be finished.
  """
  check_twins(config)
  settings, root = config.erasing, workdir / "finetune"
  jobs = []
  for seed in settings.seeds:
    made = ml_collections.ConfigDict(config.to_dict())
    del made["erasing"]
    made.seed = seed
    jobs += [(root / source / f"seed{seed}", made) for source in settings.finetune]
  run = functools.partial(_run, additions, command, settings.policy)
  problems = run_all("fine-tuning", root, jobs, run, _LAST_STAGE, lambda: None, on_cpu())
  return write_comparison(root, SOURCES, problems, "twins", "Robot-free twins, drawn and erased")


def _run(
  additions: Additions,
  command: str,
  policy: bool,
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
) -> str:
  """Runs all stages and the report of one source and seed in a process of `run_all`."""
  source = folder.parent.name
  if not run_folder.stage_done(folder, "finetune"):
    record(config, folder)
    _write_films(config, folder, source)
    finetune(config, folder)
  if config.reward.robot_free != PREDICTED:
    _write_films(config, folder, DRAWN)
  results = run_stages(config, folder, additions, policy, command)
  write_report(folder)
  run_folder.mark_done(folder, _LAST_STAGE, {}, 0.0)
  return f"rank correlation {results['rank_correlation_unseen']:.2f}"


def _write_films(config: ml_collections.ConfigDict, folder: pathlib.Path, source: str) -> None:
  """Replaces a run's films: without the hand's retreat, and with the source's twins.

  What was recorded is kept in `recorded/`.
  """
  tail = -(-config.record.retreat // config.record.frame_stride)
  for name in _FILMS:
    films, recorded = folder / name, folder / "recorded" / name
    if not films.exists():
      continue
    if not recorded.exists():
      begun = recorded.with_name(f"{name}_begun")
      shutil.copytree(films, begun, dirs_exist_ok=True)
      begun.rename(recorded)
    # Only the expert's hand leaves.
    after = tail if name == "videos" else 0
    pairs = films_with_twins(open_videos(recorded), "config.erasing.finetune")
    for number, pair in enumerate(pairs):
      plain, drawn = (each.read() for each in pair)
      film, twin = (each.first(len(each.frames) - after) for each in (plain, drawn))
      if source != DRAWN:
        if source == "motion":
          masks = motion_masks(plain.frames)
        else:
          masks = differing(plain.frames, drawn.frames, COMPRESSED)
        erased = erase(plain.frames, masks, tail=after)
        twin = dataclasses.replace(twin, frames=erased.frames)
      for each in (film, twin):
        write_film(films, film_entry(film_stem(each, number), each), each, overwrite=True)
