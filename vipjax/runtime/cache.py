"""The user's private cache folder: compiled programs, downloaded files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator

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


def use_compilation_cache() -> None:
  """Keeps compiled programs in the user's cache, so that a second run starts faster.

  A place that the user has chosen (`JAX_COMPILATION_CACHE_DIR`) stays; without a writable cache
  there is a warning and programs are compiled anew each time. Child processes inherit it.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return
  try:
    folder = cache_folder("xla")
  except UserError as error:
    print(f"warning: compiled programs are not kept. {error}", file=sys.stderr)
    return
  import jax  # Here, so that --help and wrong flags answer at once.

  # Half a second: less is compiled as fast as it is looked up.
  for name, value in (
    ("jax_compilation_cache_dir", str(folder)),
    ("jax_persistent_cache_min_compile_time_secs", 0.5),
  ):
    jax.config.update(name, value)
    os.environ.setdefault(name.upper(), str(value))


def file_sha256(path: pathlib.Path) -> str:
  """Hexadecimal sha256 of a file's content."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
  """Holds a lock file between processes; the system frees it when the process ends, however."""
  with open(path, "a+b") as file:
    if os.name == "nt":
      import msvcrt

      file.seek(0)
      while True:
        try:
          msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # gives up after ten seconds
          break
        except OSError:
          continue
    else:
      import fcntl

      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        print(f"waiting for another process that holds {path}", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file frees the lock
