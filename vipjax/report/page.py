"""The report: one HTML page that opens from disk, made from a run folder, finished or not."""

from __future__ import annotations

import os
import pathlib

from vipjax.report import plots, sections
from vipjax.report.canvas import DARK, LIGHT
from vipjax.report.elements import Safe, document, picture
from vipjax.report.run import Run, read_run
from vipjax.runtime import run_folder

_PICTURES = "pictures"


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` and `pictures/*.png` from what the run folder holds.

  The page holds its pictures and videos itself, needs no network and no script, and follows the
  reader's colour scheme. What has not run yet is "not run" in its place, so a report may be
  written at any time. It never fails for a missing file, only for a damaged one.

  Args:
    workdir: the run folder. Read are `config.json`, `versions.json`, `results.json`,
      `evaluation.json`, `metrics.jsonl`, `videos/`, `policy/final.mp4` and `stages/`.

  Returns:
    The page's path.

  Raises:
    UserError: no such folder, or a file in it that cannot be read.
  """
  run = read_run(workdir)
  pictures = _draw(run)
  page = document(
    sections.title(run),
    sections.header(run),
    sections.results(run),
    sections.what_was_run(run),
    sections.curves(run, pictures.get("curves")),
    sections.frames(run, pictures.get("frames")),
    sections.finetuning(pictures.get("losses")),
    sections.policy(run, pictures.get("learning")),
    sections.cost(run),
    sections.repeat(run),
    sections.versions(run),
  )
  path = run.workdir / "report.html"
  run_folder.write_text(path, page)
  return path


def _draw(run: Run) -> dict[str, Safe]:
  """Pictures by name, as elements; each is written into `pictures/` as well, light and dark."""
  before, after = (run.evaluation.get(when) or {} for when in ("before", "after"))
  last_frames = {name: video.frames[-1] for name, video in run.videos.items()}
  drawings = {}
  if any(curves.get(kind) for curves in (before, after) for kind in ("recorded", "unseen")):
    drawings["curves"] = lambda theme: plots.plot_curves(before, after, last_frames, theme)
  if run.videos:
    drawings["frames"] = lambda theme: plots.plot_frames(run.videos, theme)
  if _has(run.finetune, ("loss", "vip_loss", "tcc_loss")):
    drawings["losses"] = lambda theme: plots.plot_losses(run.finetune, theme)
  if _has(run.policy, ("success", "return", "distance", "train_distance")):
    drawings["learning"] = lambda theme: plots.plot_learning(run.policy, theme)
  folder = run.workdir / _PICTURES
  folder.mkdir(exist_ok=True)
  made = {}
  for name, draw in drawings.items():
    light, dark = draw(LIGHT), draw(DARK)
    (folder / f"{name}.png").write_bytes(light)
    (folder / f"{name}_dark.png").write_bytes(dark)
    made[name] = picture(light, dark, sections.ALTERNATIVES[name], sections.CAPTIONS[name])
  return made


def _has(rows: list[dict], keys: tuple[str, ...]) -> bool:
  return any(row.get(key) is not None for row in rows for key in keys)
