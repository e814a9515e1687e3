"""What two configs differ in."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from vipjax.runtime.errors import UserError

# How many differing keys of a config an error names.
_DIFFERENCES_SHOWN = 3
_MISSING = object()


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
  """Nested dicts to {"a.b": value}; an empty dict is a value."""
  if not isinstance(config, dict) or not config:
    return {prefix: config}
  flat = {}
  for key, value in config.items():
    flat |= _flatten(value, f"{prefix}.{key}" if prefix else key)
  return flat


def check_same_config(
  workdir: pathlib.Path, stored: dict[str, Any], config: dict[str, Any]
) -> None:
  """Raises UserError, naming what differs, when a run was made with another config than this."""
  then, now = _flatten(stored), _flatten(config)
  differing = [key for key in {**then, **now} if then.get(key, _MISSING) != now.get(key, _MISSING)]
  if not differing:
    return

  def show(flat, key):
    return json.dumps(flat[key]) if key in flat else "absent"

  shown = ", ".join(
    f"{key} (there {show(then, key)}, now {show(now, key)})"
    for key in differing[:_DIFFERENCES_SHOWN]
  )
  more = len(differing) - _DIFFERENCES_SHOWN
  raise UserError(
    f"The run in {workdir} was made with another config, which differs in {shown}"
    f"{f' and {more} more' if more > 0 else ''}: "
    "start over with --overwrite or give another --workdir."
  )
