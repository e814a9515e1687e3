"""The report: one HTML page that opens from disk, made from a run folder, finished or not."""

from __future__ import annotations

import os
import pathlib
import shutil

import numpy as np

from vipjax.report import evidence, pictures, plots, sections
from vipjax.report.charts import chart_document
from vipjax.report.html import Safe, contents, video
from vipjax.report.run import Run, read_run
from vipjax.runtime import files, places
from vipjax.runtime.metrics import MetricsWriter
from vipjax.videos import read_image, write_video

_STAGE = "report"
_MOST_FILMS = 4


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` and `pictures/` for a run folder.

  The page holds its films, frames and charts itself, needs no network, and follows the reader's
  colour scheme; without scripts it shows tables in place of charts. What has not run yet is "not
  run" in its place, so a report may be written at any time. It never fails for a missing file, only
  for a damaged one. `pictures/` has the charts and frames for other documents; TensorBoard gets
  them, too.

  Args:
    workdir: the run folder. Read are `config.json`, `task.json`, `versions.json`, `results.json`,
      `evaluation.json`, `metrics.jsonl`, `videos/` and what else was filmed, `policy/`,
      `attention/`, `hack_price/`, `off_path/` and `stages/`.

  Returns:
    The page's path.

  Raises:
    UserError: no such folder, a file in it that cannot be read, or nothing can be written there.
  """
  run = read_run(workdir)
  places.make_folder(run.pictures)
  drawn = _draw(run)
  parts = [
    sections.curves(run, _curve_films(run)),
    sections.policy(run),
    evidence.attention(run),
    evidence.hack_price(run),
    evidence.off_path(run),
    evidence.alignment(run, drawn.get("neighbours")),
    sections.frames(run, drawn.get("frames")),
    sections.views(run),
    sections.finetuning(run),
    sections.results(run),
    sections.what_was_run(run),
    evidence.goals(run),
    sections.cost(run),
    sections.repeat(run),
    sections.versions(run),
  ]
  _log(run, drawn)
  page = chart_document(sections.title(run), sections.header(run), contents(parts), *parts)
  path = run.workdir / "report.html"
  files.write_text(path, page)
  return path


def _draw(run: Run) -> dict[str, bytes]:
  """Draws the pictures, writes them into `pictures/`, and returns the PNGs by name."""
  charts = {
    "curves": plots.curve_charts(run),
    "losses": [plots.metric_charts(run.finetune, plots.LOSSES, "training steps")],
    "learning": [plots.metric_charts(run.policy, plots.LEARNING, "environment steps")],
    "attention": [plots.occlusion_charts(run)],
    "off_path": [plots.off_path_charts(run)],
  }
  drawn = {name: pictures.draw(rows) for name, rows in charts.items() if any(rows)}
  if run.videos:
    drawn["frames"] = pictures.draw_frames(run.videos)
  if matches := evidence.neighbours(run):
    drawn["neighbours"] = pictures.draw_neighbours(*matches)
  for name, png in drawn.items():
    (run.pictures / f"{name}.png").write_bytes(png)
  return drawn


def _log(run: Run, drawn: dict[str, bytes]) -> None:
  """Logs the pictures to TensorBoard (and W&B) in place of those of an earlier report."""
  shutil.rmtree(run.workdir / "tensorboard" / _STAGE, ignore_errors=True)
  paths = {name: run.pictures / f"{name}.png" for name in sorted(drawn)}
  with MetricsWriter(run.workdir, _STAGE) as writer:
    for name, path in (paths | evidence.hack_files(run)).items():
      writer.image(0, name, read_image(path))


def _curve_films(run: Run) -> list[Safe]:
  """Films of recorded videos beside their curves, as elements; the files lie in `pictures/`."""
  films = []
  known = [curve for curve in run.curves("after", "recorded") if curve["name"] in run.videos]
  for number, curve in enumerate(known[:_MOST_FILMS]):
    recorded = run.videos[curve["name"]]
    if len(recorded.frames) != len(curve["distances"]):
      continue
    path = run.pictures / f"curve{number}.mp4"
    distances, times = (np.array(curve[key]) for key in ("distances", "times"))
    film = pictures.curve_film(recorded.frames, distances, times, list(recorded.frames[-1:]))
    write_video(path, film, recorded.fps, times=recorded.times, overwrite=True)
    films.append(video(path, curve["name"], run.workdir))
  return films
