"""A copy of an RLDS data set with the value function's numbers in each step; no TensorFlow."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vipjax.reward.relabel import COLUMNS, Labels
from vipjax.runtime.errors import UserError
from vipjax.videos.rlds import undecoded

PREFIX = "embedding_"


class RelabelledEpisodes(tfds.core.GeneratorBasedBuilder):
  """Another builder's episodes, and `embedding_value`, ... in each of their steps."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Labelled by vipjax."}
  pkg_dir_path = pathlib.Path(__file__).parent

  def __init__(
    self, source: Any, labels: Mapping[int, Labels], names: Mapping[str, str], **keywords: Any
  ):
    """Source is the read-only builder; labels are by the position of the episode."""
    self._source, self._labels, self._names = source, labels, names
    super().__init__(**keywords)

  def _info(self) -> tfds.core.DatasetInfo:
    features = dict(self._source.info.features)
    numbers = {name: tfds.features.Scalar(dtype=np.float32) for name in self._names.values()}
    features["steps"] = tfds.features.Dataset({**dict(features["steps"].feature), **numbers})
    return tfds.core.DatasetInfo(
      builder=self,
      description=self._source.info.description,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    # In the order in which `vipjax.videos` numbers episodes.
    first, splits = 0, {}
    for name in sorted(self._source.info.splits, key=lambda name: name != "train"):
      splits[name] = self._generate_examples(name, first)
      first += self._source.info.splits[name].num_examples
    return splits

  def _generate_examples(self, split: str, first: int) -> Iterator[tuple[int, dict[str, Any]]]:
    decoders = undecoded(self._source.info.features, tfds)
    for position, episode in enumerate(self._source.as_data_source(split, decoders=decoders)):
      steps = [dict(step) for step in episode["steps"]]
      labels = self._labels.get(first + position)
      if not steps:  # What has none is no video.
        yield position, {**episode, "steps": steps}
        continue
      if labels is None or len(labels.distance) != len(steps):
        raise UserError(
          f"expected labels of the {len(steps)} steps of episode {first + position}, got "
          f"{0 if labels is None else len(labels.distance)}; label all of the data set."
        )
      for name, column in self._names.items():
        for step, number in zip(steps, getattr(labels, name), strict=True):
          step[column] = number
      yield position, {**episode, "steps": steps}


def check_tfds(source: pathlib.Path, reward: str | None = None) -> None:
  """Refuses a data set that cannot be copied with labels.

  Args:
    source: the folder of the data set's version.
    reward: as `relabel_tfds`.

  Raises:
    UserError: no steps to put labels into, labels that are there already, or TFRecord.
  """
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
  taken = [name for name in features["steps"].feature if name in _names(reward).values()]
  if taken:
    raise UserError(
      f"expected a data set without labels, got {', '.join(taken)} in the steps of {source}; label "
      "the data set that it came from, or give the reward another column's name."
    )


def relabel_tfds(
  source: pathlib.Path,
  out: pathlib.Path,
  labels: Mapping[int, Labels],
  reward: str | None = None,
) -> None:
  """Writes the copy, in array_record or parquet as the source.

  Args:
    source: the folder of the data set's version; it stays as it is.
    out: a folder that is not there yet, which `tfds.builder_from_directory` will take.
    labels: of every episode with steps, by its position in the data set.
    reward: another name than "embedding_reward" for the reward in the steps.

  Raises:
    UserError: as `check_tfds`, or an episode without labels.
  """
  check_tfds(source, reward)
  builder = tfds.builder_from_directory(source)
  root = out.with_name(f"{out.name}.tfds")
  try:
    form = builder.info.file_format
    copy = RelabelledEpisodes(builder, labels, _names(reward), data_dir=root, file_format=form)
    copy.download_and_prepare()
    shutil.move(str(copy.data_path), out)
  finally:
    shutil.rmtree(root, ignore_errors=True)


def _names(reward: str | None) -> dict[str, str]:
  """What the numbers are called in a step."""
  return {name: PREFIX + name for name in COLUMNS} | ({"reward": reward} if reward else {})
