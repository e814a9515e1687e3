"""Lists of whole numbers, as people write them."""

from __future__ import annotations

import re

from vipjax.runtime.errors import UserError


def whole_numbers(name: str, text: str) -> list[int]:
  """The numbers of "0,2,5-7" as [0, 2, 5, 6, 7], in their order.

  Args:
    name: of what they are, for the message.
    text: numbers of at least 0 and ranges of them, with commas between them.

  Raises:
    UserError: anything else.
  """
  numbers: list[int] = []
  for part in text.split(","):
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
      raise UserError(f"expected numbers such as 0,2,5-7 for {name}, got {text!r}; correct it.")
    numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
  return numbers
