"""An encoder as a folder: `model.safetensors` and `config.json`, nothing pickled."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from vipjax.encoder.heads import HEAD, L2, Head
from vipjax.encoder.preprocess import Preprocessing
from vipjax.encoder.progress import PROGRESS, head_shapes
from vipjax.encoder.resnet import ResNetConfig, variable_shapes
from vipjax.encoder.value import ValueFunction
from vipjax.encoder.weights.tensors import check_tensors, read_safetensors
from vipjax.runtime import files, places
from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins

FORMAT = "vipjax-encoder-1"
TENSORS, CONFIG = "model.safetensors", "config.json"
_FIELDS = {"format", "architecture", "preprocessing", "metadata"}
_BINS = "progress_bins"  # the field of an encoder with a progress head


def save(folder: str | os.PathLike, value: ValueFunction, overwrite: bool = False) -> pathlib.Path:
  """Writes an encoder as a folder that `vipjax.load` takes; whole or not at all.

  Args:
    folder: where; its parents are made.
    value: the encoder. Its metadata should say "trained_on" and "licence"; both are written as
      "unknown" where it does not.
    overwrite: replace an artefact that is there.

  Returns:
    The folder.

  Raises:
    UserError: the folder exists (without `overwrite`), holds something that is no artefact, or
      cannot be written.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and not overwrite:
    raise UserError(
      f"expected a new folder for the encoder, got {folder}; choose another or overwrite it."
    )
  if folder.is_file() or (folder.exists() and any(folder.iterdir()) and not is_artefact(folder)):
    raise UserError(
      f"expected an encoder artefact to overwrite, got something else at {folder}; choose another "
      "place."
    )
  places.make_folder(folder.parent)
  metadata = {"trained_on": "unknown", "licence": "unknown", **value.metadata}
  # Beside its place, so that the renaming stays on one file system.
  with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
    new, old = pathlib.Path(temporary) / "new", pathlib.Path(temporary) / "old"
    new.mkdir()
    # Not save_file, which makes files that only their owner can read.
    tensors = traverse_util.flatten_dict(value.variables, sep="/")
    tensors = {key: np.ascontiguousarray(leaf) for key, leaf in tensors.items()}
    files.write_bytes(new / TENSORS, safetensors.numpy.save(tensors))
    config = {
      "format": FORMAT,
      "architecture": dataclasses.asdict(value.config),
      "preprocessing": dataclasses.asdict(value.preprocessing),
      "metadata": metadata,
    }
    if PROGRESS in value.variables:
      config[_BINS] = len(value.variables[PROGRESS]["bias"])
    if value.head != L2:
      config[HEAD] = dataclasses.asdict(value.head)
    files.write_json(new / CONFIG, config)
    if folder.exists():
      folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
  return folder


def is_artefact(folder: str | os.PathLike) -> bool:
  """Whether the folder holds both files of an artefact."""
  folder = pathlib.Path(folder)
  return (folder / TENSORS).is_file() and (folder / CONFIG).is_file()


def load_artefact(folder: str | os.PathLike) -> ValueFunction:
  """Reads what `save` wrote.

  Raises:
    UserError: a file is missing or damaged, the config names something unknown, or tensors are
      missing, unexplained, misshapen, of another dtype or not finite.
  """
  folder = pathlib.Path(folder)
  for name in (TENSORS, CONFIG):
    refuse_stand_ins(folder / name)
    if not (folder / name).is_file():
      raise UserError(
        f"expected an encoder artefact with {TENSORS} and {CONFIG}, got no {name} in {folder}; "
        "check the path."
      )
  config, preprocessing, metadata, bins, head = _read_config(folder / CONFIG)
  advice = "write or fetch the artefact again"
  tensors = read_safetensors(folder / TENSORS, advice)
  known = {**variable_shapes(config), HEAD: head.variable_shapes(config.embedding_dim) or {}}
  shapes = traverse_util.flatten_dict(known, sep="/")
  shapes = {key: leaf.shape for key, leaf in shapes.items()}
  if bins:
    of_progress = head_shapes(config.embedding_dim, bins)
    shapes |= {f"{PROGRESS}/{name}": shape for name, shape in of_progress.items()}
  expected = f"the tensors that {folder / CONFIG} describes in {folder / TENSORS}"
  check_tensors(tensors, shapes, expected, advice, np.float32)
  variables = traverse_util.unflatten_dict({key: tensors[key] for key in shapes}, sep="/")
  return ValueFunction(config, preprocessing, variables, metadata, head=head)


def _read_config(
  path: pathlib.Path,
) -> tuple[ResNetConfig, Preprocessing, dict[str, Any], int | None, Head]:
  """Architecture, preprocessing, metadata, the bins of the progress head if there is one; head."""
  content = files.read_json(path)
  fields = set(content) - {_BINS, HEAD} if isinstance(content, dict) else None
  if fields != _FIELDS or content["format"] != FORMAT:
    got = content.get("format") if isinstance(content, dict) else type(content).__name__
    raise UserError(
      f"expected an encoder's config of format {FORMAT} with {', '.join(sorted(_FIELDS))}, got "
      f"{ascii(got)[:60]} in {path}; give the folder of an encoder artefact."
    )
  parsed = []
  kinds = {"architecture": ResNetConfig, "preprocessing": Preprocessing, HEAD: Head}
  for field, kind in kinds.items():
    if field == HEAD and HEAD not in content:  # as before there was any other
      parsed.append(L2)
      continue
    names = {each.name for each in dataclasses.fields(kind)}
    if field == HEAD and isinstance(content[field], dict):
      content[field].setdefault("layer_norm", False)  # no head had it before
    if not isinstance(content[field], dict) or set(content[field]) != names:
      raise UserError(
        f"expected {field} in {path} to have exactly {', '.join(sorted(names))}, got "
        f"{ascii(content[field])[:120]}; write the artefact again with this version."
      )
    lists = {key: tuple(each) for key, each in content[field].items() if isinstance(each, list)}
    parsed.append(kind(**content[field] | lists))
  if not isinstance(content["metadata"], dict):
    raise UserError(
      f"expected metadata in {path} to be an object, got {ascii(content['metadata'])[:60]}; write "
      "the artefact again."
    )
  bins = content.get(_BINS)
  if bins is not None and (type(bins) is not int or bins < 2):
    raise UserError(
      f"expected a whole number of {_BINS} of at least 2 in {path}, got {ascii(bins)[:60]}; write "
      "the artefact again."
    )
  return parsed[0], parsed[1], content["metadata"], bins, parsed[2]
