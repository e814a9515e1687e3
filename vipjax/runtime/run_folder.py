"""Run folders: one folder holds all that one run was given and all that it made.

config.json     the resolved config; a run resumes only where it is the same
versions.json   packages, Python, platform, git commit, devices, date
stages/         one JSON file per finished stage: its result and how long it took
.lock           held by the process that writes here, see `places`
"""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil
from typing import Any

import ml_collections

from vipjax.runtime import files, hosts, places
from vipjax.runtime.config_difference import check_same_config
from vipjax.runtime.errors import UserError
from vipjax.runtime.renamed_keys import check_config, with_new_names
from vipjax.runtime.versions import current_versions

_CONFIG = "config.json"
_VERSIONS = "versions.json"
_STAGES = "stages"


def open_run(
  workdir: str | os.PathLike, config: ml_collections.ConfigDict | dict, overwrite: bool = False
) -> pathlib.Path:
  """Opens a run folder: makes a new one, or resumes the one that is there.

  A folder that holds a `config.json` equal to `config` is resumed; its `versions.json` stays, and
  an environment that differs from the first one is noted in it under "resumed". Keys that the run
  did not know, being of an earlier version, get the values they have now. Where `config` has None,
  which is to say nothing was chosen, the run's own value stands and is set in `config`, so that a
  default that became None since does not end a run. Of several processes the first does this; the
  others wait for it and check that they were given the same.
  From here on until this process ends, no other run may open the folder.

  Args:
    workdir: the run folder.
    config: the config, with all overrides applied; values that are None may be set, as said.
    overwrite: delete a run that is there and start over. Only a folder that an earlier call made
      (it holds a `versions.json`) is ever deleted.

  Returns:
    The folder as an absolute path.

  Raises:
    UserError: the folder holds a run of another config, or files that are no run of ours; the
      config has a key under an old name; another process has opened the folder; or nothing can be
      written there.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  check_config(files.jsonable(config))
  if hosts.is_first():
    _open(workdir, config, overwrite)
  hosts.wait_for_all(f"the run folder {workdir.name}")
  if not hosts.is_first():
    if not (workdir / _CONFIG).is_file():
      raise UserError(
        f"Expected the run that the first process has opened at {workdir}, but this process sees "
        "none: give all the same --workdir, on a file system that they share."
      )
    stored = stored_config(workdir)
    _take_unchosen(config, stored)
    check_same_config(workdir, stored, files.jsonable(config))
  return workdir


def _open(workdir: pathlib.Path, config: ml_collections.ConfigDict | dict, overwrite: bool) -> None:
  if workdir.exists() and not workdir.is_dir():
    raise UserError(f"Expected a folder for the run, but {workdir} is a file: give another one.")
  places.make_folder(workdir)
  # Both files, because other folders (an encoder artefact, say) hold a config.json too. The
  # versions are written first: a run that was killed in between is one that has yet to begin.
  is_run = (workdir / _VERSIONS).is_file()
  if not is_run and any(not _unfinished(each) for each in workdir.iterdir()):
    raise UserError(
      f"Expected a new folder or one of an earlier run, but {workdir} holds other files and no "
      f"{_VERSIONS}: give another --workdir."
    )
  places.hold(workdir)
  if is_run and overwrite:
    _delete(workdir)
  elif is_run and (workdir / _CONFIG).is_file():
    stored = stored_config(workdir)
    _take_unchosen(config, stored)
    completed = _completed(stored, files.jsonable(config))
    check_same_config(workdir, completed, files.jsonable(config))
    if completed != files.read_json(workdir / _CONFIG):
      files.write_json(workdir / _CONFIG, completed)
    _note_resume(workdir)
    return
  files.write_json(workdir / _VERSIONS, current_versions())
  files.write_json(workdir / _CONFIG, config)


def run_config(
  workdir: str | os.PathLike, declared: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
  """The config that the run in a folder was made with.

  Args:
    workdir: the run folder.
    declared: a config that declares every key: keys which the run did not know yet have the values
      there.

  Raises:
    UserError: the folder holds no run.
  """
  workdir = pathlib.Path(workdir).expanduser()
  if not ((workdir / _CONFIG).is_file() and (workdir / _VERSIONS).is_file()):
    raise UserError(
      f"Expected a run folder with {_CONFIG} and {_VERSIONS} at {workdir}, but it is none: give "
      "--config to begin a run, or the --workdir of one."
    )
  return ml_collections.ConfigDict(_completed(stored_config(workdir), files.jsonable(declared)))


def stored_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """The `config.json` of a run folder, keys of earlier versions under their new names.

  Raises:
    UserError: there is none, or it is damaged.
  """
  return with_new_names(files.read_json(pathlib.Path(workdir) / _CONFIG))


def mark_done(workdir: str | os.PathLike, stage: str, result: dict, seconds: float) -> None:
  """Notes that a stage has finished, with its result (a dict that JSON can hold) and seconds."""
  date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  record = {"stage": stage, "result": result, "seconds": seconds, "date": date}
  files.write_json(_stage_file(workdir, stage), record)


def stage_done(workdir: str | os.PathLike, stage: str) -> bool:
  """Whether the stage has finished in this run folder."""
  return _stage_file(workdir, stage).is_file()


def stage_result(workdir: str | os.PathLike, stage: str) -> dict[str, Any]:
  """The result that `mark_done` stored.

  Raises:
    UserError: the stage has not finished in this folder.
  """
  return _stage_record(workdir, stage)["result"]


def stage_seconds(workdir: str | os.PathLike, stage: str) -> float:
  """The seconds that the stage took, as given to `mark_done`; raises as `stage_result` does."""
  return _stage_record(workdir, stage)["seconds"]


def _stage_file(workdir: str | os.PathLike, stage: str) -> pathlib.Path:
  return pathlib.Path(workdir) / _STAGES / f"{stage}.json"


def _stage_record(workdir: str | os.PathLike, stage: str) -> dict[str, Any]:
  if not stage_done(workdir, stage):
    raise UserError(
      f"Expected the stage '{stage}' to be finished in {workdir}, but it is not: run it first."
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
  """Whether it is what is left of a process killed while it made a run folder or deleted a run."""
  return path.name.startswith((f".{_VERSIONS}.", f".{_CONFIG}.", places.LOCK))


def _delete(workdir: pathlib.Path) -> None:
  """Deletes a run; killed in between, it leaves what may be deleted again."""
  for path in workdir.iterdir():
    if path.name not in (_VERSIONS, places.LOCK):
      shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
  (workdir / _VERSIONS).unlink()


def _take_unchosen(config: ml_collections.ConfigDict | dict, stored: dict[str, Any]) -> None:
  """Sets what is None in `config` to what `stored` has there, section by section."""
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict | dict):
      if isinstance(stored.get(key), dict):
        _take_unchosen(value, stored[key])
    elif value is None and stored.get(key) is not None:
      config[key] = stored[key]


def _completed(stored: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
  """`stored` with what it lacks of `declared`, section by section."""
  sections = {
    key: _completed(stored[key], value)
    for key, value in declared.items()
    if isinstance(value, dict) and isinstance(stored.get(key), dict)
  }
  return {**declared, **stored, **sections}
