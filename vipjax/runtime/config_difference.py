"""Compares two configs."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax

from vipjax.runtime.errors import UserError

# Number of differing keys that an error names.
_DIFFERENCES_SHOWN = 3
_MISSING = object()


def check_same_config(
  workdir: pathlib.Path, stored: dict[str, Any], config: dict[str, Any]
) -> None:
  """Raises UserError, which names the differing keys, if a run's stored config is another one."""
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
    f"expected the config of the run in {workdir}, got another one, which differs in {shown}"
    f"{f' and {more} more' if more > 0 else ''}; start over with --overwrite or give another "
    "--workdir."
  )


def _flatten(config: dict[str, Any]) -> dict[str, Any]:
  """Returns {"a.b": value} for nested dicts; an empty dict is a value."""
  leaves = jax.tree.leaves_with_path(config, lambda node: not (isinstance(node, dict) and node))
  return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
