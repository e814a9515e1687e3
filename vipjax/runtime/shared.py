"""Shared memory, reserved at once, so that a lack of it raises an error and kills no process."""

from __future__ import annotations

import os
import pathlib
from multiprocessing import shared_memory

from vipjax.runtime.errors import UserError

# Linux allocates its pages on first use and kills a process that touches more than exist.
_FOLDER = pathlib.Path("/dev/shm")


def make_block(size: int) -> shared_memory.SharedMemory:
  """Returns a new block of `size` allocated bytes; the caller closes and unlinks it.

  Raises:
    UserError: the system has too little shared memory, or none.
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
      f"expected {size:,} bytes of shared memory, got '{error.strerror}'; enlarge "
      f"{_FOLDER} (docker run --shm-size=1g, or mount -o remount,size=1g {_FOLDER}), or use fewer "
      "environments or smaller frames."
    ) from error


def require(size: int) -> None:
  """Raises UserError if `make_block` would, before work that will need the block."""
  block = make_block(size)
  block.close()
  block.unlink()
