"""Folders: numbered frames, VIP's table of such folders, and the manifest of `write_videos`."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.types import Video
from vipjax.videos.access import check_free, damaged, decoding, existing_path, permitted, whole_file
from vipjax.videos.formats.fields import (
  FLAG,
  RATE,
  STRING,
  TEXT,
  TEXTS,
  WHOLE,
  Fields,
  Kind,
  read_json,
)
from vipjax.videos.images import write_image
from vipjax.videos.write import are_uneven, even_sizes, write_video

MANIFEST = "videos.json"
TABLE = "manifest.csv"
STILLS = "stills"
LOSSLESS = "lossless"

_KINDS = {
  "fps": RATE,
  "task": STRING,
  "embodiment": STRING,
  "view": STRING,
  "robot_visible": FLAG,
  "success": FLAG,
  "source": STRING,
  "episode": WHOLE,
}
_STILLS = Kind(
  "the names of two images, of the first and the last frame",
  lambda value: TEXTS.holds(value) and len(value) in (0, 2),
)


# Reading.


def read_table(path: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, Any]]]:
  """Reads `manifest.csv`, the list of frame folders that VIP and R3M train from (Ego4D).

  Of its columns, `path` names a folder of six-digit jpg images, absolute or seen from the manifest
  (a folder that has moved beside its manifest is found, too), and `txt`, where there is one, says
  what happens in it. Other columns are passed over.

  Returns:
    For each row the folder, and its metadata.

  Raises:
    UserError: no column `path`, no rows, or a folder that is not there.
  """
  # The reader splits the lines: a text may hold other ends of lines than its own, or quoted ones.
  with decoding(path), path.open(encoding="utf-8", newline="") as file:
    try:
      rows = list(csv.DictReader(file))
    except csv.Error as error:
      raise damaged(path, str(error)) from error
  if not rows or not all(row.get("path") for row in rows):
    raise UserError(
      f"expected at least one row and a column 'path' in {path}, got "
      f"{', '.join(rows[0]) if rows else 'no rows'}; name the folders of frames there."
    )
  found = []
  for row in rows:
    given = pathlib.Path(row["path"])
    places = [path.parent / given, path.parent / given.name]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
      refuse_stand_ins(places[0])
      raise UserError(
        f"expected the folder {str(given)!r} that {path} names, got none; restore it or remove its "
        "row."
      )
    found.append((folder, {"task": row["txt"]} if row.get("txt") else {}))
  return found


class Entry(NamedTuple):
  """One video of a manifest.

  Attributes:
    file: where it is.
    metadata: the values that the manifest gives and that are not null.
    stills: images of its first and its last frame, or none.
    lossless: a file with the same frames as they were before the codec, or None.
  """

  file: pathlib.Path
  metadata: dict[str, Any]
  stills: tuple[pathlib.Path, ...]
  lossless: pathlib.Path | None


def read_manifest(path: pathlib.Path) -> list[Entry]:
  """Reads `videos.json`: a list of `{"file": name, "lossless": name, **Video.metadata()}`.

  In the place of "lossless" there may be "stills", [first, last], names of images.

  Every key but the file may be missing or null.

  Raises:
    UserError: not JSON, not such a list, an unknown key, a value of a wrong type, or a file that
      is not there.
  """
  entries = read_json(path, f"a folder's {MANIFEST}")
  if not isinstance(entries, list) or not entries:
    raise UserError(
      f"expected a list of at least one video in {path}, got {type(entries).__name__} "
      f"{json.dumps(entries)[:60]}; write the folder again."
    )
  return [
    _read_entry(path, Fields(entry, f"entry {index} of {path}"))
    for index, entry in enumerate(entries)
  ]


def _read_entry(path: pathlib.Path, entry: Fields) -> Entry:
  for key in entry:
    if key not in ("file", STILLS, LOSSLESS, *_KINDS):
      raise UserError(
        f"expected the keys file, {STILLS}, {LOSSLESS}, {', '.join(_KINDS)} in {entry.place}, got "
        f"{key!r}; rename or remove it."
      )
  known = {key: entry.optional(key, kind) for key, kind in _KINDS.items()}

  def found(name: str) -> pathlib.Path:
    return existing_path(path.parent / name, f"the file {name!r} that {path} names")

  metadata = {key: value for key, value in known.items() if value is not None}
  lossless = entry.optional(LOSSLESS, TEXT)
  return Entry(
    found(entry.value("file", TEXT)),
    metadata,
    tuple(map(found, entry.optional(STILLS, _STILLS) or ())),
    None if lossless is None else found(lossless),
  )


# Writing.


def write_videos(
  folder: str | os.PathLike[str],
  videos: Sequence[Video],
  *,
  crf: int = 12,
  keep: str = "all",
  overwrite: bool = False,
) -> list[pathlib.Path]:
  """Writes videos as mp4 and, last, the manifest `videos.json` that `read_videos` reads.

  Beside them, in `lossless/`, the frames are kept as they are, which `read_videos` then reads: a
  codec changes a frame by about a grey level, as much as the whole picture changes while a small
  object moves, and frames drawn for a policy have never been through one.

  Names say the episode (or `video` and the position where it is unknown), the view, and
  `robot_free` where the robot was not rendered: `episode000_left_robot_free.mp4`. The manifest is
  written last and at once, so an interrupted call leaves none. With `overwrite`, files that the
  new manifest does not name stay.

  Args:
    folder: made where it is missing.
    videos: at least one.
    crf: see `write_video`.
    keep: frames to keep without loss: "all", "ends" (the first and the last, as images in
      `stills/`, for films too large for all) or "none". Of a film with uneven times "ends" at most.
    overwrite: whether files and a manifest that are there may be replaced.

  Returns:
    The path of each video's file.

  Raises:
    UserError: no videos, two that would get one name, or files that are there already.
  """
  folder = pathlib.Path(folder).expanduser()
  if not videos:
    raise UserError(f"expected at least one video to write to {folder}, got none; pass some.")
  stems = [film_stem(video, index) for index, video in enumerate(videos)]
  for index, stem in enumerate(stems):
    if stem in stems[:index]:
      raise UserError(
        "expected videos that differ in episode, view or robot_visible, got two for "
        f"{stem}.mp4; number their episodes."
      )
  # All that can be refused is refused before the first file is written.
  for index, video in enumerate(videos):
    check_frames(video.frames, f"the frames of video {index}")
  entries = [film_entry(stem, video, keep) for stem, video in zip(stems, videos, strict=True)]
  text = _manifest(entries)
  manifest = folder / MANIFEST
  paths = [folder / entry["file"] for entry in entries]
  with permitted(folder):
    kept = [folder / name for entry in entries for name in _kept(entry)]
    for path in (manifest, *paths, *kept):
      check_free(path, overwrite)
    # The old manifest must not speak for files that are about to change.
    manifest.unlink(missing_ok=True)
  for entry, video in zip(entries, videos, strict=True):
    write_film(folder, entry, video, crf=crf, overwrite=overwrite)
  with whole_file(manifest, overwrite) as partial:
    partial.write_text(text, encoding="utf-8")
  return paths


def film_entry(stem: str, video: Video, keep: str = "all") -> dict[str, Any]:
  """What a manifest says of a video that `write_film` writes under that name.

  Args:
    stem: the name.
    video: the video.
    keep: as `write_videos` takes it.
  """
  entry, uneven = {"file": f"{stem}.mp4"}, are_uneven(video.times, video.fps)
  if keep == "all" and not uneven:
    entry[LOSSLESS] = f"{LOSSLESS}/{stem}.npz"
  elif keep != "none":
    entry[STILLS] = [f"{STILLS}/{stem}_{end}.png" for end in ("first", "last")]
  entry |= video.metadata()
  if uneven:
    entry["fps"] = None  # Stated here it would hide the times in the file.
  return entry


def _kept(entry: dict[str, Any]) -> list[str]:
  """The names of the files that `write_film` writes beside the film."""
  return [*entry.get(STILLS, ()), *([entry[LOSSLESS]] if LOSSLESS in entry else ())]


def write_film(
  folder: pathlib.Path, entry: dict[str, Any], video: Video, *, crf: int = 12, overwrite: bool
) -> None:
  """Writes the film of an entry, and its stills and lossless copy where it has them."""
  path = folder / entry["file"]
  write_video(path, video.frames, video.fps, times=video.times, crf=crf, overwrite=overwrite)
  for name, frame in zip(entry.get(STILLS, ()), even_sizes(video.frames[[0, -1]]), strict=False):
    write_image(folder / name, frame, overwrite=overwrite)
  if LOSSLESS in entry:
    with whole_file(folder / entry[LOSSLESS], overwrite) as partial, open(partial, "wb") as file:
      np.savez_compressed(file, frames=even_sizes(video.frames))


def write_manifest(folder: pathlib.Path, entries: list[dict[str, Any]]) -> None:
  """Writes the manifest of films that lie in a folder where none is yet."""
  (folder / MANIFEST).write_text(_manifest(entries), encoding="utf-8")


def write_frames(folder: pathlib.Path, videos: Sequence[Video]) -> None:
  """Writes each video as a folder of `0.png`, `1.png`, ..., and the manifest."""
  entries = []
  for index, video in enumerate(videos):
    stem = film_stem(video, index)
    for time, frame in enumerate(video.frames):
      write_image(folder / stem / f"{time}.png", frame)
    entries.append({"file": stem, **video.metadata()})
  write_manifest(folder, entries)


def _manifest(entries: list[dict[str, Any]]) -> str:
  # NumPy scalars, such as a success flag out of an array, become what JSON knows.
  return json.dumps(entries, indent=2, default=np.generic.item) + "\n"


def film_stem(video: Video, index: int) -> str:
  """The stem of a video's file; other signs than letters, digits, - and _ become -."""
  parts = [f"video{index:03d}" if video.episode is None else f"episode{video.episode:03d}"]
  if video.view:
    parts.append(re.sub(r"[^\w-]", "-", video.view))
  if video.robot_visible is not None and not video.robot_visible:
    parts.append("robot_free")
  return "_".join(parts)
