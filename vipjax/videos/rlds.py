"""Episodes of TFDS data sets, RLDS ones (Open X-Embodiment) among them, and of bare TFRecords.

Whatever the file format, an episode becomes one flat record of names and lists, such as
"steps/observation/image": encoded images. Its cameras are found by what they hold.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.videos import tf_example
from vipjax.videos.access import damaged, listed, natural_key
from vipjax.videos.images import decode_images
from vipjax.videos.selection import ROBOT_FREE, Selection
from vipjax.videos.sources import EvenSource, Source

INFO = "dataset_info.json"

_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8")  # png, jpg
_TASKS = ("language_instruction", "natural_language_instruction", "instruction", "task", "language")
_SPLIT = re.compile(r"-(?P<split>[^-]+)\.tfrecord")


class Records:
  """The episodes of a data set, in any order of access.

  Attributes:
    name: what to call the data set in messages.
    splits: (name of the split, position in it) of each episode.
  """

  name: str
  splits: list[tuple[str, int]]

  def read(self, index: int) -> dict[str, Any]:
    """The flat record of an episode."""
    raise NotImplementedError

  def place(self, index: int) -> str:
    """What to call an episode in messages."""
    split, position = self.splits[index]
    return f"{self.name}, {split} {position}"

  # So many records as cameras of one episode are read one after the other, and a few more.
  @functools.lru_cache(maxsize=4)  # noqa: B019 (Records live as long as the program reads them)
  def cached(self, index: int) -> dict[str, Any]:
    """`read`, with the last few kept."""
    return self.read(index)


class TfRecords(Records):
  """TFRecord files, whose records are tf.Examples."""

  def __init__(self, files: Sequence[pathlib.Path], name: str):
    self.name = name
    self._places = [(file, place) for file in files for place in tf_example.record_places(file)]
    self.splits, counts = [], {}
    for file, _ in self._places:
      match = _SPLIT.search(file.name)
      split = match["split"] if match else "train"
      self.splits.append((split, counts.get(split, 0)))
      counts[split] = counts.get(split, 0) + 1

  def read(self, index: int) -> dict[str, Any]:
    file, place = self._places[index]
    return tf_example.read_example(file, place)


class TfdsRecords(Records):
  """A data set that tensorflow_datasets reads without TensorFlow (array_record, parquet)."""

  def __init__(self, folder: pathlib.Path):
    import tensorflow_datasets as tfds  # Here: it takes seconds.

    self.name = str(folder)
    with self._reading():
      builder = tfds.builder_from_directory(folder)
      # Images stay encoded until they are asked for.
      self._decoders = undecoded(builder.info.features, tfds)
    self._builder, self._sources = builder, {}
    self.splits = [
      (name, position)
      for name, split in sorted(builder.info.splits.items(), key=lambda item: item[0] != "train")
      for position in range(split.num_examples)
    ]

  def read(self, index: int) -> dict[str, Any]:
    split, position = self.splits[index]
    record: dict[str, Any] = {}
    with self._reading():
      if split not in self._sources:
        self._sources[split] = self._builder.as_data_source(split, decoders=self._decoders)
      _flatten(self._sources[split][position], "", record)
    return record

  @contextlib.contextmanager
  def _reading(self) -> Iterator[None]:
    """Turns into a sentence what tfds passes on from its readers: errors of any kind."""
    try:
      yield
    except Exception as error:
      raise damaged(pathlib.Path(self.name), str(error)) from error


class _EpisodeSource(EvenSource):
  """One camera of one episode; of its record all is kept but the images."""

  def __init__(self, records: Records, index: int, camera: str, view: str):
    self._records, self._index, self._camera = records, index, camera
    record = records.cached(index)
    self.length = len(record.get(camera, ()))
    name = view.removesuffix(ROBOT_FREE)
    known = {
      "fps": _number(record, "fps"),
      "task": next(filter(None, (_text(record, name) for name in _TASKS)), None),
      "embodiment": _text(record, "embodiment"),
      "view": name,
      "robot_visible": None if name == view else False,
      "success": _flag(record, "success"),
      "source": f"{records.place(index)}, {view}",
      "episode": index,
    }
    self.metadata = {key: value for key, value in known.items() if value is not None}

  def take(self, positions: Sequence[int]) -> np.ndarray:
    images = self._records.cached(self._index)[self._camera]
    return decode_images([images[position] for position in positions], self.metadata["source"])


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
    raise UserError(
      f"expected one TFDS data set in {folder}, but it has {names}: pass one of them."
    )
  return found[0].parent if found else None


def dataset_sources(folder: pathlib.Path, selection: Selection) -> list[Source]:
  """The videos of a TFDS data set: its episodes, of all splits, camera by camera.

  Episodes without steps are left out, with a warning; the others keep their numbers.
  """
  entries = listed(folder)
  for entry in entries:
    refuse_stand_ins(entry)
  files = [entry for entry in entries if ".tfrecord" in entry.name]
  return _sources(TfRecords(files, str(folder)) if files else TfdsRecords(folder), selection)


def tfrecord_sources(path: pathlib.Path, selection: Selection) -> list[Source]:
  """The videos of one TFRecord file."""
  return _sources(TfRecords([path], str(path)), selection)


def _sources(records: Records, selection: Selection) -> list[Source]:
  if not records.splits:
    raise UserError(
      f"expected at least one episode in {records.name}, but it has none: record one."
    )
  first, cameras = _first_steps(records)
  views = _short_names(cameras)
  wanted = {
    camera: view
    for camera, view in views.items()
    if selection.wants_view(view.removesuffix(ROBOT_FREE))
  }
  episodes = [index for index in range(len(records.splits)) if selection.wants_episode(index)]
  # Nothing left: of all of them the message tells what there is.
  wanted, episodes = (wanted, episodes) if wanted and episodes else (views, episodes or [first])
  found = []
  for index in episodes:
    sources = [_EpisodeSource(records, index, camera, view) for camera, view in wanted.items()]
    kept = [source for source in sources if source.length]
    if not kept:
      logging.warning("%s has no steps and is left out.", records.place(index))
    elif len(kept) < len(sources):
      names = ", ".join(source.metadata["view"] for source in sources if not source.length)
      logging.warning("%s has no frames of %s, which are left out.", records.place(index), names)
    found += kept
  if not found:
    raise UserError(
      f"expected frames in the episodes {', '.join(map(str, episodes[:8]))} of {records.name}, but "
      "they have none: choose others, or record some."
    )
  return found


def _first_steps(records: Records) -> tuple[int, list[str]]:
  """The first episode with steps, and the names of its cameras."""
  names: set[str] = set()
  for index in range(len(records.splits)):
    record = records.cached(index)
    cameras = sorted((name for name in record if _is_camera(name, record[name])), key=natural_key)
    if cameras:
      return index, cameras
    names |= set(record)
    if any(name.startswith("steps/") and len(record[name]) for name in record):
      break
  raise UserError(
    f"expected encoded images in the episodes of {records.name}, but they hold "
    f"{', '.join(sorted(names)[:8])}: pass a data set with cameras."
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
  for key in sorted(record):
    if key.rsplit("/", 1)[-1] == name:
      return list(record[key])
  return []


def _text(record: Mapping[str, Any], name: str) -> str | None:
  values = [value for value in _values(record, name) if isinstance(value, bytes | str) and value]
  if not values:
    return None
  return values[0].decode(errors="replace") if isinstance(values[0], bytes) else values[0]


def _number(record: Mapping[str, Any], name: str) -> float | None:
  values = _values(record, name)
  return float(values[0]) if values and float(values[0]) > 0 else None


def _flag(record: Mapping[str, Any], name: str) -> bool | None:
  """Of the episode, or of any of its steps."""
  values = _values(record, name)
  return bool(np.any(values)) if values else None


def _flatten(value: Any, name: str, record: dict[str, list[Any]]) -> None:
  """Adds what an example holds to a flat record: steps become lists, single values lists of one."""
  if isinstance(value, Mapping):
    for key, inner in value.items():
      _flatten(inner, f"{name}/{key}" if name else key, record)
  elif isinstance(value, bytes | str | np.ndarray | np.generic | int | float):
    items = value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else [value]
    record.setdefault(name, []).extend(items)
  else:  # Steps, or a sequence of images.
    for inner in value:
      _flatten(inner, name, record)


def undecoded(feature: Any, tfds: Any) -> Any:
  """The `decoders` that leave every image of these features encoded."""
  if isinstance(feature, tfds.features.Image):
    return tfds.decode.SkipDecoding()
  if isinstance(feature, tfds.features.FeaturesDict):
    inner = {name: undecoded(feature[name], tfds) for name in feature}
    return {name: decoder for name, decoder in inner.items() if decoder} or None
  if isinstance(feature, tfds.features.Dataset | tfds.features.Sequence):
    return undecoded(feature.feature, tfds)
  return None
