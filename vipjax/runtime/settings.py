"""Converts a section of a config to the settings of a part of the library."""

from __future__ import annotations

import dataclasses
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from vipjax.runtime.errors import UserError

T = TypeVar("T")

# The words for each type; a bool is not a number here.
_WORDS = {
  bool: "True or False", int: "a whole number", float: "a number", str: "a text", tuple: "a tuple",
  types.NoneType: "None",
}  # fmt: skip


def from_section(kind: type[T], section: Mapping[str, Any], name: str, **given: Any) -> T:
  """Makes a dataclass from the section's keys of the same names as its fields.

  Args:
    kind: the dataclass.
    section: a section of a config; keys that are not fields are ignored. Lists, to which JSON
      converts tuples, become tuples.
    name: the section's name in the config, such as "finetune.tcc".
    **given: values of fields that do not come from the section.

  Raises:
    UserError: the section lacks a field that is not given, or has another type for it.
  """
  keys = [field.name for field in dataclasses.fields(kind) if field.name not in given]
  return kind(**given, **check_section(kind, section, name, keys))


def check_section(
  kind: type, section: Mapping[str, Any], name: str, keys: Iterable[str]
) -> dict[str, Any]:
  """Returns the section's values of these fields of a dataclass; raises as `from_section`."""
  hints, values = typing.get_type_hints(kind), {}
  for key in keys:
    if key not in section:
      raise UserError(
        f"expected config.{name}.{key}, got a section without it; add it, as configs/paper.py "
        "declares it."
      )
    value = section[key]
    values[key] = tuple(value) if isinstance(value, list) else value
    wanted = _types(hints[key])
    if not any(_is(values[key], each) for each in wanted):
      words = " or ".join(_WORDS.get(each, each.__name__) for each in wanted)
      raise UserError(f"expected {words} for config.{name}.{key}, got {value!r}; change it.")
  return values


def _types(hint: Any) -> list[type]:
  """Returns the types that an annotation allows: all types of a union, tuple of tuple[int, ...]."""
  if isinstance(hint, types.UnionType):
    return [each for part in typing.get_args(hint) for each in _types(part)]
  return [typing.get_origin(hint) or hint]


def _is(value: Any, kind: type) -> bool:
  if kind in (int, float):
    number = numbers.Integral if kind is int else numbers.Real
    return isinstance(value, number) and not isinstance(value, bool)
  return isinstance(value, kind)
