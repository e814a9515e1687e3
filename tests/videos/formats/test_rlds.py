"""TFDS data sets by its own writer; tf.Example and TFRecord by protobuf's rules and others'."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.record_writer import RecordWriter

from tests.videos.clips import assert_one_sentence, check_episodes
from tests.videos.drawn import episode
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video, read_videos
from vipjax.videos.formats import rlds
from vipjax.videos.formats.rlds import parse_example, read_example, record_places

HERE = pathlib.Path(__file__).parent
DATA = HERE.parents[1] / "testdata"


def write_rlds(folder, file_format, *empty):
  # In a process of its own: it also must not need TensorFlow.
  command = [sys.executable, str(HERE.parent / "write_rlds.py"), str(folder), file_format, *empty]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
  """Folders of the RLDS data set by file format."""

  @functools.cache
  def find(file_format):
    if file_format == "tfrecord":
      return DATA / "rlds_tfrecord"
    return write_rlds(tmp_path_factory.mktemp(file_format), file_format)

  return find


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record", "parquet"])
def test_tfds(tfds_folder, file_format):
  folder = tfds_folder(file_format)
  check_episodes(folder, {"image": "top", "wrist_image": "wrist"}, exact=True)
  assert "train 1, image" in read_video(folder, view="image", episodes=[1]).source
  found = open_videos(folder, view="wrist_image", success=False)
  assert [video.metadata["episode"] for video in found] == [1]
  with pytest.raises(UserError) as error:
    read_videos(folder, view="depth")
  assert_one_sentence(error, "view='depth'", "view (image, wrist_image)")


@pytest.mark.parametrize(
  ("file_format", "empty"),
  [("array_record", "0"), ("array_record", "1"), ("parquet", "0"), ("tfrecord", "0")],
)
def test_episodes_without_steps_are_left_out(tmp_path, caplog, file_format, empty):
  if file_format == "tfrecord":
    (whole,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
    path = tmp_path / whole.name
    with contextlib.closing(RecordWriter(str(path))) as writer:
      writer.write(example(**{"steps/observation/image": field(1, b""), "steps/reward": b""}))
    # The empty one comes before all of the others.
    path.write_bytes(path.read_bytes() + whole.read_bytes())
    numbers = [1, 2, 3]
  else:
    path = write_rlds(tmp_path, file_format, empty)
    numbers = [number for number in range(3) if number != int(empty)]
  videos = read_videos(path, view="image")
  assert [video.episode for video in videos] == numbers
  assert f"train {empty} has no steps and is left out" in caplog.text
  for video in videos:
    drawn = episode("top", video.episode - (file_format == "tfrecord"))
    np.testing.assert_array_equal(video.frames, drawn)
  with pytest.raises(UserError) as error:
    read_videos(path, episodes=[int(empty)])
  assert_one_sentence(error, f"the episodes {empty} of", tmp_path, "got none")
  with pytest.raises(UserError) as error:
    read_videos(path, view="depth")
  assert_one_sentence(error, "view (image, wrist_image)")


def test_a_single_tfrecord_file():
  (file,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
  assert len(read_videos(file)) == 6


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("pattern", ["dataset_info.json", "*-00000-of-00001"])
def test_tfds_with_a_dead_link(tfds_folder, tmp_path, file_format, pattern):
  (info,) = tfds_folder(file_format).rglob("dataset_info.json")
  folder = shutil.copytree(info.parent, tmp_path / "set")
  (file,) = folder.glob(pattern)
  file.unlink()
  file.symlink_to("/nowhere")
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, file, "the dead link")


@pytest.mark.parametrize(
  ("pattern", "content"),
  [
    ("dataset_info.json", b"{"),
    ("features.json", b"{}"),
    ("*-00000-of-00001", b""),
    ("*-00000-of-00001", b"x" * 70_000),
  ],
)
def test_damaged_tfds(tfds_folder, tmp_path, pattern, content):
  (info,) = tfds_folder("array_record").rglob("dataset_info.json")
  folder = shutil.copytree(info.parent, tmp_path / "set")
  (file,) = folder.glob(pattern)
  file.write_bytes(content)
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, folder, "truncated or corrupt")


def test_episodes_that_are_not_wanted_are_not_read(monkeypatch):
  read = []
  monkeypatch.setattr(rlds, "read_example", _noting(read, read_example))
  videos = open_videos(DATA / "rlds_tfrecord", episodes=[2])
  assert len(videos) == 2 and len(read) == 2  # the first, for the names of the cameras
  videos[0][0], videos[1][0]
  assert len(set(read)) == 2


def _noting(calls, function):
  def noted(*arguments):
    calls.append(arguments)
    return function(*arguments)

  return noted


def test_several_tfds_data_sets_in_one_folder(tmp_path):
  for name in ("a", "b"):
    shutil.copytree(DATA / "rlds_tfrecord", tmp_path / name / "1.0.0")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path, "a/1.0.0, b/1.0.0")
  assert len(read_videos(tmp_path / "a")) == 6


# tf.Example and TFRecord.


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
