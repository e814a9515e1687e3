"""HDF5 files of robomimic and Isaac Lab: demonstrations with images in them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from vipjax.runtime.errors import UserError
from vipjax.videos.access import damaged, decoding, natural_key
from vipjax.videos.formats.fields import OBJECT, RATE, TEXT
from vipjax.videos.lazy import LazyVideo
from vipjax.videos.selection import Selection

SUFFIXES = (".hdf5", ".h5")
_SHOWN = 4


class _DemoVideo(LazyVideo):
  """One camera of one demonstration; the file is open only while it is read."""

  def __init__(self, path: pathlib.Path, images: Any, metadata: dict[str, Any]):
    super().__init__(metadata)
    self._path, self._dataset = path, images.name
    self.length = len(images)
    self._channels_first = images.shape[-1] != 3

  def decode(self, positions: Sequence[int]) -> np.ndarray:
    # HDF5 wants ascending positions, each once.
    wanted, inverse = np.unique(np.asarray(positions), return_inverse=True)
    with _opened(self._path) as file:
      frames = file[self._dataset][wanted.tolist()][inverse]
    return np.ascontiguousarray(np.moveaxis(frames, 1, -1)) if self._channels_first else frames


class _DemoMasks(_DemoVideo):
  """Masks of one demonstration, as white on black."""

  def decode(self, positions: Sequence[int]) -> np.ndarray:
    with _opened(self._path) as file:
      masks = np.stack([file[self._dataset][position] for position in positions])
    masks = masks.reshape(masks.shape[:3]) != 0
    return np.repeat(masks[..., None] * np.uint8(255), 3, axis=-1)


def demo_masks(path: pathlib.Path, name: str) -> list[LazyVideo]:
  """The masks of an HDF5 file: in each demonstration the observation of that name, as videos.

  They are white where the observation is not 0. A camera of pictures is taken as it is.

  Args:
    path: as `demo_videos`.
    name: of an array of whole numbers or truth values, [T, H, W] or [T, H, W, 1], or of a camera.

  Raises:
    UserError: no demonstration has such an array, or h5py is missing.
  """
  found, there = [], set()
  with _opened(path) as file:
    for demo, contents in _inner(file.get("data")):
      for key, array in _arrays(dict(_inner(contents)).get("obs")):
        shape = array.shape
        is_mask = array.dtype.kind in "biu" and shape[3:] in ((), (1,)) and len(shape) > 2
        if not (is_mask or _is_camera(array)) or not len(array):
          continue
        there.add(key)
        if key == name:
          metadata = {"source": f"{path}, {demo}, {key}", "episode": _number(demo)}
          found.append((_DemoVideo if _is_camera(array) else _DemoMasks)(path, array, metadata))
  if not found:
    raise UserError(
      f"expected masks data/demo_0/obs/{name} in {path}, got {', '.join(sorted(there)) or 'none'}; "
      "choose one of these."
    )
  return found


def demo_videos(path: pathlib.Path, selection: Selection) -> list[LazyVideo]:
  """The videos of an HDF5 file: its demonstrations, camera by camera.

  Cameras are the observations that are uint8 [T, H, W, 3] or [T, 3, H, W], in groups of their own,
  too. A demonstration of sparse rewards, 0 or 1, ended in success if any is 1; of others its
  attribute "success" tells, where it has one. Demonstrations without frames are left out, with a
  warning.

  Args:
    path: the file, laid out as `data/demo_0/obs/agentview_image`.
    selection: demonstrations and cameras that are not wanted are left out.

  Raises:
    UserError: h5py is missing, another program writes the file, or it holds no demonstrations with
      images.
  """
  found, skipped = [], []
  with _opened(path) as file:
    data = dict(_inner(file)).get("data")
    known = _environment(data.attrs) if data is not None else {}
    for name, demo in _inner(data):
      for camera, images in _arrays(dict(_inner(demo)).get("obs")):
        if not _is_camera(images):
          continue
        if not len(images):
          logging.warning("%s, %s, %s has no frames and is left out.", path, name, camera)
          continue
        metadata = {
          **known,
          "view": camera,
          "success": _success(demo),
          "source": f"{path}, {name}, {camera}",
          "episode": _number(name),
        }
        video = _DemoVideo(path, images, metadata)
        wanted = selection.wants_episode(metadata["episode"]) and selection.wants_view(camera)
        (found if wanted else skipped).append(video)
    if not found and not skipped:
      raise UserError(
        "expected demonstrations with images, data/demo_0/obs/CAMERA of uint8 [T, H, W, 3] or "
        f"[T, 3, H, W], in {path}, got {_layout(file)}; extract image observations with "
        "robomimic's dataset_states_to_obs, or bring the file into that layout."
      )
  # Nothing left: from all of them the message tells what there is.
  return found or skipped


def _number(demo: str) -> int:
  return int(re.sub(r"\D", "", demo) or 0)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      "expected the package h5py, which HDF5 files are read with, got none; pip install "
      "'vipjax[robomimic]'."
    ) from error
  with decoding(path):
    try:
      file = h5py.File(path, "r")
    except OSError as error:
      if isinstance(error, BlockingIOError) or "already open for write" in str(error):
        raise UserError(
          f"expected to read {path}, got a lock of another program that is writing it; wait until "
          "that has closed it, or, where it was killed, run h5clear -s on the file."
        ) from error
      raise
    with file:
      try:
        yield file
      except (KeyError, RuntimeError) as error:  # So h5py says that an object is damaged.
        raise damaged(path, str(error)) from error


def _inner(group: Any) -> Iterator[tuple[str, Any]]:
  """Names and contents of a group in natural order, without dead links; of anything else none."""
  if isinstance(group, Mapping):
    for name in sorted(group, key=natural_key):
      if (found := group.get(name)) is not None:
        yield name, found


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """The arrays in a group and in the groups in it, by their names from there."""
  for name, found in _inner(group):
    if hasattr(found, "shape"):
      yield prefix + name, found
    else:
      yield from _arrays(found, f"{prefix}{name}/")


def _is_camera(images: Any) -> bool:
  return images.dtype == np.uint8 and images.ndim == 4 and 3 in (images.shape[-1], images.shape[1])


def _layout(file: Any) -> str:
  """The arrays that a file holds, those first that may be pictures."""
  arrays = sorted(_arrays(file), key=lambda item: len(item[1].shape or ()) < 3)
  shown = [f"{name} of {array.dtype} {list(array.shape or ())}" for name, array in arrays[:_SHOWN]]
  more = [f"{len(arrays) - _SHOWN} more"] if len(arrays) > _SHOWN else []
  return ", ".join(shown + more) or "no arrays"


def _environment(attributes: Any) -> dict[str, Any]:
  """The environment's task, robot and control frequency, as far as the file says them."""
  try:
    known = _object(json.loads(attributes.get("env_args", "{}")))
  except (TypeError, ValueError):
    known = {}
  keywords = _object(known.get("env_kwargs"))
  robots = keywords.get("robots")
  robot = robots[0] if isinstance(robots, list) and len(robots) == 1 else robots
  task, rate = known.get("env_name"), keywords.get("control_freq")
  return {
    **({"task": task} if TEXT.holds(task) else {}),
    **({"embodiment": robot.lower()} if TEXT.holds(robot) else {}),
    **({"fps": float(rate)} if RATE.holds(rate) else {}),
  }


def _object(value: Any) -> Mapping[str, Any]:
  return value if OBJECT.holds(value) else {}


def _success(demo: Any) -> bool | None:
  rewards = np.asarray(demo["rewards"]) if "rewards" in demo else np.zeros(0)
  if rewards.size and np.isin(rewards, (0, 1)).all():
    return bool((rewards == 1).any())
  stated = demo.attrs.get("success")
  return bool(stated) if isinstance(stated, bool | np.bool_) else None
