"""Recorded episodes as a TFDS data set in RLDS layout, without TensorFlow."""

from __future__ import annotations

import io
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

if TYPE_CHECKING:
  from vipjax.videos.export import Episode

_UNKNOWN = ""


class VipjaxEpisodes(tfds.core.GeneratorBasedBuilder):
  """Episodes as sequences of steps, each with a picture of every camera."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Recorded by vipjax."}
  # Where TFDS looks for a description of its own; it must be a folder.
  pkg_dir_path = pathlib.Path(__file__).parent

  def __init__(self, episodes: Sequence[Episode], **keywords: Any):
    """Episodes as `by_episode` gives them."""
    self._episodes = episodes
    super().__init__(**keywords)

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features
    cameras = {
      name: features.Image(shape=video.frames.shape[1:], encoding_format="png")
      for name, video in self._episodes[0].cameras.items()
    }
    step = {
      "observation": cameras,
      "is_first": features.Scalar(dtype=np.bool_),
      "is_last": features.Scalar(dtype=np.bool_),
      "is_terminal": features.Scalar(dtype=np.bool_),
      "language_instruction": features.Text(),
    }
    metadata = {
      "episode_id": features.Scalar(dtype=np.int64),
      "embodiment": features.Text(),
      "fps": features.Scalar(dtype=np.float32),
      "source": features.Text(),
      # Only where it is known of every episode: 0 would say that it failed.
      **({"success": features.Scalar(dtype=np.bool_)} if self._knows_success() else {}),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Videos of robot episodes, recorded by vipjax.",
      features=features.FeaturesDict(
        {"steps": features.Dataset(step), "episode_metadata": metadata}
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, episode in enumerate(self._episodes):
      video = episode.first
      metadata = {
        "episode_id": episode.number,
        "embodiment": video.embodiment or _UNKNOWN,
        "fps": np.float32(video.fps),
        "source": video.source,
      }
      if self._knows_success():
        metadata["success"] = bool(video.success)
      yield index, {"steps": list(_steps(episode)), "episode_metadata": metadata}

  def _knows_success(self) -> bool:
    return all(episode.first.success is not None for episode in self._episodes)


def write_tfds(folder: pathlib.Path, episodes: Sequence[Episode]) -> None:
  """Writes array_record files, `features.json` and `dataset_info.json` right into a new folder."""
  root = folder.with_name(f"{folder.name}.tfds")
  try:
    builder = VipjaxEpisodes(episodes, data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    shutil.move(str(builder.data_path), folder)
  finally:
    shutil.rmtree(root, ignore_errors=True)


def _steps(episode: Episode) -> Iterator[dict[str, Any]]:
  for time in range(len(episode)):
    is_last = time == len(episode) - 1
    yield {
      "observation": {name: _png(video.frames[time]) for name, video in episode.cameras.items()},
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
