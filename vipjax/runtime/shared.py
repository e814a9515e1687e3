"""Shared memory, asked for so that too little of it is a sentence and no death of the process."""

from __future__ import annotations

import os
import pathlib
from multiprocessing import shared_memory

from vipjax.runtime.errors import UserError

# Linux hands out what lies there on its first use, and ends whoever touches more than there is.
_FOLDER = pathlib.Path("/dev/shm")


def make_block(size: int) -> shared_memory.SharedMemory:
  """A new block of so many bytes, all of them there; whoever makes it closes and unlinks it.

  Raises:
    UserError: the system has no shared memory, or not so much.
  """
  block = None
  try:
    block = shared_memory.SharedMemory(create=True, size=size)
    if (_FOLDER / block.name).exists():
      with open(_FOLDER / block.name, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return block
  except OSError as error:
    if block is not None:
      block.close()
      block.unlink()
    raise UserError(
      f"Expected {size:,} bytes of shared memory, but got '{error.strerror}': enlarge "
      f"{_FOLDER} (docker run --shm-size=1g, or mount -o remount,size=1g {_FOLDER}), or use fewer "
      "environments or smaller frames."
    ) from error


def require(size: int) -> None:
  """Raises UserError where `make_block` would; before work that ends in needing it."""
  block = make_block(size)
  block.close()
  block.unlink()
