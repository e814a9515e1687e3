"""Reads the pickle inside a PyTorch archive without unpickling it.

A pickle is a program for a stack machine, and Python's unpickler runs it, which means that it may
call anything. Here the opcodes are only decoded (by `pickletools.genops`, which executes nothing)
and a dozen of them interpreted over plain dicts, lists, tuples and numbers. The names that a state
dict needs become inert records; every other opcode or name ends in a UserError.
"""

from __future__ import annotations

import dataclasses
import pickletools
import warnings
from typing import Any

from vipjax.runtime.errors import UserError

# Storage classes of PyTorch -> numpy's type codes; bfloat16 has none and is handled by name.
STORAGES = {
  "FloatStorage": "f4",
  "DoubleStorage": "f8",
  "HalfStorage": "f2",
  "BFloat16Storage": "bfloat16",
  "LongStorage": "i8",
}
GLOBALS = {
  ("collections", "OrderedDict"),
  ("torch._utils", "_rebuild_tensor_v2"),
  ("torch._utils", "_rebuild_parameter"),
  *(("torch", name) for name in STORAGES),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXT = {
  "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
  "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MAX_OPCODES = 2_000_000  # a ResNet-50 needs about 20,000


@dataclasses.dataclass(frozen=True)
class Storage:
  """Where a tensor's numbers lie: record name in the archive, type, how many."""

  key: str
  kind: str
  count: int


@dataclasses.dataclass(frozen=True)
class TensorRecord:
  """A tensor as the pickle describes it; nothing of it is checked yet."""

  storage: Storage
  offset: Any
  size: Any
  stride: Any


@dataclasses.dataclass(frozen=True)
class _Global:
  module: str
  name: str


_MARK = object()


def decode(data: bytes) -> Any:
  """Decodes the pickle of a state dict.

  Args:
    data: the bytes of `data.pkl`.

  Returns:
    Dicts (keys are text), lists, tuples, numbers, text, None and `TensorRecord`s.

  Raises:
    UserError: an opcode or a name that a state dict does not need, or a damaged pickle.
  """
  machine = _Machine()
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # genops warns of odd backslashes in names
      for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > MAX_OPCODES:
          raise UserError(
            f"Expected a state dict of fewer than {MAX_OPCODES} pickle opcodes, got more: the "
            "file is not a VIP checkpoint, fetch it again."
          )
        machine.step(opcode.name, argument)
  except UserError:
    raise
  except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
    # genops reports damage by ValueError; the others come from a stack or memo used wrongly.
    detail = f"{type(error).__name__}: {ascii(str(error))[:120]}"
    raise UserError(
      f"Expected the pickle of a state dict, got a damaged one ({detail}): fetch the file again."
    ) from None
  if len(machine.stack) != 1 or not machine.stopped:
    raise UserError(
      "Expected the pickle of a state dict, got one that ends early: fetch the file again."
    )
  return machine.stack[0]


class _Machine:
  """The stack machine: stack, memo, and one method per group of opcodes."""

  def __init__(self):
    self.stack: list[Any] = []
    self.memo: dict[int, Any] = {}
    self.stopped = False

  def step(self, name: str, argument: Any) -> None:
    stack = self.stack
    if name in ("PROTO", "FRAME"):
      return
    if name == "STOP":
      self.stopped = True
    elif name in NUMBERS_AND_TEXT:
      stack.append(argument)
    elif name in CONSTANTS:
      stack.append(CONSTANTS[name])
    elif name == "MARK":
      stack.append(_MARK)
    elif name == "EMPTY_DICT":
      stack.append({})
    elif name == "EMPTY_LIST":
      stack.append([])
    elif name in TUPLES:
      stack.append(tuple(self._pop_many(TUPLES[name])))
    elif name == "TUPLE":
      stack.append(tuple(self._pop_to_mark()))
    elif name in ("BINPUT", "LONG_BINPUT"):
      self.memo[argument] = stack[-1]
    elif name == "MEMOIZE":
      self.memo[len(self.memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
      stack.append(self.memo[argument])
    elif name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD"):
      self._fill(name)
    else:
      self._name_or_call(name, argument)

  def _pop_many(self, count: int) -> list[Any]:
    if len(self.stack) < count:
      raise IndexError("stack underflow")
    items = self.stack[len(self.stack) - count :]
    del self.stack[len(self.stack) - count :]
    return items

  def _pop_to_mark(self) -> list[Any]:
    items = []
    while (item := self.stack.pop()) is not _MARK:
      items.append(item)
    return items[::-1]

  def _fill(self, name: str) -> None:
    """Opcodes that put items into the container below them."""
    items = self._pop_to_mark() if name in ("SETITEMS", "APPENDS") else None
    if name == "SETITEM":
      items = self._pop_many(2)
    elif name in ("APPEND", "BUILD"):
      items = self._pop_many(1)
    target = self.stack[-1]
    if name == "BUILD":  # attributes of an OrderedDict (`_metadata`): not needed, dropped
      if type(target) is not dict:
        raise TypeError("attributes for something else than a dict")
    elif name.startswith("SETITEM"):
      if type(target) is not dict or len(items) % 2:
        raise TypeError("items for something else than a dict")
      for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str:
          raise TypeError("a key that is not text")
        target[key] = value
    else:
      if type(target) is not list:
        raise TypeError("items for something else than a list")
      target.extend(items)

  def _name_or_call(self, name: str, argument: Any) -> None:
    if name == "GLOBAL":
      self.stack.append(_allowed(*argument.split(" ", 1)))
    elif name == "STACK_GLOBAL":
      self.stack.append(_allowed(*self._pop_many(2)))
    elif name == "BINPERSID":
      self.stack.append(_storage(self.stack.pop()))
    elif name == "REDUCE":
      function, arguments = self._pop_many(2)
      self.stack.append(_call(function, arguments))
    else:
      raise UserError(
        f"Expected the pickle of a state dict, got one with the opcode {name}, which a state dict "
        "does not need and which is therefore refused: pass the model.pt that VIP released."
      )


def _allowed(module: Any, name: Any) -> _Global:
  if (module, name) not in GLOBALS:
    raise UserError(
      "Expected a state dict of tensors only, got a pickle that asks for "
      f"{ascii(module)[:60]} {ascii(name)[:60]}, which is refused and was not run: pass the "
      "model.pt that VIP released."
    )
  return _Global(module, name)


def _storage(identity: Any) -> Storage:
  """('storage', storage class, key, device, count) -> Storage."""
  if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
    raise TypeError("a persistent id that is no storage")
  _, kind, key, _, count = identity
  if type(kind) is not _Global or kind.name not in STORAGES or type(key) is not str:
    raise TypeError("a storage of unknown type")
  if type(count) is not int or count < 0:
    raise TypeError("a storage with a wrong count")
  return Storage(key, kind.name, count)


def _call(function: Any, arguments: Any) -> Any:
  """The three calls that a state dict makes, each done by hand."""
  if type(function) is not _Global or type(arguments) is not tuple:
    raise TypeError("a call of something else than a function")
  if function.name == "OrderedDict" and not arguments:
    return {}
  if function.name == "_rebuild_tensor_v2" and len(arguments) in (6, 7):
    if type(arguments[0]) is not Storage:
      raise TypeError("a tensor without storage")
    return TensorRecord(*arguments[:4])
  if function.name == "_rebuild_parameter" and len(arguments) == 3:
    if type(arguments[0]) is not TensorRecord:
      raise TypeError("a parameter without tensor")
    return arguments[0]
  raise TypeError(f"a call of {function.name} with {len(arguments)} arguments")
