"""Writes encoders in the official VIP layout, for users of PyTorch; needs no torch."""

from __future__ import annotations

import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import safetensors.numpy

from vipjax.encoder.value import ValueFunction
from vipjax.encoder.weights import torch_layout
from vipjax.runtime import places
from vipjax.runtime.errors import UserError

_STORAGE_NAMES = {"float32": b"FloatStorage", "int64": b"LongStorage"}


def export_official(
  value: ValueFunction, path: str | pathlib.Path, overwrite: bool = False
) -> pathlib.Path:
  """Writes an encoder under the official state dict's names; reading it back is bitwise the same.

  Networks of torchvision's shapes (width 64, stem "imagenet") load into the official code and
  TorchRL; others keep the layout but need a network of their shape.

  Args:
    value: the encoder; BatchNorm only.
    path: `*.safetensors` for the state dict alone, or `*.pt` for {"vip": state dict} as VIP
      released it, which `torch.load` reads, also with `weights_only=True`.
    overwrite: replace an existing file.

  Returns:
    The path written.

  Raises:
    UserError: GroupNorm, another head than "l2", another suffix, an existing file, or a place that
      cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix not in (".safetensors", ".pt"):
    raise UserError(
      f"expected a path ending in .safetensors or .pt, got {path}; choose one of the two."
    )
  if path.exists() and not overwrite:
    raise UserError(
      f"expected a new file, got one at {path}; choose another name or pass overwrite=True."
    )
  value.require_l2("the official layout")
  state = torch_layout.to_state_dict(value.config, value.variables)
  places.make_folder(path.parent)
  partial = path.with_name(path.name + ".partial")
  if path.suffix == ".safetensors":
    safetensors.numpy.save_file(state, partial)
  else:
    with open(partial, "wb") as file:
      write_archive(file, state)
  partial.replace(path)
  return path


def write_archive(file: BinaryIO, state: Mapping[str, np.ndarray], byteorder: str = "little"):
  """Writes {"vip": state} in PyTorch's zip format.

  Args:
    file: a seekable binary file, open for writing.
    state: name -> float32 or int64 array.
    byteorder: "little" or "big", of the numbers in the archive.
  """
  order = "<" if byteorder == "little" else ">"
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    archive.writestr("archive/data.pkl", _pickle(state))
    archive.writestr("archive/byteorder", byteorder)
    for key, array in enumerate(state.values()):
      numbers = array.astype(array.dtype.newbyteorder(order)).tobytes()
      archive.writestr(f"archive/data/{key}", numbers)
    archive.writestr("archive/version", "3\n")


def _pickle(state: Mapping[str, np.ndarray]) -> bytes:
  """The pickle (protocol 2) that torch.save makes of {"vip": {name: tensor}}.

  Each tensor is _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), and its
  storage the persistent id ("storage", class, key, device, count).
  """
  empty_ordered_dict = b"ccollections\nOrderedDict\n)R"
  out = [pickle.PROTO, b"\x02}", _text("vip"), empty_ordered_dict, pickle.MARK]
  for key, (name, array) in enumerate(state.items()):
    strides = [step // array.itemsize for step in array.strides]
    storage_class = b"ctorch\n" + _STORAGE_NAMES[array.dtype.name] + b"\n"
    out += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n", pickle.MARK]
    out += [pickle.MARK, _text("storage"), storage_class, _text(str(key)), _text("cpu")]
    out += [_integer(array.size), pickle.TUPLE, pickle.BINPERSID, _integer(0)]
    out += [_integers(array.shape), _integers(strides), pickle.NEWFALSE, empty_ordered_dict]
    out += [pickle.TUPLE, pickle.REDUCE]
  return b"".join([*out, pickle.SETITEMS, pickle.SETITEM, pickle.STOP])


def _text(text: str) -> bytes:
  data = text.encode()
  return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
  return pickle.BININT + struct.pack("<i", number)


def _integers(numbers) -> bytes:
  return pickle.MARK + b"".join(map(_integer, numbers)) + pickle.TUPLE
