"""`vipjax.load`: every way to get a value function by name or path."""

from __future__ import annotations

import os
import pathlib

from vipjax.encoder.preprocess import Preprocessing
from vipjax.encoder.value import ValueFunction
from vipjax.encoder.weights import artefact, released
from vipjax.encoder.weights.torch_checkpoint import read_vip_network
from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins

PRETRAINED = pathlib.Path(__file__).parent / "pretrained"
_MINI = "mini"


def load(name_or_path: str | os.PathLike) -> ValueFunction:
  """Loads a value function.

  Args:
    name_or_path: one of
      "mini": the small encoder that ships with the package, from which the demo starts;
      "vip-resnet50": VIP's released weights (CC BY-NC 4.0), downloaded once;
      the folder of an encoder artefact (`model.safetensors`, `config.json`);
      a run folder, whose `encoder/` is such an artefact;
      a file in VIP's released format (`.pt`, or `.safetensors` with the same keys). It does not
      say how frames are to be resized: VIP's 256 and 224 are taken.

  Raises:
    UserError: none of these, or what it names cannot be read; the message says what to do.
  """
  if name_or_path == _MINI:
    if not artefact.is_artefact(PRETRAINED / _MINI):
      raise UserError(
        f"expected the pretrained encoder '{_MINI}', got a version that ships none; load "
        "'vip-resnet50', or train your own and load its run folder."
      )
    return artefact.load_artefact(PRETRAINED / _MINI)
  if name_or_path == released.NAME:
    return released.load_released()
  path = pathlib.Path(name_or_path).expanduser()
  for folder in (path, path / "encoder"):
    for name in ("", artefact.CONFIG, artefact.TENSORS):
      refuse_stand_ins(folder / name)
  if path.is_dir():
    if artefact.is_artefact(path):
      return artefact.load_artefact(path)
    if artefact.is_artefact(path / "encoder"):
      return artefact.load_artefact(path / "encoder")
    problem = "a folder that is neither an artefact nor a run with an encoder"
  elif path.is_file() and path.suffix in (".pt", ".safetensors"):
    config, variables = read_vip_network(path)
    if config.stem != "imagenet":
      raise UserError(
        f"expected a network with VIP's 7x7 stem in {path}, got a 3x3 stem, for which the file "
        "holds no preprocessing; load the artefact folder that it was exported from."
      )
    metadata = {"name": path.name, "trained_on": "unknown", "licence": released.FILE_LICENCE}
    return ValueFunction(config, Preprocessing(), variables, metadata)
  else:
    problem = "another kind of file" if path.is_file() else "nothing there"
  raise UserError(
    "expected 'mini', 'vip-resnet50', an encoder artefact's folder, a run folder with encoder/, "
    f"or a .pt file of VIP's released format, got {str(name_or_path)!r} ({problem}); check the "
    "name or path."
  )
