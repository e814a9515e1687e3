"""Run folders: one folder holds all inputs and results of one run.

config.json     the resolved config; a run resumes only with the same one
versions.json   packages, Python, platform, git commit, devices, date
stages/         one JSON file per finished stage: its result and its seconds
.lock           held by the process that writes here, see `places`
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shutil
from typing import Any

import ml_collections

from vipjax.runtime import files, hosts, places
from vipjax.runtime.errors import UserError
from vipjax.runtime.renamed_keys import check_config, with_new_names
from vipjax.runtime.versions import current_versions

_CONFIG = "config.json"
_VERSIONS = "versions.json"
_STAGES = "stages"
# Number of differing keys that an error names.
_DIFFERENCES_SHOWN = 3
_MISSING = object()


def open_run(
  workdir: str | os.PathLike, config: ml_collections.ConfigDict | dict, overwrite: bool = False
) -> pathlib.Path:
  """Opens a run folder: makes a new one, or resumes an existing one.

  It resumes a folder whose `config.json` equals `config`; its `versions.json` stays and notes
  environments that differ from the first one under "resumed". Keys that an earlier version did not
  have get their present values. Where `config` has None (no choice), the run's own value is set in
  `config`, so that a run goes on after its default became None. Of several processes the first one
  does this; the others wait for it and check that they have the same config. Until this process
  ends, no other run can open the folder.

  Args:
    workdir: the run folder.
    config: the config, with all overrides applied; the function may replace None values.
    overwrite: True to delete an existing run and start over. Only a folder with a `versions.json`,
      which an earlier call made, is deleted.

  Returns:
    The folder as an absolute path.

  Raises:
    UserError: the folder holds a run of another config or other files, the config has a key under
      an old name, another process has opened the folder, or this process cannot write there.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  check_config(files.jsonable(config))
  if hosts.is_first():
    _open(workdir, config, overwrite)
  hosts.wait_for_all(f"the run folder {workdir.name}")
  if not hosts.is_first():
    hosts.require_shared(workdir / _CONFIG)
    stored = stored_config(workdir)
    _take_unchosen(config, stored)
    _check_same(workdir, stored, files.jsonable(config))
  return workdir


def _open(workdir: pathlib.Path, config: ml_collections.ConfigDict | dict, overwrite: bool) -> None:
  if workdir.exists() and not workdir.is_dir():
    raise UserError(f"expected a folder for the run, got the file {workdir}; give another one.")
  places.make_folder(workdir)
  # Other folders, such as an encoder artefact, hold a config.json too; only a run has versions.
  # They are written first: a run that was killed before its config was written begins anew.
  is_run = (workdir / _VERSIONS).is_file()
  if not is_run and any(not _unfinished(each) for each in workdir.iterdir()):
    raise UserError(
      f"expected a new folder or one of an earlier run, got {workdir} with other files and no "
      f"{_VERSIONS}; give another --workdir."
    )
  places.hold(workdir)
  if is_run and overwrite:
    _delete(workdir)
  elif is_run and (workdir / _CONFIG).is_file():
    stored = stored_config(workdir)
    _take_unchosen(config, stored)
    completed = _completed(stored, files.jsonable(config))
    _check_same(workdir, completed, files.jsonable(config))
    if completed != files.read_json(workdir / _CONFIG):
      files.write_json(workdir / _CONFIG, completed)
    _note_resume(workdir)
    return
  files.write_json(workdir / _VERSIONS, current_versions())
  files.write_json(workdir / _CONFIG, config)


def run_config(
  workdir: str | os.PathLike, declared: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
  """Returns the config of the run in a folder.

  Args:
    workdir: the run folder.
    declared: a config that declares every key and gives the values of keys that the run lacks.

  Raises:
    UserError: the folder holds no run.
  """
  workdir = pathlib.Path(workdir).expanduser()
  if not ((workdir / _CONFIG).is_file() and (workdir / _VERSIONS).is_file()):
    raise UserError(
      f"expected a run folder with {_CONFIG} and {_VERSIONS} at {workdir}, got none; give --config "
      "to begin a run, or the --workdir of one."
    )
  return ml_collections.ConfigDict(_completed(stored_config(workdir), files.jsonable(declared)))


def stored_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """Returns the `config.json` of a run folder, with renamed keys under their new names.

  Raises:
    UserError: the file is missing or damaged.
  """
  return with_new_names(files.read_json(pathlib.Path(workdir) / _CONFIG))


def mark_done(workdir: str | os.PathLike, stage: str, result: dict, seconds: float) -> None:
  """Records that a stage has finished, with its result (a JSON-able dict) and its seconds."""
  date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  record = {"stage": stage, "result": result, "seconds": seconds, "date": date}
  files.write_json(_stage_file(workdir, stage), record)


def stage_done(workdir: str | os.PathLike, stage: str) -> bool:
  """Returns whether the stage has finished in this run folder."""
  return _stage_file(workdir, stage).is_file()


def stage_result(workdir: str | os.PathLike, stage: str) -> dict[str, Any]:
  """Returns the result that `mark_done` stored.

  Raises:
    UserError: the stage has not finished in this folder.
  """
  return _stage_record(workdir, stage)["result"]


def stage_seconds(workdir: str | os.PathLike, stage: str) -> float:
  """Returns the seconds that `mark_done` stored; raises as `stage_result` does."""
  return _stage_record(workdir, stage)["seconds"]


def _stage_file(workdir: str | os.PathLike, stage: str) -> pathlib.Path:
  return pathlib.Path(workdir) / _STAGES / f"{stage}.json"


def _stage_record(workdir: str | os.PathLike, stage: str) -> dict[str, Any]:
  if not stage_done(workdir, stage):
    raise UserError(
      f"expected the stage '{stage}' to be finished in {workdir}, got no result; run it first."
    )
  return files.read_json(_stage_file(workdir, stage))


def _note_resume(workdir: pathlib.Path) -> None:
  first = files.read_json(workdir / _VERSIONS)
  now = files.jsonable(current_versions())
  earlier = [first, *first.get("resumed", [])]
  compared = [key for key in now if key != "date"]
  if any(all(now[key] == then.get(key) for key in compared) for then in earlier):
    return
  files.write_json(workdir / _VERSIONS, {**first, "resumed": [*first.get("resumed", []), now]})


def _unfinished(path: pathlib.Path) -> bool:
  """Returns whether a process that was killed while making or deleting a run leaves such a file."""
  return path.name.startswith((f".{_VERSIONS}.", f".{_CONFIG}.", places.LOCK))


def _delete(workdir: pathlib.Path) -> None:
  """Deletes a run, its versions last: if killed, the next call can delete the rest."""
  for path in workdir.iterdir():
    if path.name not in (_VERSIONS, places.LOCK):
      shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
  (workdir / _VERSIONS).unlink()


def _take_unchosen(config: ml_collections.ConfigDict | dict, stored: dict[str, Any]) -> None:
  """Replaces None values in `config` by those of `stored`, section by section."""
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict | dict):
      if isinstance(stored.get(key), dict):
        _take_unchosen(value, stored[key])
    elif value is None and stored.get(key) is not None:
      config[key] = stored[key]


def _completed(stored: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
  """Returns `stored` with its missing keys taken from `declared`, section by section."""
  sections = {
    key: _completed(stored[key], value)
    for key, value in declared.items()
    if isinstance(value, dict) and isinstance(stored.get(key), dict)
  }
  return {**declared, **stored, **sections}


def _check_same(workdir: pathlib.Path, stored: dict[str, Any], config: dict[str, Any]) -> None:
  """Raises UserError, which names the differing keys, if a run's stored config is another one."""
  then, now = files.flatten(stored), files.flatten(config)
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
