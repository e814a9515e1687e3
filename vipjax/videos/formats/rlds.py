"""Episodes of TFDS data sets, RLDS ones (Open X-Embodiment) among them, and of bare TFRecords.

Whatever the file format, an episode becomes one flat record of names and lists, such as
"steps/observation/image": encoded images. Its cameras are found by their contents.

Written are data sets in array_record or parquet. TensorFlow is not needed for any of it, but only
TensorFlow writes TFRecord.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import os
import pathlib
import re
import shutil
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.videos.access import damaged, decoding, listed, natural_key
from vipjax.videos.formats.episodes import SCALARS, Columns, Episode, check_new, columns_of
from vipjax.videos.images import decode_images
from vipjax.videos.lazy import LazyVideo
from vipjax.videos.selection import ROBOT_FREE, Selection

INFO = "dataset_info.json"
# Begins the names of the columns that labels are written to.
LABEL_PREFIX = "embedding_"

_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8")  # png, jpg
_TASKS = ("language_instruction", "natural_language_instruction", "instruction", "task", "language")
# What is known of each step, beside pictures.
_STEPS = {
  "state": "steps/observation/state", "action": "steps/action", "reward": "steps/reward",
  "discount": "steps/discount",
}  # fmt: skip
_SPLIT = re.compile(r"-(?P<split>[^-]+)\.tfrecord")
# A TFRecord file is a row of records: length (uint64), its checksum (uint32), contents, their
# checksum (uint32), little-endian.
_HEADER, _FOOTER = 12, 4  # bytes
_UNKNOWN = ""


# Reading.


class Records:
  """The episodes of a data set, each a flat record, in any order of access.

  Attributes:
    name: the data set's name in messages.
    splits: (name of the split, position in it) of each episode.
    read: the record of an episode by its index.
  """

  def __init__(
    self, name: str, splits: list[tuple[str, int]], read: Callable[[int], dict[str, Any]]
  ):
    self.name, self.splits, self.read = name, splits, read

  def place(self, index: int) -> str:
    """An episode's name in messages."""
    split, position = self.splits[index]
    return f"{self.name}, {split} {position}"


def _records_of_files(files: Sequence[pathlib.Path], name: str) -> Records:
  """The episodes in TFRecord files."""
  places = [(file, place) for file in files for place in record_places(file)]
  splits, counts = [], collections.Counter()
  for file, _ in places:
    match = _SPLIT.search(file.name)
    split = match["split"] if match else "train"
    splits.append((split, counts[split]))
    counts[split] += 1
  return Records(name, splits, lambda index: read_example(*places[index]))


def _records_of_dataset(folder: pathlib.Path) -> Records:
  """The episodes of a data set that tensorflow_datasets reads (array_record, parquet)."""
  import tensorflow_datasets as tfds  # Here: it takes seconds.

  raw = tfds.decode.DeserializeMethod.RAW_BYTES
  with _reading(folder):
    builder = tfds.builder_from_directory(folder)
    splits = [
      (name, position)
      for name in _split_names(builder)
      for position in range(builder.info.splits[name].num_examples)
    ]
  source = functools.cache(lambda split: builder.as_data_source(split, deserialize_method=raw))

  def read(index: int) -> dict[str, Any]:
    split, position = splits[index]
    with _reading(folder):
      return parse_example(source(split)[position])

  return Records(str(folder), splits, read)


@contextlib.contextmanager
def _reading(folder: pathlib.Path) -> Iterator[None]:
  """Turns errors of any kind, which tfds passes on from its readers, into a sentence."""
  try:
    yield
  except Exception as error:
    raise damaged(folder, str(error)) from error


def _split_names(builder: Any) -> list[str]:
  """The splits of a data set in the order that numbers its episodes."""
  return sorted(builder.info.splits, key=lambda name: name != "train")


def record_places(path: pathlib.Path) -> list[tuple[int, int]]:
  """(offset, length) in bytes of each record of a TFRecord file; its contents are passed over.

  Raises:
    UserError: the file ends in the middle of a record.
  """
  places, offset, size = [], 0, path.stat().st_size
  with decoding(path), path.open("rb") as file:
    while offset < size:
      file.seek(offset)
      header = file.read(_HEADER)
      length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER else size
      places.append((offset + _HEADER, length))
      offset += _HEADER + length + _FOOTER
    if offset != size:
      raise damaged(path, "it ends in the middle of a record")
  return places


def read_example(path: pathlib.Path, place: tuple[int, int]) -> dict[str, list[bytes] | np.ndarray]:
  """The tf.Example at a place that `record_places` gave; raises UserError where there is none."""
  with decoding(path), path.open("rb") as file:
    file.seek(place[0])
    return parse_example(file.read(place[1]))


def parse_example(content: bytes | memoryview) -> dict[str, list[bytes] | np.ndarray]:
  """Decodes a tf.Example.

  Returns:
    By name: a list of bytes, or float32 [N], or int64 [N]; an empty list where there is no value.

  Raises:
    ValueError: it is none.
  """
  from tensorflow_datasets.proto import tf_example_pb2  # Here: it takes seconds.

  try:
    features = tf_example_pb2.Example.FromString(content).features.feature
  except Exception as error:  # protobuf's own, which comes with tensorflow-datasets.
    raise ValueError(f"no tf.Example: {error}") from error
  # Protocol buffers pass over fields of other types than they expect.
  if not features or "" in features:
    raise ValueError("no tf.Example: it has no names")
  return {name: _values_of(feature) for name, feature in features.items()}


def _values_of(feature: Any) -> list[bytes] | np.ndarray:
  match feature.WhichOneof("kind"):
    case "float_list":
      return np.array(feature.float_list.value, np.float32)
    case "int64_list":
      return np.array(feature.int64_list.value, np.int64)
    case _:
      return list(feature.bytes_list.value)


class _EpisodeVideo(LazyVideo):
  """One camera of one episode; of its record all is kept but the images."""

  def __init__(
    self, records: Records, index: int, record: Mapping[str, Any], camera: str, view: str
  ):
    self._records, self._index, self._camera = records, index, camera
    self.length = len(record.get(camera, ()))
    name = view.removesuffix(ROBOT_FREE)
    rate, success = _values(record, "fps"), _values(record, "success")
    super().__init__({
      "fps": float(rate[0]) if rate and float(rate[0]) > 0 else None,
      "task": next(filter(None, (_text(record, name) for name in _TASKS)), None),
      "embodiment": _text(record, "embodiment"),
      "view": name,
      "robot_visible": None if name == view else False,
      # Of the episode, or of any of its steps.
      "success": bool(np.any(success)) if success else None,
      "source": f"{records.place(index)}, {view}",
      "episode": index,
    })  # fmt: skip

  def decode(self, positions: Sequence[int]) -> Iterable[np.ndarray]:
    images = self._records.read(self._index)[self._camera]
    return decode_images([images[position] for position in positions], self.metadata["source"])

  def steps(self) -> dict[str, np.ndarray]:
    record = self._records.read(self._index)
    found = {}
    for name, key in _STEPS.items():
      values = record.get(key, ())
      if isinstance(values, np.ndarray) and len(values) and len(values) % self.length == 0:
        found[name] = values.astype(np.float32).reshape(self.length, -1)
    return {name: x[:, 0] if name in SCALARS else x for name, x in found.items()}


def find_dataset(folder: pathlib.Path) -> pathlib.Path | None:
  """The folder of a TFDS data set: this one, or the only one in it (NAME/VERSION); else None.

  Raises:
    UserError: there are several.
  """
  if os.path.lexists(folder / INFO):  # Be it a dead link.
    return folder
  found = sorted([*folder.glob(f"*/{INFO}"), *folder.glob(f"*/*/{INFO}")])
  if len(found) > 1:
    names = ", ".join(str(path.parent.relative_to(folder)) for path in found[:4])
    raise UserError(f"expected one TFDS data set in {folder}, got {names}; pass one of them.")
  return found[0].parent if found else None


def dataset_videos(path: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos of a TFDS data set or of one TFRecord file: all its episodes, camera by camera.

  Episodes without steps are left out, with a warning; the others keep their numbers.
  """
  entries = [path] if path.is_file() else listed(path)
  for entry in entries:
    refuse_stand_ins(entry)
  files = [entry for entry in entries if ".tfrecord" in entry.name]
  records = _records_of_files(files, str(path)) if files else _records_of_dataset(path)
  if not records.splits:
    raise UserError(f"expected at least one episode in {records.name}, got none; record one.")
  first, cameras = _first_steps(records)
  views = _short_names(cameras)
  wanted = {
    camera: view
    for camera, view in views.items()
    if selection.wants_view(view.removesuffix(ROBOT_FREE))
  }
  episodes = [index for index in range(len(records.splits)) if selection.wants_episode(index)]
  # Nothing left: from all of them the message tells what there is.
  wanted, episodes = (wanted, episodes) if wanted and episodes else (views, episodes or [first])
  found = []
  for index in episodes:
    record = records.read(index)
    videos = [
      _EpisodeVideo(records, index, record, camera, view) for camera, view in wanted.items()
    ]
    kept = [video for video in videos if video.length]
    if not kept:
      logging.warning("%s has no steps and is left out.", records.place(index))
    elif len(kept) < len(videos):
      names = ", ".join(video.metadata["view"] for video in videos if not video.length)
      logging.warning("%s has no frames of %s, which are left out.", records.place(index), names)
    found += kept
  if not found:
    raise UserError(
      f"expected frames in the episodes {', '.join(map(str, episodes[:8]))} of {records.name}, got "
      "none; choose others, or record some."
    )
  return found


def _first_steps(records: Records) -> tuple[int, list[str]]:
  """The first episode with steps, and the names of its cameras."""
  names: set[str] = set()
  for index in range(len(records.splits)):
    record = records.read(index)
    cameras = sorted((name for name in record if _is_camera(name, record[name])), key=natural_key)
    if cameras:
      return index, cameras
    names |= set(record)
    if any(name.startswith("steps/") and len(record[name]) for name in record):
      break
  raise UserError(
    f"expected encoded images in the episodes of {records.name}, got "
    f"{', '.join(sorted(names)[:8])}; pass a data set with cameras."
  )


def _is_camera(name: str, values: Any) -> bool:
  is_depth = "depth" in name.rsplit("/", 1)[-1]
  return (
    isinstance(values, list)
    and bool(values)
    and not is_depth
    and isinstance(values[0], bytes)
    and values[0].startswith(_IMAGE_STARTS)
  )


def _short_names(cameras: Sequence[str]) -> dict[str, str]:
  """The last part of each name, or all of it where two would be called the same."""
  last = [camera.rsplit("/", 1)[-1] for camera in cameras]
  return {
    camera: name if last.count(name) == 1 else camera
    for camera, name in zip(cameras, last, strict=True)
  }


def _values(record: Mapping[str, Any], name: str) -> list[Any]:
  """The values under the first name whose last part is this one."""
  return next((list(record[key]) for key in sorted(record) if key.rsplit("/", 1)[-1] == name), [])


def _text(record: Mapping[str, Any], name: str) -> str | None:
  values = (value for value in _values(record, name) if isinstance(value, bytes) and value)
  return next((value.decode(errors="replace") for value in values), None)


# Writing.


def write_tfds(folder: pathlib.Path, episodes: Sequence[Episode]) -> None:
  """Writes episodes in RLDS layout: array_record files, `features.json`, `dataset_info.json`.

  Where episodes have steps, so have these: `observation/state`, `action`, `reward`, `discount`.

  Args:
    folder: is not there yet; `tfds.builder_from_directory` will take it.
    episodes: as `by_episode` gives them.
  """
  from tensorflow_datasets import features

  knows_success = all(episode.first.success is not None for episode in episodes)
  cameras = {
    name: features.Image(shape=video.frames.shape[1:], encoding_format="png")
    for name, video in episodes[0].cameras.items()
  }
  flag = features.Scalar(dtype=np.bool_)
  numbers = {
    name: features.Tensor(shape=values.shape[1:], dtype=np.float32)
    for name, values in episodes[0].steps.items()
  }
  state = {"state": numbers.pop("state")} if numbers else {}
  step = {
    "observation": {**cameras, **state},
    **numbers,
    **dict.fromkeys(("is_first", "is_last", "is_terminal"), flag),
    "language_instruction": features.Text(),
  }
  metadata = {
    "episode_id": features.Scalar(dtype=np.int64),
    "embodiment": features.Text(),
    "fps": features.Scalar(dtype=np.float32),
    "source": features.Text(),
    # Only where it is known of every episode: 0 would say that it failed.
    **({"success": flag} if knows_success else {}),
  }

  def example(episode: Episode) -> dict[str, Any]:
    video = episode.first
    known = {
      "episode_id": episode.number,
      "embodiment": video.embodiment or _UNKNOWN,
      "fps": np.float32(video.fps),
      "source": video.source,
      **({"success": bool(video.success)} if knows_success else {}),
    }
    return {"steps": list(_steps(episode)), "episode_metadata": known}

  _write(
    folder,
    "vipjax_episodes",
    {"steps": features.Dataset(step), "episode_metadata": metadata},
    {"train": map(example, episodes)},
    "array_record",
    "Videos of robot episodes, recorded by vipjax.",
    "Recorded by vipjax.",
  )


def _steps(episode: Episode) -> Iterator[dict[str, Any]]:
  for time in range(len(episode)):
    is_last = time == len(episode) - 1
    numbers = {name: values[time] for name, values in episode.steps.items()}
    state = {"state": numbers.pop("state")} if numbers else {}
    images = {name: _png(video.frames[time]) for name, video in episode.cameras.items()}
    yield {
      "observation": {**images, **state},
      **numbers,
      "is_first": time == 0,
      "is_last": is_last,
      # Success ends an episode for good, a time limit does not.
      "is_terminal": is_last and bool(episode.first.success),
      "language_instruction": episode.first.task or _UNKNOWN,
    }


def _png(frame: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(frame).save(buffer, "PNG")
  return buffer.getvalue()


def _write(
  folder: pathlib.Path,
  name: str,
  features: Mapping[str, Any],
  splits: Mapping[str, Iterable[Any]],
  file_format: Any,
  description: str,
  notes: str,
) -> None:
  """Writes the examples of each split right into a new folder."""
  import tensorflow_datasets as tfds

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION, RELEASE_NOTES = tfds.core.Version("1.0.0"), {"1.0.0": notes}
    # Where TFDS looks for a description of its own; it must be a folder.
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
      return tfds.core.DatasetInfo(
        builder=self,
        description=description,
        features=tfds.features.FeaturesDict(features),
        disable_shuffling=True,
      )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
      return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(self, examples: Iterable[Any]) -> Iterator[tuple[int, Any]]:
      yield from enumerate(examples)

  Builder.name = name
  root = folder.with_name(f"{folder.name}.tfds")
  try:
    builder = Builder(data_dir=root, file_format=file_format)
    # It prints that it downloads the data set, which is being written.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      builder.download_and_prepare()
    shutil.move(str(builder.data_path), folder)
  finally:
    shutil.rmtree(root, ignore_errors=True)


# Labelling.


def check_columns(source: pathlib.Path, names: Collection[str]) -> None:
  """Refuses a data set that cannot be copied with columns of these names in its steps.

  Raises:
    UserError: no steps to put them into, columns that are there already, or TFRecord.
  """
  import tensorflow_datasets as tfds

  features = tfds.builder_from_directory(source).info.features
  if "steps" not in features or not isinstance(features["steps"], tfds.features.Dataset):
    raise UserError(
      f"expected an RLDS data set with 'steps' in {source}, got another; write a csv."
    )
  if any(source.glob("*.tfrecord*")):
    raise UserError(
      f"expected array_record or parquet in {source}, got TFRecord, which only TensorFlow writes; "
      "write a csv, or convert it with tfds convert_format."
    )
  check_new(names, features["steps"].feature, source)


def copy_with_columns(source: pathlib.Path, out: pathlib.Path, columns: Columns) -> None:
  """Writes a copy, in array_record or parquet as the source, with columns of float32 in its steps.

  Args:
    source: the folder of the data set's version; it stays as it is.
    out: a folder that is not there yet, which `tfds.builder_from_directory` will take.
    columns: of every episode with steps, by its position in the data set.

  Raises:
    UserError: as `check_columns`, or an episode has no columns or too short ones.
  """
  import tensorflow_datasets as tfds

  names = list(next(iter(columns.values()), {}))
  check_columns(source, names)
  builder = tfds.builder_from_directory(source)
  decoders = _undecoded(builder.info.features, tfds)

  def examples(split: str, first: int) -> Iterator[dict[str, Any]]:
    for number, episode in enumerate(builder.as_data_source(split, decoders=decoders), first):
      steps = [dict(step) for step in episode["steps"]]
      # An episode without steps is no video, and has no labels.
      added = columns_of(columns, number, len(steps), source) if steps else {}
      for name, column in added.items():
        for step, value in zip(steps, column, strict=True):
          step[name] = value
      yield {**episode, "steps": steps}

  features = dict(builder.info.features)
  scalars = dict.fromkeys(names, tfds.features.Scalar(dtype=np.float32))
  features["steps"] = tfds.features.Dataset({**dict(features["steps"].feature), **scalars})
  first, splits = 0, {}
  for split in _split_names(builder):
    splits[split] = examples(split, first)
    first += builder.info.splits[split].num_examples
  description, form = builder.info.description, builder.info.file_format
  _write(out, "relabelled_episodes", features, splits, form, description, "Labelled by vipjax.")


def _undecoded(feature: Any, tfds: Any) -> Any:
  """The `decoders` that leave every image of these features encoded."""
  if isinstance(feature, tfds.features.Image):
    return tfds.decode.SkipDecoding()
  if isinstance(feature, tfds.features.FeaturesDict):
    inner = {name: _undecoded(feature[name], tfds) for name in feature}
    return {name: decoder for name, decoder in inner.items() if decoder} or None
  if isinstance(feature, tfds.features.Dataset | tfds.features.Sequence):
    return _undecoded(feature.feature, tfds)
  return None
