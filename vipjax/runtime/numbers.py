"""Whole numbers that users give."""

from __future__ import annotations

import re
from typing import Any

from vipjax.runtime.errors import UserError


def require_at_least(name: str, value: Any, least: int) -> None:
  """Raises UserError unless the value is an int of at least `least`; `name` is for the message."""
  if type(value) is not int or value < least:
    raise UserError(f"expected {name} of at least {least}, got {value!r}; change it.")


def whole_numbers(name: str, text: str) -> list[int]:
  """Returns the numbers of a text such as "0,2,5-7" as [0, 2, 5, 6, 7], in their order.

  Args:
    name: the argument's name, for the message.
    text: numbers of at least 0 and ranges of them, separated by commas.

  Raises:
    UserError: a text of another form.
  """
  numbers: list[int] = []
  for part in text.split(","):
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
      raise UserError(f"expected numbers such as 0,2,5-7 for {name}, got {text!r}; correct it.")
    numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
  return numbers
