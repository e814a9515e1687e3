"""robomimic's HDF5 files: demonstrations with images among their observations."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.videos.access import decoding, natural_key
from vipjax.videos.selection import Selection
from vipjax.videos.sources import EvenSource, Source

SUFFIXES = (".hdf5", ".h5")


class _DemoSource(EvenSource):
  """One camera of one demonstration; the file is open only while it is read."""

  def __init__(self, path: pathlib.Path, dataset: str, length: int, metadata: dict[str, Any]):
    self._path, self._dataset, self.length, self.metadata = path, dataset, length, metadata

  def take(self, positions: Sequence[int]) -> np.ndarray:
    # HDF5 wants ascending positions, each once.
    wanted, inverse = np.unique(np.asarray(positions), return_inverse=True)
    with decoding(self._path), _h5py().File(self._path, "r") as file:
      return file[self._dataset][wanted.tolist()][inverse]


def demo_sources(path: pathlib.Path, selection: Selection) -> list[Source]:
  """The videos of an HDF5 file: its demonstrations, camera by camera.

  Cameras are the observations that are uint8 [T, H, W, 3]. A demonstration of sparse rewards, 0 or
  1, ended in success if any is 1; of others it is not known.

  Args:
    path: the file, laid out as `data/demo_0/obs/agentview_image`.
    selection: demonstrations and cameras that are not wanted are left out.

  Raises:
    UserError: h5py is missing, or the file holds no demonstrations with images.
  """
  h5py = _h5py()
  found, skipped = [], []
  with decoding(path), h5py.File(path, "r") as file:
    data = file.get("data", {})
    known = _environment(getattr(data, "attrs", {}))
    for name in sorted(data, key=natural_key):
      observations = data[name].get("obs", {})
      for camera in sorted(observations):
        images = observations[camera]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
          continue
        metadata = {
          **known,
          "view": camera,
          "success": _success(data[name]),
          "source": f"{path}, {name}, {camera}",
          "episode": int(re.sub(r"\D", "", name) or 0),
        }
        source = _DemoSource(path, images.name, len(images), metadata)
        wanted = selection.wants_episode(metadata["episode"]) and selection.wants_view(camera)
        (found if wanted else skipped).append(source)
  if not found and not skipped:
    raise UserError(
      f"expected demonstrations with images under data/demo_0/obs in {path}, but there are none: "
      "extract image observations with robomimic's dataset_states_to_obs."
    )
  # Nothing left: of all of them the message tells what there is.
  return found or skipped


def _environment(attributes: Any) -> dict[str, Any]:
  """What the file says of its environment: task, robot, control frequency."""
  known = json.loads(attributes.get("env_args", "{}"))
  keywords = known.get("env_kwargs", {})
  robots = keywords.get("robots")
  metadata = {
    "task": known.get("env_name"),
    "embodiment": robots[0].lower() if isinstance(robots, list) and len(robots) == 1 else None,
    "fps": float(keywords.get("control_freq") or 0) or None,
  }
  return {name: value for name, value in metadata.items() if value is not None}


def _success(demo: Any) -> bool | None:
  rewards = np.asarray(demo["rewards"]) if "rewards" in demo else np.zeros(0)
  return bool((rewards == 1).any()) if len(rewards) and np.isin(rewards, (0, 1)).all() else None


def _h5py() -> Any:
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      "expected the package h5py, which HDF5 files are read with, but it is not installed: "
      "pip install 'vipjax[robomimic]'."
    ) from error
  return h5py
