"""A section of a config becomes the settings that a part of the library takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def from_section(kind: type[T], section: Mapping[str, Any], **given: Any) -> T:
  """Makes a dataclass of the keys that a section declares under the names of its fields.

  Args:
    kind: the dataclass; a field that has no key in the section has to be given.
    section: of a config; keys that are no field are for others. Lists, which is what JSON makes of
      tuples, become tuples.
    **given: fields whose values are not the section's as they are.
  """
  names = (field.name for field in dataclasses.fields(kind) if field.name not in given)
  values = {name: section[name] for name in names}
  return kind(**given, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
