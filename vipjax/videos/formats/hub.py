"""LeRobot data sets of the Hugging Face hub: the wanted files are fetched, once, by its client.

`huggingface_hub` is an optional extra (`pip install "vipjax[hub]"`); it keeps files in its own
cache, so that a data set that was read once is read again without a network.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import re
from typing import Any

from vipjax.runtime.errors import UserError
from vipjax.videos.formats import lerobot
from vipjax.videos.selection import Selection

PREFIX = "hf://"
# As the hub's own addresses have it, with and without the kind of the repository.
_ADDRESS = re.compile(
  r"hf://(?:datasets/)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?$"
)


def on_hub(path: str | os.PathLike[str]) -> bool:
  """Whether a path is an address of the hub, such as "hf://lerobot/pusht"."""
  return os.fspath(path).startswith(PREFIX)


def fetch(address: str, selection: Selection | None = None) -> pathlib.Path:
  """The local folder of a data set of the hub.

  Args:
    address: "hf://owner/name", or "hf://owner/name@revision" with a branch, tag or commit.
    selection: only files with episodes and cameras that it wants are fetched; None fetches all.

  Returns:
    A folder in the cache of huggingface_hub, for reading only.

  Raises:
    UserError: another form of address, huggingface_hub is not installed, the data set is neither
      reachable nor cached, or it is no LeRobot data set.
  """
  match = _ADDRESS.match(address)
  if match is None:
    raise UserError(
      f"expected an address such as hf://lerobot/pusht or hf://lerobot/pusht@v3.0, got {address}; "
      "correct it."
    )
  try:
    client = importlib.import_module("huggingface_hub")
  except ImportError as error:
    raise UserError(
      f"expected the package huggingface_hub to fetch {address}, got none; pip install "
      "huggingface_hub, or pass the folder of a local copy."
    ) from error
  if selection is None:
    return _snapshot(client, address, match, None)
  root = _snapshot(client, address, match, ["meta/*"])
  if not lerobot.is_dataset(root):
    raise UserError(
      f"expected a LeRobot data set at {address}, got no {lerobot.INFO}; download it yourself and "
      "pass its folder."
    )
  return _snapshot(client, address, match, ["meta/*", *_wanted(root, selection)])


def _wanted(root: pathlib.Path, selection: Selection) -> list[str]:
  """The files, seen from the root, that hold what the selection may keep."""
  dataset = lerobot.LeRobotDataset(root)
  files = []
  for episode, camera in dataset.wanted(selection):
    files.append(dataset.data_path(episode))
    if dataset.is_film(camera):
      files.append(dataset.film_path(episode, camera))
  return [file.relative_to(root).as_posix() for file in dict.fromkeys(files)]


def _snapshot(
  client: Any, address: str, match: re.Match[str], patterns: list[str] | None
) -> pathlib.Path:
  try:
    folder = client.snapshot_download(
      match["name"], repo_type="dataset", revision=match["revision"], allow_patterns=patterns
    )
  # The client's own errors are among these; without a network it takes what it has cached.
  except (OSError, ValueError) as error:
    reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    raise UserError(
      f"expected to fetch {address}, got '{reason}' from the hub and no cached copy; check the "
      "name and the network, or pass the folder of a local copy."
    ) from error
  return pathlib.Path(folder)
