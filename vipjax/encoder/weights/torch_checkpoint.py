"""Reads VIP's released checkpoint, a PyTorch zip archive, without PyTorch and without running it.

Layout of the archive: `<name>/data.pkl` describes the tensors, `<name>/data/<key>` hold their
numbers, uncompressed, in the byte order named by `<name>/byteorder` (little when absent).
"""

from __future__ import annotations

import math
import pathlib
import zipfile
from typing import Any

import numpy as np

from vipjax.encoder.resnet import ResNetConfig
from vipjax.encoder.weights import torch_layout
from vipjax.encoder.weights.tensors import read_safetensors
from vipjax.encoder.weights.torch_pickle import STORAGES, Storage, TensorRecord, decode
from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins

LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # pickled magic number of torch < 1.6
MAX_PICKLE_BYTES = 1 << 21  # a ResNet-50's is about 40 kB; in memory it may grow a hundredfold
ADVICE = "pass the model.pt that VIP released, or fetch it again"


def read_vip_checkpoint(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads a released-format checkpoint into Flax variables.

  Needs no torch and never runs pickled code. ResNet-18, 34 and 50 are told apart by their keys.

  Args:
    path: a `model.pt` holding {"vip": state dict with module.convnet.* keys} and maybe
      "global_step", in PyTorch's zip format; or a `.safetensors` file with the same keys, as
      `export_official` writes.

  Returns:
    {"params": ..., "batch_stats": ...}, float32 numpy arrays, for `ResNet` of the architecture
    that `read_vip_network` also returns.

  Raises:
    UserError: no such file, another format, a damaged file, something else than tensors in it,
      or missing, extra, misshapen or non-finite tensors.
  """
  return read_vip_network(path)[1]


def read_vip_network(path: str | pathlib.Path) -> tuple[ResNetConfig, dict[str, Any]]:
  """The architecture and the variables; otherwise as `read_vip_checkpoint`."""
  path = pathlib.Path(path)
  refuse_stand_ins(path)
  if not path.is_file():
    raise UserError(f"expected a VIP checkpoint file, got no file at {path}; check the path.")
  is_archive = path.suffix != ".safetensors"
  state = _read_archive(path) if is_archive else read_safetensors(path, ADVICE)
  try:
    return torch_layout.from_state_dict(state)
  except UserError as error:
    raise _in_file(path, error) from None


def _read_archive(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors under "vip" of a PyTorch zip archive."""
  _refuse_other_formats(path)
  try:
    with zipfile.ZipFile(path) as archive:
      records = _Records(path, archive)
      payload = decode(records.read("data.pkl", MAX_PICKLE_BYTES))
      return _tensors(_state_dict(payload), records)
  except UserError as error:
    raise _in_file(path, error) from None
  except (
    zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError,
    IndexError, KeyError, OverflowError,
  ) as error:  # fmt: skip
    # All that zipfile raises on damaged archives; it documents BadZipFile alone.
    raise UserError(
      f"expected a complete PyTorch zip archive, got a truncated or damaged one at {path} "
      f"({type(error).__name__}: {ascii(str(error))[:120]}); {ADVICE}."
    ) from None


def _in_file(path: pathlib.Path, error: UserError) -> UserError:
  """The error with the file's name; as it is where it has that already."""
  message = str(error)
  named = message.replace(", got ", f" in {path}, got ", 1)
  return UserError(message if str(path) in message else named)


def _refuse_other_formats(path: pathlib.Path) -> None:
  """Raises UserError, naming the format, unless the first bytes are a zip archive's."""
  with open(path, "rb") as file:
    start = file.read(512)
  if start.startswith(b"PK\x03\x04"):
    return
  if not start:
    got = "an empty file"
  elif start.startswith(LEGACY_START):
    raise UserError(
      "expected PyTorch's zip format, got its older non-zip format (before PyTorch 1.6) at "
      f"{path}; save it again there with torch.save(torch.load(path), new_path)."
    )
  elif start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
    got = "a web page, perhaps a server's error message saved under this name"
  else:
    got = f"a file that starts with {start[:8].hex(' ')}"
  raise UserError(f"expected a PyTorch zip archive, got {got} at {path}; {ADVICE}.")


class _Records:
  """The records of one archive, read with every length checked against the file's."""

  def __init__(self, path: pathlib.Path, archive: zipfile.ZipFile):
    self.archive = archive
    self.infos = {info.filename: info for info in archive.infolist()}
    if len(self.infos) != len(archive.infolist()):
      raise UserError(f"expected each record once, got duplicates in {path}; {ADVICE}.")
    tops = [name[: -len("data.pkl")] for name in self.infos if name.endswith("/data.pkl")]
    if len(tops) != 1 or tops[0].count("/") != 1:
      raise UserError(
        f"expected a PyTorch archive with one data.pkl, got a zip file without it at {path}; "
        f"{ADVICE}."
      )
    self.top = tops[0]
    if self.top + "constants.pkl" in self.infos:
      raise UserError(f"expected saved tensors, got a TorchScript program at {path}; {ADVICE}.")
    self.unread = path.stat().st_size  # no honest archive gives more bytes than the file has
    order = "little"
    if self.top + "byteorder" in self.infos:
      order = self.read("byteorder", 16).decode("ascii", "replace")
    if order not in ("little", "big"):
      raise UserError(f"expected byte order little or big, got {ascii(order)} in {path}; {ADVICE}.")
    self.order = "<" if order == "little" else ">"

  def read(self, name: str, limit: int) -> bytes:
    """The bytes of one record, at most `limit`."""
    info = self.infos.get(self.top + name)
    if info is None:
      raise UserError(f"expected the record {ascii(name)[:60]}, got none; {ADVICE}.")
    plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
    if not plain or info.file_size != info.compress_size:
      raise UserError(
        f"expected the record {ascii(name)[:60]} uncompressed as PyTorch writes it, got one "
        f"compressed or encrypted; {ADVICE}."
      )
    if info.file_size > min(limit, self.unread):
      raise UserError(
        f"expected at most {min(limit, self.unread)} bytes in the record {ascii(name)[:60]}, got "
        f"{info.file_size}; {ADVICE}."
      )
    data = self.archive.read(info)
    self.unread -= len(data)
    return data

  def numbers(self, storage: Storage) -> np.ndarray:
    """All numbers of a storage, one-dimensional; bfloat16 becomes float32."""
    kind = STORAGES[storage.kind]
    dtype = np.dtype("u2" if kind == "bfloat16" else kind)
    data = self.read(f"data/{storage.key}", storage.count * dtype.itemsize)
    if len(data) != storage.count * dtype.itemsize:
      raise UserError(
        f"expected {storage.count * dtype.itemsize} bytes in storage {ascii(storage.key)[:60]}, "
        f"got {len(data)}; {ADVICE}."
      )
    numbers = np.frombuffer(data, dtype.newbyteorder(self.order)).astype(dtype)
    if kind == "bfloat16":  # the upper half of a float32
      return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _state_dict(payload: Any) -> dict[str, TensorRecord]:
  """The dict under "vip", whose values are tensors."""
  keys = sorted(payload) if type(payload) is dict else []
  if "vip" not in keys or not set(keys) <= {"vip", "global_step"}:
    got = ", ".join(ascii(key)[:40] for key in keys[:6]) or type(payload).__name__
    raise UserError(
      f"expected a dict with the key 'vip' and maybe 'global_step', got {got}; {ADVICE}."
    )
  state = payload["vip"]
  if type(state) is not dict or any(type(item) is not TensorRecord for item in state.values()):
    raise UserError(f"expected a dict of tensors under 'vip', got something else; {ADVICE}.")
  return state


def _tensors(state: dict[str, TensorRecord], records: _Records) -> dict[str, np.ndarray]:
  """Reads each tensor; tensors may share a storage."""
  storages: dict[Storage, np.ndarray] = {}
  tensors = {}
  allowed = sum(info.file_size for info in records.infos.values())
  for name, record in state.items():
    _check_bounds(name, record)
    # Tensors may share numbers, but not so that a small file fills the memory.
    allowed -= math.prod(record.size)
    if allowed < 0:
      raise UserError(
        f"expected each number in one tensor, got many tensors of the same; {ADVICE}."
      )
    if record.storage not in storages:
      storages[record.storage] = records.numbers(record.storage)
    numbers = storages[record.storage][record.offset :]
    strides = tuple(step * numbers.itemsize for step in record.stride)
    tensors[name] = np.lib.stride_tricks.as_strided(
      numbers, record.size, strides, writeable=False
    ).copy()
  return tensors


def _check_bounds(name: str, record: TensorRecord) -> None:
  """Raises UserError unless every element lies inside the storage, and none is repeated."""
  offset, size, stride, count = record.offset, record.size, record.stride, record.storage.count
  numbers = (offset, *size, *stride) if type(size) is type(stride) is tuple else (None,)
  if all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
    total = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=False))
    shape_is_sound = len(size) == len(stride) <= 8 and total <= count
    if shape_is_sound and (last < count if total else offset <= count):
      return
  raise UserError(
    f"expected {ascii(name)[:60]} within its storage of {count} numbers, got an offset, size or "
    f"stride outside; {ADVICE}."
  )
