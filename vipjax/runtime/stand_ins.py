"""Recognises dead links and Git LFS pointers, which stand in place of files."""

from __future__ import annotations

import os
import pathlib

from vipjax.runtime.errors import UserError

_POINTER = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024  # bytes, by its specification


def is_dead_link(path: pathlib.Path) -> bool:
  """Returns whether the path is a link to a missing target."""
  return path.is_symlink() and not path.exists()


def refuse_stand_ins(path: pathlib.Path) -> None:
  """Checks that a path leads to a real file or folder; accepts a missing path.

  Raises:
    UserError: the path or one of its parents is a link to a missing target, or the file is a
      pointer of Git LFS.
  """
  if not path.exists():
    for each in (path, *path.parents):
      if is_dead_link(each):
        raise UserError(
          f"expected something at {path}, got the dead link {each}; restore its target "
          f"{os.readlink(each)}, or copy the files again with links followed."
        )
  elif path.is_file() and path.stat().st_size < _LARGEST_POINTER:
    with path.open("rb") as file:
      if file.read(len(_POINTER)) == _POINTER:
        raise UserError(
          f"expected contents in {path}, got a Git LFS pointer; run git lfs pull in the clone."
        )
