"""What a config leaves open (None) is chosen for its task, once in a run."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from vipjax.envs import Stream, episode_seed
from vipjax.envs.viewpoints import Seen, choose_views
from vipjax.runtime import files
from vipjax.stages.filming import open_env, unseen_seeds

FILE = "task.json"
# Episodes that may be needed until the expert succeeds, and placements that views should hold.
_TRIES, _PLACEMENTS = 5, 3
# Control steps; Meta-World's own time limit.
_LONGEST = 500
# The section's key for every task that it does not name.
_ANY = "any"


def fit_to_task(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> ml_collections.ConfigDict:
  """Returns the config with a value for each key that fits the task and is None.

  It is that of config.for_task, or else chosen: viewpoints from what the expert moves
  (`choose_views`). What was chosen is printed, written to `task.json`, and taken from there when
  the run goes on. A config that leaves nothing open is returned as it is.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.

  Raises:
    UserError: no such task, or no GL library to draw with.
  """
  if not _open(config):
    return config
  config = config.copy_and_resolve_references()
  table = config.for_task
  _fill(config, table.get(config.env.task, table[_ANY]))
  if not _open(config):
    return config
  path = workdir / FILE
  if not path.exists():
    with open_env(config, horizon=_LONGEST, render_mode=None) as env:
      recorded = [episode_seed(Stream.RECORDED, config.seed, number) for number in range(_TRIES)]
      seen, _ = choose_views(env, config.views, recorded, unseen_seeds(_PLACEMENTS))
    workdir.mkdir(parents=True, exist_ok=True)
    files.write_json(
      path, {"views": {name: dataclasses.asdict(each) for name, each in seen.items()}}
    )
    print("\n".join(_line(name, each) for name, each in seen.items()), flush=True)
  chosen = files.read_json(path)
  views = {name: each["view"] for name, each in chosen["views"].items()}
  _fill(config, {"views": views})
  return config


def _open(config: ml_collections.ConfigDict) -> bool:
  """Whether a number of a free camera is left to be chosen."""
  return any(
    value is None for view in config.views.values() if not view.camera for value in view.values()
  )


def _fill(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
  """Sets the keys of a config that are None, section by section."""
  for key, value in values.items():
    if isinstance(value, Mapping | ml_collections.ConfigDict):
      if key in config:
        _fill(config[key], value)
    elif config[key] is None:
      config[key] = tuple(value) if isinstance(value, list) else value


def _line(name: str, seen: Seen) -> str:
  view = seen.view
  if view.camera:
    return f"view {name}: the scene's camera {view.camera}"
  at = ", ".join(f"{x:g}" for x in view.lookat)
  return (
    f"view {name}: looks at ({at}) from {view.distance:g} m, azimuth {view.azimuth:g}, elevation "
    f"{view.elevation:g}; object and target span {seen.side:.0%} of the picture's side, the object "
    f"takes {seen.object[0]:.1%} of the picture at the start and {seen.object[1]:.1%} at the end"
  )
