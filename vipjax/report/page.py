"""The report: one HTML page that opens from disk, made from a run folder, finished or not."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable

import numpy as np

from vipjax.report import evidence_plots, evidence_sections, players, plots, sections
from vipjax.report.canvas import DARK, LIGHT, Theme
from vipjax.report.elements import Safe, contents, picture, video
from vipjax.report.film import curve_film
from vipjax.report.interactive import interactive_document
from vipjax.report.run import Run, read_run
from vipjax.runtime import files, places
from vipjax.runtime.metrics import MetricsWriter
from vipjax.videos import read_image, write_video

_PICTURES = "pictures"
_STAGE = "report"
_MOST_FILMS = 4


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` and `pictures/*.png` from what the run folder holds.

  The page holds its pictures, videos and charts itself, needs no network, and follows the reader's
  colour scheme; without scripts it shows pictures in place of charts. What has not run yet is "not
  run" in its place, so a report may be written at any time. It never fails for a missing file, only
  for a damaged one. TensorBoard gets the pictures, too.

  Args:
    workdir: the run folder. Read are `config.json`, `versions.json`, `results.json`,
      `evaluation.json`, `metrics.jsonl`, `videos/` and what else was filmed, `policy/`,
      `attention/`, `off_path/` and `stages/`.

  Returns:
    The page's path.

  Raises:
    UserError: no such folder, a file in it that cannot be read, or nothing can be written there.
  """
  run = read_run(workdir)
  places.make_folder(run.workdir / _PICTURES)
  pictures = _draw(run)
  off_path = (pictures.get("off_path"), pictures.get("hacks"))
  films = evidence_sections.curve_films(_curve_films(run))
  parts = [
    sections.curves(run, players.distances(run), pictures.get("curves"), films),
    sections.policy(run, pictures.get("learning")),
    evidence_sections.attention(run, players.attention(run), pictures.get("attention")),
    evidence_sections.off_path(run, players.off_path(run), *off_path),
    evidence_sections.alignment(run, pictures.get("neighbours")),
    sections.frames(run, pictures.get("frames")),
    sections.finetuning(run, pictures.get("losses")),
    sections.results(run),
    sections.what_was_run(run),
    evidence_sections.goals(run),
    sections.cost(run),
    sections.repeat(run),
    sections.versions(run),
  ]
  _log(run)
  page = interactive_document(sections.title(run), sections.header(run), contents(parts), *parts)
  path = run.workdir / "report.html"
  files.write_text(path, page)
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
  drawings |= _evidence(run)
  captions = sections.CAPTIONS | evidence_sections.CAPTIONS
  alternatives = sections.ALTERNATIVES | evidence_sections.ALTERNATIVES
  folder = run.workdir / _PICTURES
  made = {}
  for name, draw in drawings.items():
    light, dark = draw(LIGHT), draw(DARK)
    (folder / f"{name}.png").write_bytes(light)
    (folder / f"{name}_dark.png").write_bytes(dark)
    made[name] = picture(light, dark, alternatives[name], captions[name])
  return made


def _log(run: Run) -> None:
  """Puts the pictures (the light ones) where people watch runs, in place of an earlier report's."""
  shutil.rmtree(run.workdir / "tensorboard" / _STAGE, ignore_errors=True)
  with MetricsWriter(run.workdir, _STAGE) as writer:
    for path in sorted((run.workdir / _PICTURES).glob("*.png")):
      if not path.stem.endswith("_dark"):
        writer.image(0, path.stem, read_image(path))


def _evidence(run: Run) -> dict[str, Callable[[Theme], bytes]]:
  """What draws each picture of the evidence that the run has."""
  drawings: dict[str, Callable[[Theme], bytes]] = {}
  groups = (run.evaluation.get("alignment") or {}).get("after") or {}
  nearest = groups.get("both") or groups.get("recorded") or {}
  others = nearest.get("nearest", {})
  # The video that was looked up is the one that has no entry of its own.
  queries = [name for name in nearest.get("pairs", {}) if name not in others]
  if queries and {*queries, *others} <= {*run.videos}:
    videos = {name: run.videos[name] for name in (*queries, *others)}
    drawings["neighbours"] = lambda theme: evidence_plots.plot_neighbours(videos, others, theme)
  if run.attention:
    after = [each for each in run.attention["videos"] if each["when"] == "after"]
    drawings["attention"] = lambda theme: evidence_plots.plot_attention(after, theme)
  if run.off_path:
    states, hacks = run.off_path["states"], run.off_path["hacks"]
    places = [hack["state"] for hack in hacks]
    drawings["off_path"] = lambda theme: evidence_plots.plot_off_path(states, places, theme)
    images = [read_image(run.workdir / "off_path" / hack["file"]) for hack in hacks]
    captions = [
      f"{states['kind'][i]}, {states['time'][i]:.2f} s: hand {100 * states['hand'][i]:.0f} cm away"
      f"\nobject {100 * states['object'][i]:.0f} cm short of its target"
      for i in places
    ]
    if images:
      drawings["hacks"] = lambda theme: evidence_plots.plot_hacks(images, captions, theme)
  return drawings


def _curve_films(run: Run) -> list[Safe]:
  """Recorded videos beside their curves, as elements; the files lie in `pictures/`."""
  films = []
  curves = (run.evaluation.get("after") or {}).get("recorded") or []
  known = [curve for curve in curves if curve["name"] in run.videos]
  for number, curve in enumerate(known[:_MOST_FILMS]):
    recorded = run.videos[curve["name"]]
    if len(recorded.frames) != len(curve["distances"]):
      continue
    path = run.workdir / _PICTURES / f"curve{number}.mp4"
    film = curve_film(
      recorded.frames, np.array(curve["distances"]), np.array(curve["times"]),
      goals=list(recorded.frames[-1:]),
    )  # fmt: skip
    write_video(path, film, recorded.fps, times=recorded.times, overwrite=True)
    films.append(video(path, curve["name"], run.workdir))
  return films


def _has(rows: list[dict], keys: tuple[str, ...]) -> bool:
  return any(row.get(key) is not None for row in rows for key in keys)
