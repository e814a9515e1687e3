"""VIP's released ResNet-50: downloaded once, converted into the cache, refused once changed there.

The weights are Meta's, trained on Ego4D, under CC BY-NC 4.0: for non-commercial use. They are
never part of this package; `third_party/vip.json` says where they come from.
"""

from __future__ import annotations

import datetime
import os
import pathlib
from typing import Any

from vipjax.encoder.preprocess import Preprocessing
from vipjax.encoder.resnet import ResNetConfig
from vipjax.encoder.value import ValueFunction
from vipjax.encoder.weights import artefact
from vipjax.encoder.weights.download import fetch
from vipjax.encoder.weights.torch_checkpoint import read_vip_network
from vipjax.runtime import files
from vipjax.runtime.cache import cache_folder, file_sha256, locked
from vipjax.runtime.errors import UserError

NAME = "vip-resnet50"
ADDRESS = "https://pytorch.s3.amazonaws.com/models/rl/vip/model.pt"
LICENCE = "CC BY-NC 4.0"
FILE_LICENCE = f"that of the file's origin; VIP's released weights: {LICENCE}"
CHECKPOINT_VARIABLE = "VIPJAX_VIP_CHECKPOINT"
MANIFEST = "manifest.json"
EXPECTED = ResNetConfig()  # ResNet-50, 64 wide, 1024 outputs


def load_released(address: str = ADDRESS, sha256: str | None = None) -> ValueFunction:
  """VIP's released encoder, from the first of these places.

  1. the file that the environment variable VIPJAX_VIP_CHECKPOINT names;
  2. the cache, `weights/vip-resnet50` in VIPJAX_CACHE (else the platform's cache), refused if a
     file in it is not the one its manifest describes;
  3. `address`, over HTTPS; then it is converted into the cache. One process downloads, others
     wait for it.

  Args:
    address: where the released `model.pt` lies.
    sha256: checksum to insist on when downloading. None is published.

  Raises:
    UserError: the file is not VIP's, the cache has changed, or the download failed; the message
      names the ways to proceed.
  """
  given = os.environ.get(CHECKPOINT_VARIABLE)
  if given:
    return _released_value(pathlib.Path(given).expanduser())
  weights = cache_folder("weights")
  folder = weights / NAME
  with locked(weights / f"{NAME}.lock"):
    if not folder.exists():
      _install(folder, address, sha256)
  check_unchanged(folder)
  return artefact.load_artefact(folder)


def _released_value(path: pathlib.Path) -> ValueFunction:
  """The value function of a downloaded model.pt."""
  config, variables = read_vip_network(path)
  if config != EXPECTED:
    raise UserError(
      f"expected VIP's ResNet-50 with 1024 outputs at {path}, got {config}; load this file by its "
      "path instead."
    )
  return ValueFunction(config, Preprocessing(), variables, released_metadata())


def released_metadata() -> dict[str, Any]:
  """Name, origin and licence of the released weights."""
  return {
    "name": NAME,
    "trained_on": "Ego4D, by VIP's authors (arXiv:2210.00030)",
    "licence": LICENCE,
    "source": ADDRESS,
  }


def _install(folder: pathlib.Path, address: str, sha256: str | None) -> None:
  """Downloads, converts and moves into place, in this order, so that `folder` is always whole."""
  advice = (
    "connect to the network and try again; or download that address elsewhere and set "
    f"{CHECKPOINT_VARIABLE} to the file; or convert the file with `python -m "
    "launch.convert_weights --checkpoint=FILE --out=FOLDER` and load FOLDER"
  )
  download = folder.with_name(f"{NAME}.pt")
  seen = fetch(address, download, sha256, advice)
  new = folder.with_name(f".{NAME}.new")
  try:
    artefact.save(new, _released_value(download), overwrite=True)
  except UserError:  # not the file that we want: a server's error page, say
    download.unlink()
    raise
  download.unlink()
  checksums = {
    path.name: {"size": path.stat().st_size, "sha256": file_sha256(path)}
    for path in sorted(new.iterdir())
  }
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  facts = {"address": address, "downloaded": now, **seen, "files": checksums}
  files.write_json(new / MANIFEST, facts)
  new.rename(folder)


def check_unchanged(folder: pathlib.Path) -> None:
  """Raises UserError unless the cached files are those that the manifest describes."""
  advice = f"delete {folder} to download it again"
  if not (folder / MANIFEST).is_file():
    raise UserError(f"expected {MANIFEST} in {folder}, got none; {advice}.")
  manifest = files.read_json(folder / MANIFEST)
  known = manifest.get("files") if isinstance(manifest, dict) else None
  if not isinstance(known, dict) or set(known) != {artefact.TENSORS, artefact.CONFIG}:
    raise UserError(
      f"expected the cached files' checksums in {folder / MANIFEST}, got others; {advice}."
    )
  for name, wanted in known.items():
    path = folder / name
    seen = file_sha256(path) if path.is_file() else "no file"
    if not isinstance(wanted, dict) or seen != wanted.get("sha256"):
      raise UserError(
        f"expected {path} as it was downloaded, got another content (sha256 {seen}); {advice}."
      )
