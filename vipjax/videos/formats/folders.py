"""Folders: numbered frames, VIP's table of such folders, and the manifest of `write_videos`."""

from __future__ import annotations

import csv
import json
import pathlib
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.videos.access import damaged, decoding, existing_path
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

MANIFEST = "videos.json"
TABLE = "manifest.csv"
STILLS = "stills"

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
      f"expected at least one row and a column 'path' in {path}, but it has "
      f"{', '.join(rows[0]) if rows else 'no rows'}: name the folders of frames there."
    )
  found = []
  for row in rows:
    given = pathlib.Path(row["path"])
    places = [path.parent / given, path.parent / given.name]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
      refuse_stand_ins(places[0])
      raise UserError(
        f"expected the folder {str(given)!r} that {path} names, but it is missing: restore it or "
        "remove its row."
      )
    found.append((folder, {"task": row["txt"]} if row.get("txt") else {}))
  return found


class Entry(NamedTuple):
  """One video of a manifest.

  Attributes:
    file: where it is.
    metadata: the values that the manifest gives and that are not null.
    stills: images of its first and its last frame, or none.
  """

  file: pathlib.Path
  metadata: dict[str, Any]
  stills: tuple[pathlib.Path, ...]


def read_manifest(path: pathlib.Path) -> list[Entry]:
  """Reads `videos.json`: a list of `{"file": name, "stills": [first, last], **Video.metadata()}`.

  Every key but the file may be missing or null.

  Raises:
    UserError: not JSON, not such a list, an unknown key, a value of a wrong type, or a file that
      is not there.
  """
  entries = read_json(path, f"a folder's {MANIFEST}")
  if not isinstance(entries, list) or not entries:
    raise UserError(
      f"expected a list of at least one video in {path}, but got {type(entries).__name__} "
      f"{json.dumps(entries)[:60]}: write the folder again."
    )
  return [
    _read_entry(path, Fields(entry, f"entry {index} of {path}"))
    for index, entry in enumerate(entries)
  ]


def _read_entry(path: pathlib.Path, entry: Fields) -> Entry:
  for key in entry:
    if key not in ("file", STILLS, *_KINDS):
      raise UserError(
        f"expected the keys file, {STILLS}, {', '.join(_KINDS)} in {entry.place}, "
        f"but got {key!r}: rename or remove it."
      )
  known = {key: entry.optional(key, kind) for key, kind in _KINDS.items()}
  files = [
    existing_path(path.parent / name, f"the file {name!r} that {path} names")
    for name in (entry.value("file", TEXT), *(entry.optional(STILLS, _STILLS) or ()))
  ]
  metadata = {key: value for key, value in known.items() if value is not None}
  return Entry(files[0], metadata, tuple(files[1:]))
