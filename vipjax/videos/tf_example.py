"""TFRecord files of tf.Example messages, read without TensorFlow.

A TFRecord file is a row of records: length (uint64), its checksum (uint32), contents, their
checksum (uint32), little-endian. A tf.Example is a protocol buffer: a map from names to lists of
bytes, floats or integers. Both formats are fixed for good; this is all of them that is needed.
"""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from vipjax.videos.access import damaged, decoding

Features = dict[str, "list[bytes] | np.ndarray"]

_HEADER, _FOOTER = 12, 4  # bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def record_places(path: pathlib.Path) -> list[tuple[int, int]]:
  """(offset, length) in bytes of each record of a TFRecord file; its contents are passed over.

  Raises:
    UserError: the file ends in the middle of a record.
  """
  places, size = [], path.stat().st_size
  with decoding(path), path.open("rb") as file:
    offset = 0
    while offset < size:
      file.seek(offset)
      header = file.read(_HEADER)
      if len(header) < _HEADER:
        raise damaged(path, "it ends in the middle of a record")
      (length,) = struct.unpack("<Q", header[:8])
      places.append((offset + _HEADER, length))
      offset += _HEADER + length + _FOOTER
    if offset != size:
      raise damaged(path, "it ends in the middle of a record")
  return places


def read_example(path: pathlib.Path, place: tuple[int, int]) -> Features:
  """The tf.Example at a place that `record_places` gave; raises UserError where there is none."""
  with decoding(path), path.open("rb") as file:
    file.seek(place[0])
    return parse_example(file.read(place[1]))


def parse_example(content: bytes) -> Features:
  """Decodes a tf.Example.

  Returns:
    By name: a list of bytes, or float32 [N], or int64 [N]; an empty list where there is no value.

  Raises:
    ValueError: it is none.
  """
  features: Features = {}
  try:
    for number, value in _fields(content):
      if number == 1:  # Example.features
        for number, entry in _fields(value):
          if number == 1:  # Features.feature, a map
            parts = dict(_fields(entry))
            features[bytes(memoryview(parts[1])).decode()] = _feature(parts.get(2, b""))
  except (
    KeyError,
    TypeError,
  ) as error:  # A name is missing, or a number is where a message belongs.
    raise ValueError("no tf.Example: its fields are of other kinds") from error
  return features


def _feature(message) -> list[bytes] | np.ndarray:
  """A list of bytes (field 1), floats (2) or integers (3)."""
  for number, values in _fields(message):
    if number == 1:
      return [bytes(memoryview(value)) for _, value in _fields(values)]
    if number == 2:
      # Packed into one block, or, by old writers, one by one.
      return np.concatenate(
        [np.frombuffer(value, "<f4") for _, value in _fields(values)] or [np.zeros(0, "<f4")]
      )
    if number == 3:
      integers: list[int] = []
      for _, value in _fields(values):
        integers += [value] if isinstance(value, int) else list(_varints(value))
      return np.array(integers, np.uint64).astype(np.int64)
  return []


def _fields(message) -> Iterator[tuple[int, memoryview | int]]:
  """(number, value) of each field of a message: an integer, or the bytes of the others."""
  message, position = memoryview(message), 0
  while position < len(message):
    tag, position = _varint(message, position)
    number, wire = tag >> 3, tag & 7
    if wire == _VARINT:
      value, position = _varint(message, position)
      yield number, value
      continue
    if wire == _BYTES:
      length, position = _varint(message, position)
    elif wire in (_FIXED64, _FIXED32):
      length = 8 if wire == _FIXED64 else 4
    else:
      raise ValueError(f"no tf.Example: wire type {wire}")
    if position + length > len(message):
      raise ValueError("no tf.Example: a field is longer than its message")
    yield number, message[position : position + length]
    position += length


def _varints(block: memoryview) -> Iterator[int]:
  position = 0
  while position < len(block):
    value, position = _varint(block, position)
    yield value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
  """A number in groups of seven bits, the least first; and the position after it."""
  value = shift = 0
  while True:
    if position >= len(message) or shift > 63:
      raise ValueError("no tf.Example: a number does not end")
    byte = message[position]
    position += 1
    value |= (byte & 0x7F) << shift
    if byte < 0x80:
      return value & 0xFFFFFFFFFFFFFFFF, position
    shift += 7
