"""The error that a user can correct."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
  """Bad input. The message is one sentence: "expected ..., got ...; do ...".

  Launchers print it without a traceback and exit with status 1.
  """


def require_among(name: str, value: Any, allowed: Iterable[str]) -> None:
  """Raises UserError unless the value is one of those allowed; `name` is for the message."""
  if value not in allowed:
    raise UserError(
      f"expected {name} among {', '.join(allowed)}, got {value!r}; choose one of these."
    )


def full_disk(error: BaseException) -> UserError | None:
  """Returns the UserError for an error that a full disk caused; None for any other error."""
  cause: BaseException | None = error
  while cause is not None:
    number = cause.errno if isinstance(cause, OSError) else None
    # Orbax reports the errors of its writers as text only.
    if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(cause):
      said = " ".join(str(cause).split())[-160:]
      return UserError(
        f"expected room on the disk, got none ({said}); make room and run the same command, which "
        "continues from the last checkpoint."
      )
    cause = cause.__cause__ or cause.__context__
  return None
