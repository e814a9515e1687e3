"""Attention of the value: shares of a Grad-CAM map on object and robot, and a check by occlusion.

The simulator labels each pixel as BACKGROUND, OBJECT or ROBOT of `vipjax.scene`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from vipjax.encoder import Preprocessing, ValueFunction
from vipjax.evaluation import statistics
from vipjax.evaluation.grad_cam import enlarge, network_view
from vipjax.runtime.errors import UserError
from vipjax.scene import BACKGROUND, OBJECT, ROBOT

LABELS = {"background": BACKGROUND, "object": OBJECT, "robot": ROBOT}
_NOWHERE = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
  """The energy of Grad-CAM maps by label, for each frame.

  Attributes:
    share: float64 [T, 3], the share of the map's sum on background, object and robot (in the order
      of their labels); NaN for a map of zeros.
    area: float64 [T, 3], the share of pixels of each label.
    peak: int64 [T], the label of the map's greatest pixel; -1 for a map of zeros.
  """

  share: np.ndarray
  area: np.ndarray
  peak: np.ndarray

  def summary(self) -> dict[str, float | None]:
    """Returns means over the frames that have a map, as JSON-able values.

    For each label <name>: "<name>_share"; "<name>_over_area", mean share divided by mean area (1:
    as for a uniform map; None: never in the picture); "peak_on_<name>", share of frames. They are
    None without a map. "frames_with_map" is the share of frames that have a map: the ReLU leaves
    none where nothing raises the value.
    """
    seen = self.peak != _NOWHERE
    result: dict[str, float | None] = {"frames_with_map": float(np.mean(seen))}
    for name, label in LABELS.items():
      share = float(self.share[seen, label].mean()) if seen.any() else None
      area = float(self.area[seen, label].mean()) if seen.any() else 0.0
      result[f"{name}_share"] = share
      result[f"{name}_over_area"] = share / area if area > 0 else None
      result[f"peak_on_{name}"] = float(np.mean(self.peak[seen] == label)) if seen.any() else None
    return result

  def record(self) -> dict[str, Any]:
    """Returns all attributes by name; `files.jsonable` turns their NaN into None."""
    return dataclasses.asdict(self)


def attention(maps: np.ndarray, labels: np.ndarray) -> Attention:
  """Returns the shares of Grad-CAM maps on each label.

  Args:
    maps: float [T, h, w], >= 0; the function enlarges them to the labels' size, bilinear.
    labels: uint8 [T, S, S] of BACKGROUND, OBJECT and ROBOT, in the network's view (`see_labels`).

  Raises:
    UserError: another rank, or different numbers of frames.
  """
  maps, labels = np.asarray(maps), np.asarray(labels)
  if maps.ndim != 3 or labels.ndim != 3 or len(maps) != len(labels):
    raise UserError(
      f"expected maps [T, h, w] and labels [T, S, S] of as many frames, got shapes {maps.shape} "
      f"and {labels.shape}; pass those of one video."
    )
  fine = enlarge(maps, labels.shape[1]).astype(np.float64)
  total = fine.sum((1, 2))
  masks = np.stack([labels == label for label in LABELS.values()], axis=-1)
  energy = np.einsum("thw,thwl->tl", fine, masks)
  with np.errstate(invalid="ignore"):
    share = energy / np.where(total > 0, total, np.nan)[:, None]
  places = fine.reshape(len(fine), -1).argmax(1)
  peak = labels.reshape(len(labels), -1)[np.arange(len(labels)), places].astype(np.int64)
  return Attention(share, masks.mean((1, 2)), np.where(total > 0, peak, _NOWHERE))


def see_labels(preprocessing: Preprocessing, labels: np.ndarray) -> np.ndarray:
  """Returns the labels uint8 [T, H, W] of frames in the network's view, uint8 [T, crop, crop].

  Each pixel gets the label of its largest part.
  """
  colours = 255 * np.eye(len(LABELS), dtype=np.uint8)[labels]
  return network_view(preprocessing, colours).argmax(-1).astype(np.uint8)


def paint_over(frames: np.ndarray, labels: np.ndarray, label: int) -> np.ndarray:
  """Returns frames uint8 [T, H, W, 3] with all pixels of a label in the background's mean colour.

  Each frame has its own mean; without background it is black.
  """
  painted = frames.copy()
  for frame, shown in zip(painted, labels, strict=True):
    background = frame[shown == BACKGROUND]
    frame[shown == label] = background.mean(0).round() if len(background) else 0
  return painted


def occlusion(
  value: ValueFunction,
  frames: np.ndarray,
  labels: np.ndarray,
  goal: np.ndarray,
  robot_free: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Returns the change of the value if the object or the robot is hidden; the goal is unchanged.

  Args:
    value: the value function.
    frames: uint8 [T, H, W, 3].
    labels: uint8 [T, H, W] of the frames.
    goal: uint8 [H, W, 3].
    robot_free: uint8 [T, H, W, 3], the frames drawn without the robot; None if missing.

  Returns:
    V(hidden) - V(frame), float32 [T], under "object" and "robot" for frames painted over
    (`paint_over`), and "robot_removed" for the robot-free frames.
  """
  hidden = {name: paint_over(frames, labels, LABELS[name]) for name in ("object", "robot")}
  if robot_free is not None:
    hidden["robot_removed"] = robot_free
  plain = value.value(frames, goal)
  return {name: value.value(changed, goal) - plain for name, changed in hidden.items()}


def agreement(seen: Attention, hidden: dict[str, np.ndarray]) -> float | None:
  """Returns the Spearman correlation over frames of Grad-CAM's and occlusion's share of the object.

  Grad-CAM's share is the object's part of the energy on object and robot, occlusion's share the
  object's part of the value's change. None if fewer than three frames have both.
  """
  on_either = seen.share[:, OBJECT] + seen.share[:, ROBOT]
  change = np.abs(hidden["object"]) + np.abs(hidden["robot"])
  usable = (np.nan_to_num(on_either) > 0) & (change > 0)
  if usable.sum() < 3:
    return None
  by_map = seen.share[usable, OBJECT] / on_either[usable]
  return statistics.spearman(by_map, np.abs(hidden["object"])[usable] / change[usable])
