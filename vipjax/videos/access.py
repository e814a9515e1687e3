"""Paths and their contents: each error on the way is one sentence."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import av

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import is_dead_link, refuse_stand_ins

CONTAINER_SUFFIXES = (".mp4", ".webm", ".avi", ".mov", ".gif", ".mkv")
ARRAY_SUFFIXES = (".npz", ".npy")
VIDEO_SUFFIXES = CONTAINER_SUFFIXES + ARRAY_SUFFIXES
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

# What a decoder raises on damaged bytes. Pillow raises SyntaxError on a broken PNG chunk.
_DECODING_ERRORS = (av.FFmpegError, OSError, EOFError, ValueError, SyntaxError, zipfile.BadZipFile)


def found_in(find: Callable[[pathlib.Path], Any], path: pathlib.Path) -> Any:
  """The result of a function for a file or a folder, kept until that changes: an index of it."""
  try:
    status = path.stat()
  except OSError:
    return find(path)  # It says what is wrong.
  return _kept(find, path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _kept(find: Callable[[pathlib.Path], Any], path: pathlib.Path, *version: int) -> Any:
  return find(path)


def natural_key(name: str) -> tuple[list[str | int], str]:
  """Sort key that puts "2.png" before "10.png"; equal numbers are ordered by the name itself."""
  # Splitting on a group alternates text and digits, so two keys always compare like with like.
  parts = re.split(r"(\d+)", name)
  return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def existing_path(path: str | os.PathLike[str], expected: str) -> pathlib.Path:
  """The path, once it is known that something is there.

  Args:
    path: a file or a folder; a leading `~` is expanded.
    expected: the thing that is looked for, such as "a video file or folder".

  Raises:
    UserError: nothing is there, or a folder on the way may not be entered.
  """
  # An empty string would otherwise quietly mean the current folder.
  if not os.fspath(path):
    raise UserError(f"expected {expected}, got an empty path; pass the path of one.")
  found = pathlib.Path(path).expanduser()
  try:
    with permitted(found):
      found.stat()
  except OSError as error:
    refuse_stand_ins(found)
    raise UserError(f"expected {expected}, got nothing at {found}; check the path.") from error
  return found


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
  """The visible entries of a folder in natural order; hidden ones are left out."""
  with permitted(folder):
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
  return sorted(entries, key=lambda entry: natural_key(entry.name))


def with_suffix(entries: list[pathlib.Path], suffixes: tuple[str, ...]) -> list[pathlib.Path]:
  """The entries that are files with one of the suffixes, in either case of letters.

  Raises:
    UserError: such an entry is a dead link.
  """
  fitting = [entry for entry in entries if entry.suffix.lower() in suffixes]
  found = []
  for entry in fitting:
    with permitted(entry):
      if entry.is_file():
        found.append(entry)
      elif is_dead_link(entry):
        refuse_stand_ins(entry)  # Passed over, it would be missing in silence.
  return found


@contextlib.contextmanager
def permitted(path: pathlib.Path) -> Iterator[None]:
  """Turns a PermissionError into a UserError that names the path."""
  try:
    yield
  except PermissionError as error:
    raise UserError(
      f"expected to be allowed to open {path}, got '{error.strerror}'; change its permissions or "
      "use a place that you own."
    ) from error


@contextlib.contextmanager
def decoding(path: pathlib.Path) -> Iterator[None]:
  """Turns the errors of a decoder into one sentence that names the file.

  Raises:
    UserError: the file is empty, may not be read, cannot be decoded, or is a dead link or a Git LFS
      pointer.
  """
  try:
    with permitted(path):
      refuse_stand_ins(path)
      if path.stat().st_size == 0:
        raise UserError(
          f"expected a whole file in {path}, got an empty one (0 bytes); copy or encode it again."
        )
      yield
  except UserError:
    raise
  except _DECODING_ERRORS as error:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    raise damaged(path, reason) from error


def opened(path: pathlib.Path) -> av.container.InputContainer:
  """A video file, open for reading."""
  # By its absolute name: FFmpeg takes "10:20.mp4" for an address with the protocol "10".
  return av.open(os.path.abspath(path))


def damaged(path: pathlib.Path, reason: str) -> UserError:
  """The error for a file whose contents end early or make no sense."""
  for name in (os.path.abspath(path), str(path)):
    reason = reason.replace(name, "the file")
  reason = " ".join(reason.split()).rstrip(".")
  return UserError(
    f"expected a whole file in {path}, got a truncated or corrupt one ({reason}); copy or "
    "encode it again."
  )


@contextlib.contextmanager
def whole_file(path: pathlib.Path, overwrite: bool) -> Iterator[pathlib.Path]:
  """Gives a hidden name to write to, and moves it to `path` when the block ends without error.

  Folders on the way are made. So a reader finds a whole file or none.

  Raises:
    UserError: a file is there and `overwrite` is False, or the place cannot be written.
  """
  partial = path.with_name(f".{path.name}.partial")
  with permitted(path):
    check_free(path, overwrite)
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
      raise UserError(
        f"expected a folder at {path.parent}, got a file in the way; use another name."
      ) from error
    try:
      yield partial
      os.replace(partial, path)
    finally:
      partial.unlink(missing_ok=True)


def check_free(path: pathlib.Path, overwrite: bool) -> None:
  """Raises UserError when something is at the path and may not be replaced."""
  if path.exists() and not overwrite:
    raise UserError(f"expected no file at {path}, got one; pass overwrite=True or another name.")
