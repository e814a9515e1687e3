"""Metadata that other people's tools wrote: each value is checked when it is asked for."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError
from vipjax.videos.access import decoding, existing_path


class Kind(NamedTuple):
  """A kind of value.

  Attributes:
    words: its name in messages.
    holds: whether a value is of this kind.
  """

  words: str
  holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
  # bool is an int to Python, but `"fps": true` is a mistake.
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return is_number and math.isfinite(value)


STRING = Kind("a text", lambda value: isinstance(value, str))
TEXT = Kind("a text that is not empty", lambda value: STRING.holds(value) and bool(value))
TEXTS = Kind(
  "a list of texts",
  lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)
OBJECT = Kind("an object of names and values", lambda value: isinstance(value, Mapping))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
# pandas makes 3.0 of the 3 in a column where another value is missing.
WHOLE = Kind("a whole number", lambda value: _is_number(value) and value == int(value))
INDEX = Kind("a whole number of at least 0", lambda value: WHOLE.holds(value) and value >= 0)
LENGTH = Kind("a whole number of at least 1", lambda value: WHOLE.holds(value) and value >= 1)
TIME = Kind("a number of at least 0", lambda value: _is_number(value) and value >= 0)
RATE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)


class Fields:
  """Named values out of one place.

  Attributes:
    place: its name in messages.
  """

  def __init__(self, values: Any, place: str):
    """Raises UserError unless the values have names."""
    if not OBJECT.holds(values):
      raise UserError(
        f"expected {place} to be {OBJECT.words}, got {_brief(values)}; mend it, or copy the data "
        "set again."
      )
    self._values, self.place = values, place

  def __iter__(self) -> Iterator[str]:
    return iter(self._values)

  def value(self, name: str, kind: Kind) -> Any:
    """The value of a name, an int where the kind is a whole number.

    Raises:
      UserError: it is missing, null or of another kind.
    """
    value = self._values.get(name)
    if not kind.holds(value):
      came = _brief(value) if name in self._values else "none"
      raise UserError(
        f"expected {name!r} of {self.place} to be {kind.words}, got {came}; mend it, or copy the "
        "data set again."
      )
    return int(value) if kind in (WHOLE, INDEX, LENGTH) else value

  def optional(self, name: str, kind: Kind) -> Any:
    """As `value`, but None where it is missing or null."""
    return None if self._values.get(name) is None else self.value(name, kind)


def _brief(value: Any) -> str:
  return "null" if value is None else " ".join(repr(value).split())[:60]


def read_json(path: pathlib.Path, expected: str) -> Any:
  """The contents of a JSON file; `expected` is its name in the message where it is missing."""
  with decoding(existing_path(path, expected)):
    return json.loads(path.read_text(encoding="utf-8"))


def read_json_lines(path: pathlib.Path, expected: str) -> list[Any]:
  """The contents of each line of a JSON lines file, as `read_json`."""
  with decoding(existing_path(path, expected)):
    # Not `splitlines`: JSON may hold other signs that Unicode ends a line with.
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]
