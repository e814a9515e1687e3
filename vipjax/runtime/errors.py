"""The error that a user can mend."""

from __future__ import annotations

import errno
import os


class UserError(ValueError):
  """Bad input. The message is one sentence: what was expected, what came, what to do.

  Launchers print it without a traceback and exit with status 1.
  """


def full_disk(error: BaseException) -> UserError | None:
  """The sentence for an error that came of a full disk, whoever wrote; None for other errors."""
  cause: BaseException | None = error
  while cause is not None:
    number = cause.errno if isinstance(cause, OSError) else None
    # Orbax passes on what its own writers say, as text.
    if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(cause):
      said = " ".join(str(cause).split())[-160:]
      return UserError(
        f"expected room on the disk, but it is full ({said}); the last checkpoint is whole: make "
        "room, and the same command goes on from it."
      )
    cause = cause.__cause__ or cause.__context__
  return None
