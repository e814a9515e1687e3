"""A page of what was erased: each film before, its mask, and after."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from vipjax.evaluation import video_names
from vipjax.report import html
from vipjax.report.html import Safe, element, gallery, section, small, table, tile
from vipjax.report.tables import duration_text, value_text
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import evenly, shrunk, write_video
from vipjax.videos.twins import STATIC, Twin

PAGE = "erase.html"
_HEIGHT = 192  # pixels of a film on the page
_MOST_FRAMES, _MOST_FILMS, _MOMENTS = 120, 12, 5
_MASKED = np.array([220, 30, 90], np.uint8)
_MUCH = 0.3  # filled flat, as a share of the erased pixels
_OUTDATED = 0.005  # of the last frame's pixels: a small object in a picture of 128 pixels

MOTION_LIMITS = (
  "The masks are of what moves, and know no robot: objects that it moves are erased with it while "
  "they move, and a robot that waits, or covers a place for half of the film, stays. Look at the "
  "films before you train on them; masks of your own or a drawn model do not have these "
  "limits."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """What the page keeps of a film.

  Attributes:
    video: the film, thinned and shrunk, without frames.
    film: uint8 [T, H, 3 W, 3], before, mask and after side by side.
    frames: T of the whole film.
    erased_share, flat_share, outdated_share: see `vipjax.videos.erase.Erased`.
    camera_shift: pixels.
  """

  video: Video
  film: np.ndarray
  frames: int
  erased_share: float
  flat_share: float
  outdated_share: float
  camera_shift: float


def check_out(out: pathlib.Path, data: pathlib.Path, overwrite: bool) -> None:
  """Raises UserError unless a folder can be made at `out`, or one that was made so be replaced."""
  inside = out.resolve() in (data.resolve(), *data.resolve().parents)
  is_ours = out.is_dir() and ((out / PAGE).is_file() or not any(out.iterdir()))
  if inside or (out.exists() and not (overwrite and is_ours)):
    advice = "pass --overwrite or another --out" if is_ours and not inside else "give another --out"
    raise UserError(f"expected nothing at {out} that would be lost, got something; {advice}.")


def shown(twin: Twin) -> Shown:
  """The film of a twin for the page."""
  video, erased = twin.video, twin.erased
  length = len(video.frames)
  picks = evenly(length, _MOST_FRAMES)
  weights = erased.weights[picks, ..., None]
  before = video.frames[picks]
  grey = before.mean(axis=-1, keepdims=True) * 0.6
  masks = (grey + weights * (_MASKED - grey)).astype(np.uint8)
  three = before, masks, erased.frames[picks]
  film = np.concatenate([shrunk(each, _HEIGHT) for each in three], axis=2)
  times = video.seconds[picks]
  kept = dataclasses.replace(
    video, frames=np.empty(0), fps=video.fps * (len(picks) - 1) / max(1, length - 1) or video.fps,
    times=times,
  )  # fmt: skip
  shares = erased.erased_share, erased.flat_share, erased.outdated_share
  return Shown(kept, film, length, *shares, twin.camera_shift)


def write_page(
  folder: pathlib.Path,
  films: Sequence[Shown],
  facts: dict[str, str],
  notes: Sequence[str],
  seconds: float,
) -> pathlib.Path:
  """Writes `erase.html`.

  Args:
    folder: there already.
    films: at least one; the first 12 are shown.
    facts: shown at the page's end: what was erased by what, by which command.
    notes: shown at its head.
    seconds: what the erasing took.

  Returns:
    The page's path.
  """
  names = video_names([each.video for each in films])
  page = html.document(
    "Robot erased",
    _header(films, notes, seconds),
    section("Before, mask, after", _players(folder, films, names)),
    section("Moments", _moments(films[0])),
    section("Numbers", _numbers(films, names)),
    section("How this was made", table((), list(facts.items()))),
  )
  path = folder / PAGE
  files.write_text(path, page)
  return path


def warnings(films: Sequence[Shown], from_motion: bool, tail: float = 0.0) -> list[str]:
  """What speaks against the result, in sentences.

  Args:
    films: at least one.
    from_motion: whether masks are of what moves, which have limits of their own.
    tail: seconds in which the robot leaves; see `vipjax.videos.twins.write_twins`.
  """
  found = [MOTION_LIMITS] if from_motion else []
  moves = max(each.camera_shift for each in films)
  if moves >= STATIC:
    found.append(
      f"The picture moves as a whole, by about {moves:.1f} pixels; --static_camera says that the "
      "camera does not: where that is wrong, what is filled in lies beside its place."
    )
  flat = float(np.mean([each.flat_share for each in films]))
  if flat >= _MUCH:
    found.append(
      f"{flat:.0%} of what was erased is hidden in every frame of its film, and filled with one "
      "colour: nothing is known of what is there."
    )
  outdated = float(np.mean([each.outdated_share for each in films]))
  if outdated >= _OUTDATED:
    advice = "film on until the robot has left, and give these seconds as --tail."
    if tail:
      advice = f"the robot is still there in all of the last {tail:g} s; let it leave further."
    found.append(
      f"{outdated:.1%} of the last frames, the goals, show what was behind the robot before it "
      f"came there. If the object moves there, its twin ends as if it had not: {advice}"
    )
  return found


def _header(films: Sequence[Shown], notes: Sequence[str], seconds: float) -> Safe:
  shares = np.mean([(each.erased_share, each.flat_share) for each in films], axis=0)
  tiles = [
    tile("Films", value_text(len(films)), f"of {sum(each.frames for each in films)} frames in all"),
    tile("Erased", f"{shares[0]:.1%}", "of all pixels"),
    tile("Filled flat", f"{shares[1]:.1%}", "of what was erased: no frame shows it"),
    tile("Time", duration_text(seconds), "decoding, masks, filling, writing"),
  ]
  words = (
    "Where the robot is, each pixel takes the frame nearest in time that shows it. What happens "
    "behind the robot is not known: an object there jumps from its state before to that after."
  )
  return html.header("The robot, erased", words, tiles, notes)


def _players(folder: pathlib.Path, films: Sequence[Shown], names: Sequence[str]) -> Safe:
  players = []
  for number, (each, name) in enumerate(list(zip(films, names, strict=True))[:_MOST_FILMS]):
    path = folder / "shown" / f"{number:02d}.mp4"
    times = each.video.times if len(each.film) > 1 else None
    write_video(path, each.film, each.video.fps, times=times, crf=24, overwrite=True)
    players.append(html.video(path, name, folder))
  left = len(films) - len(players)
  more = small(f"and {left} more that are not shown") if left else None
  return element("div", element("div", *players, class_="films wide"), more)


def _moments(first: Shown) -> Safe:
  picks = evenly(len(first.film), _MOMENTS)
  return gallery([(first.film[pick], f"{first.video.times[pick]:.2f} s") for pick in picks])


def _numbers(films: Sequence[Shown], names: Sequence[str]) -> Safe:
  header = ("video", "frames", "erased", "filled flat", "outdated end", "camera moves")
  rows = [
    (
      name, str(each.frames), f"{each.erased_share:.1%}", f"{each.flat_share:.1%}",
      f"{each.outdated_share:.1%}", f"{each.camera_shift:.1f} px",
    )
    for each, name in zip(films, names, strict=True)
  ]  # fmt: skip
  words = (
    "Erased: share of all pixels, with the grown and feathered border. Filled flat: share of these "
    "that no frame shows. Outdated end: share of the last frame that shows what was behind the "
    "robot before it came there. Camera moves: of the whole picture against the first frame."
  )
  return element("div", table(header, rows, numbers=range(1, 6)), small(words))
