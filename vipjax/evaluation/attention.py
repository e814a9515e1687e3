"""What the value looks at: shares of a Grad-CAM map on object and robot, and a check by occlusion.

Pixels have labels, BACKGROUND, OBJECT or ROBOT of `vipjax.scene`, which the simulator knows.
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
  """Where the energy of Grad-CAM maps falls, frame by frame.

  Attributes:
    share: float64 [T, 3], the share of the map's sum on background, object and robot (in the order
      of their labels); NaN where the map is 0 all over.
    area: float64 [T, 3], the share of the pixels that each takes.
    peak: int64 [T], the label of the pixel where the map is greatest; -1 where it is 0 all over.
  """

  share: np.ndarray
  area: np.ndarray
  peak: np.ndarray

  def summary(self) -> dict[str, float | None]:
    """Means over the frames that have a map, as values that JSON can hold.

    "<what>_share"; "<what>_over_area", mean share divided by mean area (1: as if looking
    anywhere; None: never in the picture); "peak_on_<what>", share of frames. None without a map.
    "frames_with_map" is the share of frames that have one: where nothing raises the value, the ReLU
    leaves none.
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
    """All of it as lists for JSON; NaN becomes None there."""
    return {"share": self.share, "area": self.area, "peak": self.peak}


def attention(maps: np.ndarray, labels: np.ndarray) -> Attention:
  """Shares of Grad-CAM maps on what the pixels show.

  Args:
    maps: float [T, h, w], >= 0; enlarged to the labels' size, bilinear.
    labels: uint8 [T, S, S] of BACKGROUND, OBJECT and ROBOT, in the network's view (`see_labels`).

  Raises:
    UserError: another rank, or numbers of frames that differ.
  """
  maps, labels = np.asarray(maps), np.asarray(labels)
  if maps.ndim != 3 or labels.ndim != 3 or len(maps) != len(labels):
    raise UserError(
      f"Expected maps [T, h, w] and labels [T, S, S] of as many frames, but shapes {maps.shape} "
      f"and {labels.shape} came: pass those of one video."
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
  """Labels of frames uint8 [T, H, W] as the network sees the frames, uint8 [T, crop, crop].

  Each pixel gets the label that most of it shows.
  """
  colours = 255 * np.eye(len(LABELS), dtype=np.uint8)[labels]
  return network_view(preprocessing, colours).argmax(-1).astype(np.uint8)


def paint_over(frames: np.ndarray, labels: np.ndarray, label: int) -> np.ndarray:
  """Frames uint8 [T, H, W, 3] with all pixels of a label in the mean colour of the background.

  The mean is each frame's own; a frame without background has none, and black is taken.
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
  """How the value changes when something is hidden; the goal stays as it is.

  Args:
    value: the value function.
    frames: uint8 [T, H, W, 3].
    labels: uint8 [T, H, W] of the frames.
    goal: uint8 [H, W, 3].
    robot_free: uint8 [T, H, W, 3], the frames drawn without the robot, if there are such.

  Returns:
    V(hidden) - V(frame), float32 [T], by what is hidden: "object" and "robot", painted over
    (`paint_over`), and "robot_removed", the robot-free frames.
  """
  hidden = {name: paint_over(frames, labels, LABELS[name]) for name in ("object", "robot")}
  if robot_free is not None:
    hidden["robot_removed"] = robot_free
  plain = value.value(frames, goal)
  return {name: value.value(changed, goal) - plain for name, changed in hidden.items()}


def agreement(seen: Attention, hidden: dict[str, np.ndarray]) -> float | None:
  """Spearman correlation, over frames, of what Grad-CAM and occlusion say of object against robot.

  Grad-CAM's word is the object's part of the energy on object and robot; that of occlusion is the
  object's part of the change of the value. None with fewer than three frames that have both.
  """
  on_either = seen.share[:, OBJECT] + seen.share[:, ROBOT]
  change = np.abs(hidden["object"]) + np.abs(hidden["robot"])
  usable = (np.nan_to_num(on_either) > 0) & (change > 0)
  if usable.sum() < 3:
    return None
  by_map = seen.share[usable, OBJECT] / on_either[usable]
  return statistics.spearman(by_map, np.abs(hidden["object"])[usable] / change[usable])
