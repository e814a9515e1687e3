"""Runs a finished run again from its folder, and compares the results."""

from __future__ import annotations

import math
import os
import pathlib
import shutil
from typing import Any

import ml_collections

from vipjax.report.page import write_report
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.stages import task
from vipjax.stages.pipeline import Additions, run_stages

# What depends on the machine, names folders, or follows from the config alone.
_NOT_COMPARED = ("seconds", "peak_memory_mb", "command", "notes", "additions")
_VERSION_KEYS = ("packages", "python", "platform", "git_commit", "devices")


def reproduce(
  workdir: str | os.PathLike,
  out: str | os.PathLike,
  declared: ml_collections.ConfigDict,
  additions: Additions,
) -> dict[str, Any]:
  """Runs the config of a finished run again in another folder; goes on where it was stopped.

  Args:
    workdir: the run, with `config.json`, `versions.json` and `results.json`.
    out: a new folder, or that of an earlier call.
    declared: a config that declares every key; keys that the run did not know take its values.
    additions: as `run_stages` takes it.

  Returns:
    {"versions": {name: (then, now)}, "results": {name: (then, now)}}, which hold what differs: both
    are empty where the same machine with the same versions repeats a run.

  Raises:
    UserError: workdir is no finished run, or `out` is the same folder or holds another run.
  """
  workdir, out = (pathlib.Path(path).expanduser().absolute() for path in (workdir, out))
  if workdir == out:
    raise UserError(
      f"expected --out to be another folder than --workdir, got {out} twice; name a new one."
    )
  config = run_folder.run_config(workdir, declared)
  if not (workdir / "results.json").exists():
    raise UserError(
      f"expected a finished run in {workdir}, got one without results.json; finish it with the "
      "command that began it, or with launch.report and its config."
    )
  then = files.read_json(workdir / "results.json")
  out = run_folder.open_run(out, config)
  if (workdir / task.FILE).exists() and not (out / task.FILE).exists():
    shutil.copy(workdir / task.FILE, out)  # chosen once, as in the run
  policy = run_folder.stage_done(workdir, "policy")  # Not every run of an ablation has one.
  now = files.jsonable(run_stages(config, out, additions, policy))
  write_report(out)
  before, after = (files.read_json(folder / "versions.json") for folder in (workdir, out))
  versions = [
    files.flatten({key: each.get(key) for key in _VERSION_KEYS}) for each in (before, after)
  ]
  return {"versions": _differing(*versions), "results": _differing(_results(then), _results(now))}


def _results(results: dict[str, Any]) -> dict[str, Any]:
  kept = {
    name: value
    for name, value in results.items()
    if name not in _NOT_COMPARED and not name.endswith("_per_second")
  }
  return files.flatten(kept)


def _differing(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
  pairs = {name: (then.get(name), now.get(name)) for name in {**then, **now}}
  return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def _same(a: Any, b: Any) -> bool:
  numbers = all(isinstance(value, float) for value in (a, b))
  return a == b or (numbers and math.isnan(a) and math.isnan(b))
