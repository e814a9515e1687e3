"""tf.Example and TFRecord, against messages by protobuf's rules and files by other writers."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from tensorboardX.record_writer import RecordWriter

from vipjax.runtime.errors import UserError
from vipjax.videos.tf_example import parse_example, read_example, record_places

DATA = pathlib.Path(__file__).parents[1] / "testdata"


def field(number, content):
  """A length-delimited field."""
  return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
  groups = []
  value &= (1 << 64) - 1
  while value >= 0x80:
    groups.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*groups, value])


def example(**features):
  entries = b"".join(
    field(1, field(1, name.encode()) + field(2, feature)) for name, feature in features.items()
  )
  return field(1, entries)


def test_every_kind_of_value():
  packed = np.array([1.5, -2.0], "<f4").tobytes()
  content = example(
    images=field(1, field(1, b"\x89PNG...") + field(1, b"") + field(1, b"x" * 300)),
    floats=field(2, field(1, packed)),
    unpacked=field(2, b"\x0d" + packed[:4] + b"\x0d" + packed[4:]),
    integers=field(3, field(1, varint(3) + varint(300) + varint(-7))),
    single=field(3, b"\x08" + varint(5)),
    nothing=b"",
    no_floats=field(2, b""),
  )
  found = parse_example(content)
  assert found["images"] == [b"\x89PNG...", b"", b"x" * 300]
  np.testing.assert_array_equal(found["floats"], [1.5, -2.0])
  np.testing.assert_array_equal(found["unpacked"], [1.5, -2.0])
  np.testing.assert_array_equal(found["integers"], [3, 300, -7])
  assert found["integers"].dtype == np.int64 and found["single"].tolist() == [5]
  assert found["nothing"] == [] and len(found["no_floats"]) == 0


@pytest.mark.parametrize(
  "content",
  [
    b"\x0a\x05abc",
    b"\x80",
    b"\x0b",
    b"\xff" * 12,
    b"\x08\x01",  # a number in the place of all features
    field(1, b"\x08\x01"),
    field(1, field(1, field(2, b""))),  # a feature without a name
    field(1, field(1, b"\x08\x01")),
  ],
)
def test_what_is_no_example(content):
  with pytest.raises(ValueError, match="no tf.Example"):
    parse_example(content)


def test_records_of_another_writer(tmp_path):
  contents = [example(a=field(1, field(1, bytes([n]) * n))) for n in (1, 200, 3)]
  path = tmp_path / "a.tfrecord"
  writer = RecordWriter(str(path))
  for content in contents:
    writer.write(content)
  writer.close()
  places = record_places(path)
  assert [length for _, length in places] == [len(content) for content in contents]
  assert read_example(path, places[1])["a"] == [bytes([200]) * 200]
  assert read_example(path, places[0])["a"] == [b"\x01"]


def test_as_grain_reads_them():
  grain = pytest.importorskip("grain")
  (path,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
  whole = path.read_bytes()
  ours = [whole[start : start + length] for start, length in record_places(path)]
  assert ours == list(grain.experimental.TFRecordIterDataset(str(path)))


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_file_cut_short(tmp_path, cut):
  (path,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
  (tmp_path / "a.tfrecord").write_bytes(path.read_bytes()[:-cut])
  with pytest.raises(UserError, match="ends in the middle of a record"):
    record_places(tmp_path / "a.tfrecord")
