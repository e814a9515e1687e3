"""What a config leaves open (None) is chosen for its task, once in a run."""

from __future__ import annotations

import copy
import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any, TypeVar

import ml_collections

from vipjax.envs import Stream, episode_seed
from vipjax.envs.expert import steps_to_success
from vipjax.envs.viewpoints import Seen, choose_views
from vipjax.runtime import files
from vipjax.stages.filming import open_env, unseen_seeds

FILE = "task.json"
# Control steps; Meta-World's own time limit.
LONGEST = 500
# Placements elsewhere that views should hold.
_PLACEMENTS = 3
# An agent gets the published 200 control steps, or more where the expert leaves it less than half
# as many again as it needs itself.
_USUAL_HORIZON, _MARGIN = 200, 1.5
# The key of config.for_task for all tasks.
_ANY = "any"

Config = TypeVar("Config", ml_collections.ConfigDict, dict[str, Any])


def fit_to_task(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> ml_collections.ConfigDict:
  """Returns a copy of the config with a value for each key that fits the task and is None.

  The value is that of config.for_task, for the task, else for the control, else for any, or it is
  chosen: viewpoints that show the expert's motion (`choose_views`); a horizon of 200 control steps,
  or of 1.5 times the expert's steps (a multiple of 10) where that is more. The choice is printed
  and kept in `task.json` for when the run goes on.

  Args:
    config: keys as declared in configs/paper.py.
    workdir: the run folder.

  Raises:
    UserError: no such task, or no GL library to draw with.
  """
  path = workdir / FILE
  known = files.read_json(path, {})
  fitted = filled(config, known)
  if not _open_views(fitted) and fitted.env.horizon is not None:
    return fitted
  chosen = _choose(fitted)
  workdir.mkdir(parents=True, exist_ok=True)
  files.write_json(path, {**known, **chosen})
  return filled(fitted, chosen)


def filled(config: Config, chosen: Mapping[str, Any] | None = None) -> Config:
  """Returns a copy of the config with the values that are known already for keys that are None.

  Args:
    config: a config, or the dict of a `config.json`; any part of it may be missing.
    chosen: the contents of a `task.json`; they count where config.for_task has no value.
  """
  if isinstance(config, ml_collections.ConfigDict):
    config = config.copy_and_resolve_references()
  else:
    config = copy.deepcopy(config)
  table = config.get("for_task") or {}
  env = config.get("env") or {}
  for name in (env.get("task"), env.get("control"), _ANY):
    _fill(config, table.get(name) or {})
  chosen = dict(chosen or {})
  views = {name: each["view"] for name, each in chosen.pop("views", {}).items()}
  _fill(config, {"views": views, **chosen})
  return config


def candidate_seeds(config: ml_collections.ConfigDict) -> list[int]:
  """Seeds of the episodes to record, with four more: the first ones count in which experts succeed.

  A seed places the object, unless config.env.placement does, and the arm.
  """
  count = config.record.episodes + 4
  return [episode_seed(Stream.RECORDED, config.seed, number) for number in range(count)]


def _choose(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a config still leaves open, chosen in the simulator and printed, as for `task.json`."""
  chosen, lines, seeds = {}, [], candidate_seeds(config)
  with open_env(config, horizon=LONGEST, render_mode=None) as env:
    if _open_views(config):
      seen, motion = choose_views(env, config.views, seeds, unseen_seeds(_PLACEMENTS))
      chosen["views"] = {name: dataclasses.asdict(each) for name, each in seen.items()}
      lines += [_line(name, each) for name, each in seen.items()]
      steps = motion.steps
    else:
      steps = next(filter(None, (steps_to_success(env, seed) for seed in seeds)), None)
  if config.env.horizon is None:
    wanted = math.ceil(_MARGIN * (steps or 0) / 10) * 10
    chosen["env"] = {"horizon": max(_USUAL_HORIZON, wanted)}
    chosen["expert_steps"] = steps
    needs = f"takes {steps} steps" if steps else f"fails within {LONGEST} steps"
    lines.append(f"horizon {chosen['env']['horizon']} control steps; the scripted expert {needs}")
  print("\n".join(lines), flush=True)
  return chosen


def _open_views(config: ml_collections.ConfigDict) -> bool:
  """Whether a number of a free camera is left to be chosen."""
  return any(
    value is None for view in config.views.values() if not view.camera for value in view.values()
  )


def _fill(config: Any, values: Mapping[str, Any]) -> None:
  """Sets the keys of a config that are there and None, section by section."""
  for key, value in values.items():
    if key not in config:
      continue
    if isinstance(value, Mapping | ml_collections.ConfigDict):
      _fill(config[key], value)
    elif config[key] is None:
      # A config has tuples where JSON has lists.
      as_tuple = isinstance(value, list) and isinstance(config, ml_collections.ConfigDict)
      config[key] = tuple(value) if as_tuple else value


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
