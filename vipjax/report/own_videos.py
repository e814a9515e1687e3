"""A page of one's own videos: their distance curves, films and numbers, in seconds."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import time
from collections.abc import Iterator, Sequence

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.evaluation import DistanceCurve, make_curve, video_names
from vipjax.report import html, pictures, plots
from vipjax.report.charts import chart_document
from vipjax.report.html import Safe, element, gallery, section, small, table, tile
from vipjax.report.tables import duration_text, value_text
from vipjax.reward.goals import Goal, embed_goal, find_goals, misfits
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.types import Video
from vipjax.videos import LazyVideo, shrunk, write_video

_PICTURE_HEIGHT = 256  # pixels; no more is shown
_DECODED_AT_ONCE = 32
_MOST_FILMS = 12
_MOST_GOALS = 12
_MOST_WARNINGS = 4
PAGE = "curves.html"


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
  """One video and its distance curve.

  Attributes:
    video: its frames, shrunk for showing.
    curve: distances of those frames at their full size.
    goal: the goal that distances are measured to.
    warnings: reasons why the goal may not fit.
  """

  video: Video
  curve: DistanceCurve
  goal: Goal
  warnings: list[str]


def measure(
  value: ValueFunction,
  videos: Sequence[LazyVideo],
  goal: str = "last",
  goal_reduction: str = "mean",
  max_frames: int = 150,
) -> list[Measured]:
  """The distance curve of each video.

  Args:
    value: the value function.
    videos: at least one, each of at least two frames.
    goal: see `vipjax.reward.goals.HELP`.
    goal_reduction: of several goal frames the "mean" embedding, or the "nearest" counts.
    max_frames: of each video at most so many are looked at, evenly spaced; at least 2.

  Raises:
    UserError: a video of one frame, or as `find_goals`.
  """
  if max_frames < 2:
    raise UserError(
      f"expected at least 2 frames of each video, got max_frames={max_frames}; raise it."
    )
  # Without frames: names depend on the metadata alone.
  names = video_names([Video(np.empty(0), **video.metadata) for video in videos])
  found = find_goals(goal, videos, names)
  looked = []
  with Progress(len(videos), "curves", unit="video") as progress:
    for video in videos:
      looked.append(_look(value, video, max_frames))
      progress.update()
  # A goal that videos share is embedded once.
  embedded_goals = {id(each): embed_goal(value, each, goal_reduction) for each in found}
  measured = []
  for (video, embedded, size), name, each in zip(looked, names, found, strict=True):
    distances = value.distances(embedded, embedded_goals[id(each)])
    curve = make_curve(distances, video.seconds, name)
    warnings = misfits(value, each, video.frames, embedded, distances, size)
    measured.append(Measured(video, curve, each, warnings))
  return measured


def _look(
  value: ValueFunction, video: LazyVideo, max_frames: int
) -> tuple[Video, np.ndarray, tuple[int, int]]:
  """Evenly spaced frames, shrunk; float32 [T, D] embeddings of the full frames; their size."""
  indices = video.evenly(max_frames)
  small, embedded = [], []
  for start in range(0, len(indices), _DECODED_AT_ONCE):
    frames = video[indices[start : start + _DECODED_AT_ONCE]]
    embedded.append(value.embed(frames))
    small.append(shrunk(frames, _PICTURE_HEIGHT))
  fps, times = video.fps * (len(indices) - 1) / (len(video) - 1), video.times[indices]
  size = frames.shape[1:3]
  shown = Video(frames=np.concatenate(small), fps=fps, times=times, **video.metadata)
  return shown, np.concatenate(embedded), size


def write_curves(
  folder: pathlib.Path, measured: Sequence[Measured], facts: dict[str, str], seconds: float
) -> pathlib.Path:
  """Writes `curves.html`, `curves.csv`, and of the first 12 videos `films/*.mp4` and `shown/*.mp4`.

  Films are of a video beside its curve; shown are the frames alone, small, as on the page.

  Args:
    folder: there already.
    measured: at least one.
    facts: shown at the page's end: what was measured with what, by which command.
    seconds: what the measuring took.

  Returns:
    The page's path.
  """
  started = time.monotonic()
  files.write_csv(folder / "curves.csv", ("video", "source", "time_s", "distance"), _rows(measured))
  films = []
  for name, each in list(zip(film_names(measured), measured, strict=True))[:_MOST_FILMS]:
    film = pictures.curve_film(
      each.video.frames, each.curve.distances, each.curve.times, each.goal.frames
    )
    path = folder / "films" / f"{name}.mp4"
    write_video(path, film, each.video.fps, times=each.video.times, crf=20, overwrite=True)
    films.append(html.video(path, each.curve.name, folder))
  left = len(measured) - len(films)
  without = small(f"and {left} more videos without a film") if left else None
  seconds += time.monotonic() - started
  page = chart_document(
    "Distance curves",
    _header(measured, facts, seconds),
    section("Curves", _player(folder, measured)),
    section("Goals", _goals(measured)),
    section("Watch them", element("div", *films, class_="films wide"), without),
    section("Frames", _frames(measured)),
    section("Numbers", _numbers(measured)),
    section("How this was made", table((), list(facts.items()))),
  )
  path = folder / PAGE
  files.write_text(path, page)
  return path


def film_names(measured: Sequence[Measured]) -> list[str]:
  """A file name for each video, without a suffix."""
  names = [re.sub(r"[^\w-]+", "-", each.curve.name).strip("-") for each in measured]
  return [f"{index:02d}_{name}" for index, name in enumerate(names)]


def _header(measured: Sequence[Measured], facts: dict[str, str], seconds: float) -> Safe:
  curves = [each.curve for each in measured]
  frames = sum(len(curve.distances) for curve in curves)
  warnings = [f"{each.curve.name}: {warning}" for each in measured for warning in each.warnings]
  more = len(warnings) - _MOST_WARNINGS
  if more > 0:
    warnings[_MOST_WARNINGS:] = [f"and {more} more such warnings, of other videos."]
  rank = np.mean([curve.rank_correlation for curve in curves])
  falling = np.mean([curve.falling_fraction for curve in curves])
  of = f"mean of {len(curves)} videos" if len(curves) > 1 else "of the video"
  tiles = [
    tile("Rank correlation with time", f"{rank:.3f}", f"{of}; 1 is best, 0 says nothing"),
    tile("Steps that come closer", f"{falling:.0%}", of),
    tile(
      "Frames", value_text(frames), f"looked at in {len(curves)} video{'s' * (len(curves) > 1)}"
    ),
    tile("Time", duration_text(seconds), "decoding, embedding, drawing"),
  ]
  words = (
    "The distance between the embedding of each frame and that of the goal. In a video that goes "
    "straight to its goal a useful one falls all the way."
  )
  source = f"{facts['videos']} · encoder {facts['encoder']}"
  return html.header("How far from the goal?", words, tiles, warnings, source)


def _player(folder: pathlib.Path, measured: Sequence[Measured]) -> Safe:
  """The videos and their curves, moving together."""
  items, curves = [], []
  for number, each in enumerate(measured):
    film = None
    if number < _MOST_FILMS:
      path = folder / "shown" / f"{number:02d}.mp4"
      shown = each.video
      write_video(path, shown.frames, shown.fps, times=shown.times, crf=26, overwrite=True)
      film = html.video_url(path)
    goal = f"Goal: {each.goal.name}."
    items.append({"name": each.curve.name, "group": "videos", "film": film, "facts": goal})
    curves.append({
      "x": each.curve.times, "y": each.curve.distances, "name": each.curve.name, "item": number,
      "group": each.curve.name, "colour": number,
    })  # fmt: skip
  return plots.distance_player(items, curves)


def _goals(measured: Sequence[Measured]) -> Safe:
  """Every distinct goal frame, small, with its source."""
  different = {id(each.goal): each.goal for each in measured}.values()
  pairs = [pair for goal in different for pair in zip(goal.frames, goal.sources, strict=True)]
  return gallery(pairs[:_MOST_GOALS], len(pairs) - _MOST_GOALS)


def _frames(measured: Sequence[Measured]) -> Safe:
  strips = pictures.draw_frames({each.curve.name: each.video for each in measured})
  return html.picture(strips, "Strips of frames of the videos", "Start to end.")


def _numbers(measured: Sequence[Measured]) -> Safe:
  header = ("video", "goal", "frames", "length", "first", "last", "ρ", "closer", "largest rise")
  rows = []
  for each in measured:
    curve = each.curve
    rows.append((
      curve.name, each.goal.name, str(len(curve.distances)), f"{curve.times[-1]:.1f} s",
      f"{curve.distances[0]:.3g}", f"{curve.distances[-1]:.3g}", f"{curve.rank_correlation:.3f}",
      f"{curve.falling_fraction:.0%}", f"{curve.largest_rise:.2f}",
    ))  # fmt: skip
  words = (
    "First and last: distance of those frames, in units of the embedding. ρ: rank correlation with "
    "time. Closer: share of steps that come closer. Largest rise: the farthest that the curve "
    "climbs back, as a share of its start. Every distance is in curves.csv."
  )
  return element("div", table(header, rows, numbers=range(2, 9)), small(words))


def _rows(measured: Sequence[Measured]) -> Iterator[tuple]:
  for each in measured:
    for seconds, distance in zip(each.curve.times, each.curve.distances, strict=True):
      yield each.curve.name, each.video.source, f"{seconds:.4f}", f"{distance:.6g}"
