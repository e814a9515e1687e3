"""Makes folders, tests writing into them before any work, and locks them for one run at a time."""

from __future__ import annotations

import errno
import os
import pathlib
import platform
import sys
import tempfile
import time

from vipjax.runtime.errors import UserError

LOCK = ".lock"

# A killed process may take so long to end.
_PATIENCE_SECONDS = 2.0

# Descriptors that stay open while this process lives: the system frees a lock when its process
# ends, so that no lock stays behind.
_held: dict[pathlib.Path, int] = {}


def make_page_folder(page: pathlib.Path, overwrite: bool) -> None:
  """Makes the folder of a page, as `make_folder`.

  Raises:
    UserError: the page is there and `overwrite` is False, or as `make_folder`.
  """
  if page.exists() and not overwrite:
    raise UserError(f"expected no page at {page}, got one; pass --overwrite or another --out.")
  make_folder(page.parent)


def make_folder(folder: pathlib.Path) -> None:
  """Makes a folder and its parents, and tests that this process can write there.

  Raises:
    UserError: a file is in the way, or this process cannot write there.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except (FileExistsError, NotADirectoryError) as error:
    raise UserError(
      f"expected a folder at {folder}, got a file in the way; give another folder."
    ) from error
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # `errors.full_disk` reports it
      raise
    raise UserError(
      f"expected to write into the folder {folder}, got '{error.strerror}'; give one that you may "
      "write to."
    ) from error


def hold(workdir: pathlib.Path) -> None:
  """Keeps other processes from writing into a run folder until this process ends.

  Raises:
    UserError: another process writes there, or this one cannot write there.
  """
  make_folder(workdir)
  path = workdir.resolve() / LOCK
  # Another folder of this name may have replaced the one that this process holds.
  if path in _held and path.exists() and os.path.samestat(path.stat(), os.fstat(_held[path])):
    return
  file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
  deadline = time.monotonic() + _PATIENCE_SECONDS
  while not (free := try_lock(file, path)) and time.monotonic() < deadline:
    time.sleep(0.1)
  if not free:
    holder = os.read(file, 200).decode("utf-8", "replace").strip() or "another process"
    os.close(file)
    raise UserError(
      f"expected a run folder that no other run uses, got {workdir}, which {holder} uses; wait for "
      "it, stop it, or give another --workdir."
    )
  os.truncate(file, 0)
  os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())
  _held[path] = file


def try_lock(file: int, path: pathlib.Path) -> bool:
  """Locks an open file, given by its descriptor, until that is closed.

  Returns:
    False if another process has the lock. On a file system without locks it warns and returns True.
  """
  if os.name == "nt":
    import msvcrt

    os.lseek(file, 0, os.SEEK_SET)
    try:
      msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except PermissionError:
      return False
    return True
  import fcntl

  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:  # some network file systems
    print(
      f"warning: {path} cannot be locked ({error.strerror}): make sure that no other process "
      "writes there.",
      file=sys.stderr,
    )
  return True
