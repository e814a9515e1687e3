"""Pickles that were made to harm: each is refused, or costs no more than its bytes."""

import tracemalloc

import pytest

from tests.encoder.seeded import assert_one_sentence
from vipjax.encoder.weights.torch_pickle import decode
from vipjax.runtime.errors import UserError

DEEP = b")" + b"\x85" * 100_000  # a tuple in a tuple in ...
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
HUGE = (2**40).to_bytes(8, "little")


@pytest.mark.parametrize(
  "data",
  [
    b"cbuiltins\neval\n(X\x01\0\0\x001tR.",
    b"cos\nsystem\n.",
    b"(X\x04\0\0\0exitibuiltins\nexec\n.",  # INST
    b"(ccollections\nOrderedDict\no.",  # OBJ
    b"ccollections\nOrderedDict\n)\x81.",  # NEWOBJ
    b"\x82\x01.",  # a name of the extension registry
    b"ctorch\nload\n.",
    b"ctorch\n\\hload\n.",  # an escape that Python warns of
    b"ctorch\nFloatStorage.__add__\n.",  # a dotted name
    b"}2.",  # DUP
    b"S'text'\n.",  # STRING
    b"P0\n.",  # a persistent id in text
    b"\x8e" + HUGE + b".",  # BINBYTES8 that wants a terabyte
    b"\x96" + HUGE + b".",  # BYTEARRAY8
    b"\x8d" + HUGE + b".",  # BINUNICODE8
    b"\x95" + HUGE + b"}K\x01s.",  # a frame of that length
    b"\x8b\xff\xff\xff\x7f.",  # LONG4
    b"L" + b"9" * 5000 + b"L\n.",
    b"]\x94h\x05.",  # memo that was never stored
    b"r\xff\xff\xff\xff.",  # a huge memo index over an empty stack
    b"R.",
    b".",
    b"}",
    b"}}.",  # one object too many
    b"}(.",
    b"]K\x01K\x02s.",
    b"}K\x01K\x02s.",  # a key that is no text
    b"}(K\x01K\x02u.",
    b"}(X\x01\0\0\x001u.",  # a key without a value
    b"}" + DEEP + b"Ns.",  # a key whose hash would overflow the stack
    b"\x8f(" + DEEP + b"\x90.",  # the same in a set
    b"ccollections\nOrderedDict\n]\x85R.",  # a copy of a list for each call
    b"ctorch\nFloatStorage\n)R.",
    TENSOR + b"(" + b"N" * 6 + b"tR.",
    TENSOR + STORAGE + b"R.",
    TENSOR + b"}X\x01\0\0\0aK\x01sb.",  # BUILD would set attributes of a function,
    TENSOR + b"N}X\x0c\0\0\0__defaults__)s\x86b.",
    STORAGE + b"N}X\x05\0\0\0countK\x07s\x86b.",  # or of a record that was checked
    b"K\x01Q.",
    DEEP + b"Q.",
    STORAGE.replace(b"ctorch\nFloatStorage\n", DEEP) + b".",
    STORAGE.replace(b"K\x06", b"J\xff\xff\xff\xff") + b".",
    b"X\xff\xff\xff\xff.",
  ],
)
def test_pickles_that_no_state_dict_needs_are_refused(data):
  tracemalloc.start()
  try:
    with pytest.raises(UserError) as error:
      decode(b"\x80\x02" + data)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert_one_sentence(error)
  assert peak < 100_000 + 100 * len(data)


def test_deep_nesting_ends_well():
  nested, depth = decode(b"\x80\x02" + DEEP + b"."), 0
  while nested:
    (nested,), depth = nested, depth + 1
  assert (nested, depth) == ((), 100_000)


def test_a_large_memo_index_costs_no_memory():
  tracemalloc.start()
  assert decode(b"\x80\x02}r\xff\xff\xff\x7f.") == {}  # PyTorch counts from 0
  assert tracemalloc.get_traced_memory()[1] < 100_000
  tracemalloc.stop()
