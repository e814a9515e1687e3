"""Config keys that have another name than in earlier versions.

A run begun under the old name goes on under the new one; a config or a command line that gives the
old name is refused with the new one.
"""

from __future__ import annotations

import copy
from typing import Any

from vipjax.runtime.errors import UserError

# Old name -> new name, sections included.
RENAMED = {
  "reward.goals": "reward.goal_reduction",
  "reward.normalise": "reward.normalize",
}


def check_key(key: str) -> None:
  """Raises UserError if the key, such as "finetune.steps", is an old name."""
  if key in RENAMED:
    raise UserError(
      f"Expected a key of today's configs, but {key} came: it is called {RENAMED[key]} now."
    )


def check_config(config: dict[str, Any]) -> None:
  """Raises UserError if the config, as nested dicts, has a key under an old name."""
  for key in RENAMED:
    *sections, last = key.split(".")
    if last in _section(config, sections):
      check_key(key)


def with_new_names(stored: dict[str, Any]) -> dict[str, Any]:
  """A copy of a run's config in which keys under old names have their new ones."""
  config = copy.deepcopy(stored)
  for old, new in RENAMED.items():
    *sections, last = old.split(".")
    section = _section(config, sections)
    if last in section:
      value = section.pop(last)
      *sections, last = new.split(".")
      target = config
      for name in sections:
        target = target.setdefault(name, {})
      target[last] = value
  return config


def _section(config: dict[str, Any], names: list[str]) -> dict[str, Any]:
  """The section of these names; an empty one where there is none."""
  for name in names:
    config = config.get(name, {})
    if not isinstance(config, dict):
      return {}
  return config
