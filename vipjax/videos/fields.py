"""Metadata that other people's tools wrote: each value is checked when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError


class Kind(NamedTuple):
  """What a value has to be.

  Attributes:
    words: for messages.
    holds: whether a value is so.
  """

  words: str
  holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
  # bool is an int to Python, but `"fps": true` is a mistake.
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return is_number and math.isfinite(value)


TEXT = Kind("a text", lambda value: isinstance(value, str) and bool(value))
TEXTS = Kind(
  "a list of texts",
  lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)
OBJECT = Kind("an object of names and values", lambda value: isinstance(value, Mapping))
# pandas makes 3.0 of the 3 in a column where another value is missing.
INDEX = Kind(
  "a whole number of at least 0",
  lambda value: _is_number(value) and value >= 0 and value == int(value),
)
LENGTH = Kind("a whole number of at least 1", lambda value: INDEX.holds(value) and value >= 1)
TIME = Kind("a number of at least 0", lambda value: _is_number(value) and value >= 0)
RATE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)


class Fields:
  """Named values out of one place.

  Attributes:
    place: what to call it in messages.
  """

  def __init__(self, values: Any, place: str):
    """Raises UserError unless the values have names."""
    if not OBJECT.holds(values):
      raise UserError(
        f"expected {place} to be {OBJECT.words}, but it is {_brief(values)}: mend it, or copy the "
        "data set again."
      )
    self._values, self.place = values, place

  def __iter__(self) -> Iterator[str]:
    return iter(self._values)

  def value(self, name: str, kind: Kind) -> Any:
    """The value of a name, an int where a whole number is meant.

    Raises:
      UserError: it is missing, null or of another kind.
    """
    value = self._values.get(name)
    if not kind.holds(value):
      came = _brief(value) if name in self._values else "missing"
      raise UserError(
        f"expected {name!r} of {self.place} to be {kind.words}, but it is {came}: mend it, or copy "
        "the data set again."
      )
    return int(value) if kind in (INDEX, LENGTH) else value

  def optional(self, name: str, kind: Kind) -> Any:
    """As `value`, but None where it is missing or null."""
    return None if self._values.get(name) is None else self.value(name, kind)


def _brief(value: Any) -> str:
  return "null" if value is None else " ".join(repr(value).split())[:60]
