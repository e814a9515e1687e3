"""What lies where a file should be and is not the file: dead links and Git LFS pointers."""

from __future__ import annotations

import os
import pathlib

from vipjax.runtime.errors import UserError

_POINTER = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024  # bytes, by its specification


def is_dead_link(path: pathlib.Path) -> bool:
  """Whether the path is a link to nothing."""
  return path.is_symlink() and not path.exists()


def refuse_stand_ins(path: pathlib.Path) -> None:
  """Says what is wrong with a path that is there in name only; does nothing otherwise.

  Raises:
    UserError: the path, or a folder on its way, is a link to nothing, or the file is a pointer that
      Git LFS has left in the place of one.
  """
  if not path.exists():
    for each in (path, *path.parents):
      if is_dead_link(each):
        link = "it" if each == path else each
        raise UserError(
          f"expected something at {path}, but {link} is a dead link: restore "
          f"{os.readlink(each)}, to which it points, or copy it again with its links followed."
        )
  elif path.is_file() and path.stat().st_size < _LARGEST_POINTER:
    with path.open("rb") as file:
      if file.read(len(_POINTER)) == _POINTER:
        raise UserError(
          f"expected contents in {path}, but it is a Git LFS pointer: run git lfs pull where it "
          "was cloned."
        )
