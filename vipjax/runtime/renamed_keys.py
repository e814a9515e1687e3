"""Config keys with another name than in earlier versions.

A run with an old name continues under the new one. A config or a command line with an old name
raises an error that gives the new one.
"""

from __future__ import annotations

import copy
from typing import Any

from vipjax.runtime.errors import UserError

# Old name -> new name, sections included.
RENAMED = {"reward.goals": "reward.goal_reduction", "reward.normalise": "reward.normalize"}


def check_key(key: str) -> None:
  """Raises UserError if the key, such as "finetune.steps", is an old name."""
  if key in RENAMED:
    raise UserError(
      f"expected a key of this version's configs, got {key}; use its new name {RENAMED[key]}."
    )


def check_config(config: dict[str, Any]) -> None:
  """Raises UserError if the config, as nested dicts, has a key under an old name."""
  for key in RENAMED:
    *sections, last = key.split(".")
    if last in _section(config, sections):
      check_key(key)


def with_new_names(stored: dict[str, Any]) -> dict[str, Any]:
  """Returns a copy of a run's config with new names in place of old ones."""
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
  """Returns the section of these names; an empty one if it is missing."""
  for name in names:
    config = config.get(name, {})
    if not isinstance(config, dict):
      return {}
  return config
