"""The user's private cache folder: compiled programs, downloaded files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import platformdirs

from vipjax.runtime.errors import UserError
from vipjax.runtime.places import try_lock

_ADVICE = "set the environment variable VIPJAX_CACHE to a folder that you may write to."


def cache_folder(name: str) -> pathlib.Path:
  """Returns the folder `name` in the user's cache, made if missing, readable by the user alone.

  The cache is `$VIPJAX_CACHE` if set, else the platform's own place for caches (`~/.cache/vipjax`
  on Linux). It is private because programs run its content.

  Args:
    name: name of the content, such as "xla" or "robots"; a single path component.

  Raises:
    UserError: there is no home folder, or the folder cannot be made.
  """
  try:
    root = os.environ.get("VIPJAX_CACHE") or platformdirs.user_cache_dir("vipjax")
    folder = pathlib.Path(root).expanduser() / name
  except RuntimeError as error:
    raise UserError(f"expected a home folder for a cache, got none; {_ADVICE}") from error
  try:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
  except OSError as error:
    raise _unwritable(folder, error) from error
  return folder


def use_compilation_cache() -> None:
  """Keeps compiled programs in the user's cache, so that a second run starts faster.

  The user's own `JAX_COMPILATION_CACHE_DIR` stays. Without a writable cache a warning appears, and
  each run compiles its programs again. Child processes inherit the cache.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return
  try:
    folder = cache_folder("xla")
  except UserError as error:
    print(f"warning: compiled programs are not kept: {error}", file=sys.stderr)
    return
  import jax  # here, so that --help and wrong flags answer at once

  # Half a second: shorter compilations take no longer than looking them up.
  for name, value in (
    ("jax_compilation_cache_dir", str(folder)),
    ("jax_persistent_cache_min_compile_time_secs", 0.5),
  ):
    jax.config.update(name, value)
    os.environ.setdefault(name.upper(), str(value))


def file_sha256(path: pathlib.Path) -> str:
  """Returns the hexadecimal sha256 of a file's content."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _unwritable(folder: pathlib.Path, error: OSError) -> UserError:
  return UserError(
    f"expected to write into the cache folder {folder}, got '{error.strerror}'; {_ADVICE}"
  )


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
  """Holds a lock file between processes; the system frees it whenever the process ends.

  A cache that this process cannot write needs no lock, because nothing in it changes.

  Raises:
    UserError: the block tried to write into such a cache.
  """
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):
      file = stack.enter_context(open(path, "a+b")).fileno()
      if not try_lock(file, path):
        print(f"waiting for another process that holds {path}", file=sys.stderr, flush=True)
        while not try_lock(file, path):
          time.sleep(0.1)
    try:
      yield  # closing the file frees the lock
    except OSError as error:
      if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise _unwritable(path.parent, error) from error
      raise
