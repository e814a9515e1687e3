"""Folders: numbered frames, and what `write_videos` recorded."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.types import Video
from vipjax.videos.access import damaged, decoding, permitted
from vipjax.videos.images import read_image

MANIFEST = "videos.json"
TABLE = "manifest.csv"
STILLS = "stills"

_FIELD_TYPES: dict[str, tuple[type, ...]] = {
  "fps": (int, float),
  "task": (str,),
  "embodiment": (str,),
  "view": (str,),
  "robot_visible": (bool,),
  "success": (bool,),
  "source": (str,),
  "episode": (int,),
}


def read_images(folder: pathlib.Path, images: Sequence[pathlib.Path]) -> np.ndarray:
  """Reads images of one size as uint8 [T, H, W, 3]; at least one; UserError names one that differs.

  Args:
    folder: where they are, for messages.
    images: the files in order.
  """
  frames = [read_image(image) for image in images]
  for image, frame in zip(images, frames, strict=True):
    if frame.shape != frames[0].shape:
      raise UserError(
        f"expected images of one size in {folder}, but {images[0].name} is {_size(frames[0])} and "
        f"{image.name} is {_size(frame)}: resize them or keep them apart."
      )
  return np.stack(frames)


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
    metadata: what the manifest says of it and is not null.
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
  with decoding(path):
    text = path.read_text(encoding="utf-8")
  try:
    entries = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(
      f"expected JSON in {path}, but it cannot be parsed ({error}): "
      "mend it or write the folder again."
    ) from error
  if not isinstance(entries, list) or not entries:
    raise UserError(
      f"expected a list of at least one video in {path}, but got {type(entries).__name__} "
      f"{json.dumps(entries)[:60]}: write the folder again."
    )
  return [_read_entry(path, index, entry) for index, entry in enumerate(entries)]


def _read_entry(path: pathlib.Path, index: int, entry: Any) -> Entry:
  """One entry of the manifest, checked."""
  if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
    raise UserError(
      f'expected entry {index} of {path} to be an object with a "file", '
      f"but got {json.dumps(entry)[:60]}: name its file."
    )
  stills = entry.get(STILLS) or []
  if (
    not isinstance(stills, list)
    or len(stills) not in (0, 2)
    or not all(isinstance(name, str) for name in stills)
  ):
    raise UserError(
      f"expected {STILLS!r} of entry {index} in {path} to be the names of two images, of the first "
      f"and the last frame, but got {json.dumps(stills)[:60]}: correct or remove it."
    )
  metadata = {
    key: value for key, value in entry.items() if key not in ("file", STILLS) and value is not None
  }
  for key, value in metadata.items():
    if key not in _FIELD_TYPES:
      raise UserError(
        f"expected the keys file, {STILLS}, {', '.join(_FIELD_TYPES)} in {path}, "
        f"but entry {index} has {key!r}: rename or remove it."
      )
    # bool is an int to Python, but `"episode": true` is a mistake.
    mistaken_bool = isinstance(value, bool) and bool not in _FIELD_TYPES[key]
    if not isinstance(value, _FIELD_TYPES[key]) or mistaken_bool:
      raise UserError(
        f"expected {key!r} of entry {index} in {path} to be {_FIELD_TYPES[key][-1].__name__}, "
        f"but got {json.dumps(value)}: correct it."
      )
  if "fps" in metadata and not 0 < metadata["fps"] < float("inf"):
    raise UserError(
      f"expected 'fps' of entry {index} in {path} to be positive, "
      f"but got {metadata['fps']}: correct it."
    )
  files = [_named(path, name) for name in (entry["file"], *stills)]
  return Entry(files[0], metadata, tuple(files[1:]))


def _named(manifest: pathlib.Path, name: str) -> pathlib.Path:
  """A file that the manifest names, once it is known to be there."""
  file = manifest.parent / name
  try:
    with permitted(file):
      file.stat()
  except OSError as error:
    refuse_stand_ins(file)
    raise UserError(
      f"expected the file {name!r} that {manifest} names, but it is missing: "
      "restore it or remove its entry."
    ) from error
  return file


def apply_metadata(video: Video, metadata: Mapping[str, Any], frame_stride: int) -> Video:
  """The video with what a manifest says of it; where it says nothing, the file's own stays."""
  metadata = dict(metadata)
  if "fps" in metadata:
    metadata["fps"] = metadata["fps"] / frame_stride
  return dataclasses.replace(video, **metadata)


def _size(frame: np.ndarray) -> str:
  return f"{frame.shape[0]}x{frame.shape[1]}"
