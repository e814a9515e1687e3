"""Reads the pickle inside a PyTorch archive with an unpickler that can build nothing but records.

A pickle is a program for a stack machine. The standard library's unpickler, the one in Python,
runs it here with only the opcodes that a state dict needs. The few names that a state dict asks for
stand for functions of this module: nothing is imported, and no object has a state to be set.

`pickle.Unpickler`, which is in C, is not as safe, whatever its `find_class` refuses, because none
of its opcodes can be taken away (measured on CPython 3.11, 3.12 and 3.13):
- its memo is an array as long as the largest index: the 7 bytes `}r\\xff\\xff\\xff\\x07.` take
  2 GiB, a larger index up to 64;
- a megabyte of nested tuples as a dict's key overflows the stack while it is hashed, and ends the
  process;
- BUILD sets `__defaults__` of the functions that `find_class` returns;
- names of the extension registry need not go through `find_class`.
"""

from __future__ import annotations

import functools
import io
import pickle
import struct
from typing import Any, NamedTuple

from vipjax.runtime.errors import UserError

# Storage classes of PyTorch -> numpy's type codes; bfloat16 has none and is handled by name.
STORAGES = {
  "FloatStorage": "f4",
  "DoubleStorage": "f8",
  "HalfStorage": "f2",
  "BFloat16Storage": "bfloat16",
  "LongStorage": "i8",
}
# The opcodes of such a pickle, in any protocol.
_OPCODES = """
  PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
  BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
  EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BUILD BINPUT LONG_BINPUT MEMOIZE
  BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BINPERSID
"""


class Storage(NamedTuple):
  """Where a tensor's numbers lie: record name in the archive, type, how many."""

  key: str
  kind: str
  count: int


class TensorRecord(NamedTuple):
  """A tensor as the pickle describes it; all but the storage is still unchecked."""

  storage: Storage
  offset: Any
  size: Any
  stride: Any


def decode(data: bytes) -> Any:
  """Decodes the pickle of a state dict.

  Args:
    data: the bytes of `data.pkl`; memory and time grow with their number alone.

  Returns:
    Dicts (keys are text), lists, tuples, numbers, text, None and `TensorRecord`s.

  Raises:
    UserError: an opcode or a name that a state dict does not need, or a damaged pickle.
  """
  unpickler = _StateDictUnpickler(io.BytesIO(data))
  try:
    payload = unpickler.load()
    if unpickler.stack or unpickler.metastack:
      raise ValueError("more than one object")
    return payload
  except UserError:
    raise
  except (
    pickle.UnpicklingError, struct.error, EOFError, ValueError, IndexError, KeyError, TypeError,
    AttributeError, OverflowError,
  ) as error:  # fmt: skip
    detail = f"{type(error).__name__}: {ascii(str(error))[:120]}"
    raise UserError(
      f"expected the pickle of a state dict, got a damaged one ({detail}); fetch the file again."
    ) from None


def _codes(names: str) -> list[int]:
  return [getattr(pickle, name)[0] for name in names.split()]


def _refuse(code: int, unpickler: pickle._Unpickler) -> None:
  raise UserError(
    f"expected the pickle of a state dict, got one with the opcode {bytes([code])}, which a state "
    "dict does not need and which is therefore refused; pass the model.pt that VIP released."
  )


class _StateDictUnpickler(pickle._Unpickler):
  """Python's unpickler with fewer opcodes, stricter about keys, calls and attributes."""

  def find_class(self, module: Any, name: Any) -> Any:
    if module == "torch" and name in STORAGES:
      return name
    if (module, name) not in _CALLS:
      raise UserError(
        f"expected a state dict of tensors only, got a pickle that asks for {ascii(module)[:60]} "
        f"{ascii(name)[:60]}, which is refused and was not run; pass the model.pt that VIP "
        "released."
      )
    return _CALLS[module, name]

  def persistent_load(self, pid: Any) -> Storage:
    """('storage', storage class, key, device, count) -> Storage."""
    if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
      raise TypeError("a persistent id that is no storage")
    _, kind, key, _, count = pid
    # The type first: what is not text is never hashed.
    if type(kind) is not str or kind not in STORAGES or type(key) is not str:
      raise TypeError("a storage of unknown type")
    if type(count) is not int or count < 0:
      raise TypeError("a storage with a wrong count")
    return Storage(key, kind, count)

  def set_items(self, items: list[Any]) -> None:
    if type(self.stack[-1]) is not dict or any(type(key) is not str for key in items[::2]):
      raise TypeError("items for something else than a dict of text")
    self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

  def set_item(self) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    self.set_items([key, value])

  def build(self) -> None:
    """Drops the attributes of an OrderedDict (`_metadata`), which are not needed."""
    self.stack.pop()
    if type(self.stack[-1]) is not dict:
      raise TypeError("attributes for something else than a dict")

  dispatch = {
    **{code: functools.partial(_refuse, code) for code in range(256)},
    **{code: pickle._Unpickler.dispatch[code] for code in _codes(_OPCODES)},
    pickle.SETITEM[0]: set_item,
    pickle.SETITEMS[0]: lambda self: self.set_items(self.pop_mark()),
    pickle.BUILD[0]: build,
  }


def _ordered_dict() -> dict[str, Any]:
  return {}


def _rebuild_tensor(storage, offset, size, stride, gradient, hooks, metadata=None) -> TensorRecord:
  if type(storage) is not Storage:
    raise TypeError("a tensor without storage")
  return TensorRecord(storage, offset, size, stride)


def _rebuild_parameter(tensor, gradient, hooks) -> TensorRecord:
  if type(tensor) is not TensorRecord:
    raise TypeError("a parameter without tensor")
  return tensor


_CALLS = {
  ("collections", "OrderedDict"): _ordered_dict,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
