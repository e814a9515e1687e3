"""Writes an RLDS data set with tensorflow_datasets; TFRecord needs TensorFlow, the others do not.

python tests/videos/write_rlds.py FOLDER tfrecord|array_record|parquet [EMPTY ...]

EMPTY are numbers of episodes that get no steps.
"""

import io
import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from drawn import EPISODES, SIZES, drawn  # noqa: E402

_IMAGES = {"top": "image", "wrist": "wrist_image"}


class Rlds(tfds.core.GeneratorBasedBuilder):
  """Laid out as the data sets of Open X-Embodiment."""

  VERSION = tfds.core.Version("1.0.0")
  pkg_dir_path = HERE

  def __init__(self, empty=(), **keywords):
    self._empty = {int(number) for number in empty}
    super().__init__(**keywords)

  def _info(self):
    features = tfds.features
    images = {
      name: features.Image(shape=(*SIZES[camera], 3), encoding_format="png")
      for camera, name in _IMAGES.items()
    }
    step = {
      "observation": {**images, "state": features.Tensor(shape=(2,), dtype=np.float32)},
      "action": features.Tensor(shape=(2,), dtype=np.float32),
      "reward": features.Scalar(dtype=np.float32),
      "is_first": features.Scalar(dtype=np.bool_),
      "is_last": features.Scalar(dtype=np.bool_),
      "is_terminal": features.Scalar(dtype=np.bool_),
      "language_instruction": features.Text(),
    }
    metadata = {"file_path": features.Text(), "success": features.Scalar(dtype=np.bool_)}
    return tfds.core.DatasetInfo(
      builder=self,
      features=features.FeaturesDict(
        {"steps": features.Dataset(step), "episode_metadata": metadata}
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for number, (length, task, success) in enumerate(EPISODES):
      steps = [
        {
          "observation": {
            **{name: _png(drawn(camera, number, time)) for camera, name in _IMAGES.items()},
            "state": np.array([number, time], np.float32),
          },
          "action": np.zeros(2, np.float32),
          "reward": np.float32(success and time == length - 1),
          "is_first": time == 0,
          "is_last": time == length - 1,
          "is_terminal": time == length - 1,
          "language_instruction": task,
        }
        for time in range(0 if number in self._empty else length)
      ]
      metadata = {"file_path": f"episode_{number}", "success": success}
      yield number, {"steps": steps, "episode_metadata": metadata}


def _png(frame):
  buffer = io.BytesIO()
  Image.fromarray(frame).save(buffer, "PNG")
  return buffer.getvalue()


def write(folder, file_format, *empty):
  """The folder of the version."""
  builder = Rlds(empty, data_dir=folder, file_format=file_format)
  builder.download_and_prepare()
  return builder.data_path


if __name__ == "__main__":
  write(*sys.argv[1:])
