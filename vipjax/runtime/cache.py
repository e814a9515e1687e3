"""The user's private cache folder: compiled programs, downloaded files."""

from __future__ import annotations

import os
import pathlib

import platformdirs

from vipjax.runtime.errors import UserError


def cache_folder(name: str) -> pathlib.Path:
  """Returns the folder `name` in the user's cache, made if missing, readable by the user alone.

  The cache is `$VIPJAX_CACHE` where that is set, else the platform's own place for caches
  (`~/.cache/vipjax` on Linux). It is private because what lies in it is executed.

  Args:
    name: what is kept there, such as "xla" or "robots"; a single path component.

  Raises:
    UserError: the folder cannot be made.
  """
  root = os.environ.get("VIPJAX_CACHE") or platformdirs.user_cache_dir("vipjax")
  folder = pathlib.Path(root).expanduser() / name
  try:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
  except OSError as error:
    raise UserError(
      f"Expected to make the cache folder {folder}, but got '{error.strerror}': set the "
      "environment variable VIPJAX_CACHE to a folder that you may write to."
    ) from error
  return folder
