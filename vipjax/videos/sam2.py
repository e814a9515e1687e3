"""Masks of what is clicked on, by SAM 2 (arXiv:2408.00714) in ONNX Runtime, from frame to frame.

The weights are the user's: an encoder and a decoder of SAM 2 or 2.1 as they are commonly exported
for single images. The network's memory of earlier frames is not part of these files, so a film is
followed by prompts: each frame is asked for what the last one's mask covers.
"""

from __future__ import annotations

import importlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what SAM 2 was trained with
_FEATURES = ("image_embed", "high_res_feats_0", "high_res_feats_1")
_PROMPTS = ("point_coords", "point_labels", "mask_input", "has_mask_input")
_EXPORT = "such as samexporter writes them (encoder.onnx and decoder.onnx of a SAM 2 model)"
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
# Logits of a mask that is fed back are kept in this range, as in training.
_GREATEST_LOGIT = 32.0
# Points inside the last mask that the next frame is asked about, and how far they are from its
# border at least, as a share of the greatest such distance: nearer ones are left behind.
_INSIDE, _DEPTH = 3, 0.5
# A mask that has less in common with the last frame's (intersection over union) has lost it.
_LOST = 0.3
_CLICK = re.compile(
  r"(?:(?P<video>\d+):)?(?:(?P<none>none)|(?P<x>\d+(?:\.\d+)?),(?P<y>\d+(?:\.\d+)?))"
  r"(?:@(?P<frame>\d+))?"
)


class Click(NamedTuple):
  """A point of a frame.

  Attributes:
    x, y: pixels from the left and from the top; None where nothing is to be followed any more.
    frame: its frame, from 0.
    inside: whether the point is on what is wanted, or beside it.
    video: the video that it counts for, from 0; None for all.
  """

  x: float | None
  y: float | None
  frame: int = 0
  inside: bool = True
  video: int | None = None

  @classmethod
  def parse(cls, text: str, inside: bool = True) -> Click:
    """Reads [VIDEO:]X,Y[@FRAME] or [VIDEO:]none[@FRAME].

    Raises:
      UserError: another form.
    """
    match = _CLICK.fullmatch(text.replace(" ", ""))
    if match is None or (match["none"] and not inside):
      raise UserError(
        f"expected a click as X,Y, X,Y@FRAME, none@FRAME or VIDEO:X,Y@FRAME, got {text!r}; give "
        "pixels from the left and from the top, and numbers from 0."
      )
    x, y = (None, None) if match["none"] else (float(match["x"]), float(match["y"]))
    video = match["video"] and int(match["video"])
    return cls(x, y, int(match["frame"] or 0), inside, video)


class _Found(NamedTuple):
  """A frame's mask: logits [side, side] to ask the next frame with, and bool [H, W]."""

  logits: np.ndarray
  mask: np.ndarray


class Sam2:
  """SAM 2's image encoder and mask decoder."""

  def __init__(self, folder: pathlib.Path):
    """Loads both networks; on a GPU where ONNX Runtime has one.

    Args:
      folder: where one file is named *encoder*.onnx and one *decoder*.onnx.

    Raises:
      UserError: onnxruntime is not installed, or the files are not there, cannot be loaded or have
        other inputs and outputs.
    """
    try:
      runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
      raise UserError(
        "expected the package onnxruntime, which runs SAM 2, got none; pip install 'vipjax[sam2]'."
      ) from error
    self._encoder, self._decoder = (_load(runtime, folder, part) for part in ("encoder", "decoder"))
    pixels = self._encoder.get_inputs()
    self._outputs = [each.name for each in self._encoder.get_outputs()]
    self._prompts = {each.name: each for each in self._decoder.get_inputs()}
    self._answers = [each.name for each in self._decoder.get_outputs()]
    known = {*_FEATURES, *_PROMPTS}
    if (
      len(pixels) != 1
      or not set(_FEATURES) <= set(self._outputs)
      or not known <= set(self._prompts) <= known | {"orig_im_size"}
      or not {"masks", "iou_predictions"} <= set(self._answers)
    ):
      raise UserError(
        f"expected SAM 2's encoder and decoder in {folder}, {_EXPORT}, got outputs "
        f"{self._outputs} of the encoder, and inputs {list(self._prompts)} and outputs "
        f"{self._answers} of the decoder; export them so."
      )
    self._image = pixels[0]
    side, asked = pixels[0].shape[-1], self._prompts["mask_input"].shape[-1]
    self._side = side if isinstance(side, int) else 1024
    self._asked = asked if isinstance(asked, int) else self._side // 4

  def follow(self, frames: np.ndarray, clicks: Sequence[Click], name: str = "") -> np.ndarray:
    """Masks of what is clicked on, in all frames.

    Each frame is asked with the last one's mask and points well inside it, and of the masks that
    the network offers the one is taken that has most in common with the last. A click inside begins
    anew, with the mask that the network thinks best. Frames before the first click are followed
    backwards. After `none` masks are empty until the next click.

    Args:
      frames: uint8 [T, H, W, 3].
      clicks: at least one inside, on the first frame that has any.
      name: of the film in messages.

    Returns:
      bool [T, H, W].

    Raises:
      UserError: no click, one outside of the film or picture, or a frame in which what was followed
        is not found again.
    """
    name = name and f" of {name}"
    _check_clicks(frames, clicks, name)
    first = min(click.frame for click in clicks)
    masks = np.zeros(frames.shape[:3], bool)
    start: _Found | None = None
    with Progress(len(frames), "SAM 2", unit="frame") as progress:
      for times in (range(first, len(frames)), range(first - 1, -1, -1)):
        last = start
        for time in times:
          here = [click for click in clicks if click.frame == time]
          begins = any(click.inside and click.x is not None for click in here)
          if begins or any(click.x is None for click in here):
            last = None
          if begins or last is not None:
            last = self._find(frames[time], here, last, f"frame {time}{name}")
            masks[time] = last.mask
          start = start or last
          progress.update()
    return masks

  def _find(
    self, frame: np.ndarray, clicks: Sequence[Click], last: _Found | None, name: str
  ) -> _Found:
    height, width = frame.shape[:2]
    points = [(click.x, click.y, click.inside) for click in clicks]
    if last is not None:
      points += [(x, y, True) for x, y in _inside(last.mask)]
    scale = np.array([self._side / width, self._side / height, 1])
    asked = (np.array(points, np.float32) * scale).astype(np.float32)
    fed = {
      **dict(zip(self._outputs, self._encode(frame), strict=True)),
      "point_coords": asked[None, :, :2],
      "point_labels": asked[None, :, 2],
      "mask_input": np.zeros((1, 1, self._asked, self._asked), np.float32),
      "has_mask_input": np.array([last is not None], np.float32),
      "orig_im_size": np.array([height, width]),
    }
    if last is not None:
      fed["mask_input"][0, 0] = last.logits
    answer = self._decoder.run(
      None, {name: fed[name].astype(_dtype(each)) for name, each in self._prompts.items()}
    )
    named = dict(zip(self._answers, answer, strict=True))
    offered = [_resized(logits, (height, width)) > 0 for logits in named["masks"][0]]
    if last is None:
      best = int(np.argmax(named["iou_predictions"][0]))
    else:
      common = [_common(mask, last.mask) for mask in offered]
      best = int(np.argmax(common))
      if common[best] < _LOST:
        raise UserError(
          f"expected what was clicked on in {name} as well, got a mask that has {common[best]:.0%} "
          "in common with that of the frame beside it; click on it there too, "
          "--click=VIDEO:X,Y@FRAME, or, where it has left the picture, --click=VIDEO:none@FRAME."
        )
    small = named.get("low_res_masks", named["masks"])[0][best]
    logits = _resized(small, (self._asked, self._asked))
    return _Found(np.clip(logits, -_GREATEST_LOGIT, _GREATEST_LOGIT), offered[best])

  def _encode(self, frame: np.ndarray) -> list[np.ndarray]:
    image = Image.fromarray(frame).resize((self._side, self._side), Image.Resampling.BILINEAR)
    levels = (np.asarray(image, np.float32) / 255 - _MEAN) / _STD
    levels = levels.transpose(2, 0, 1)[None].astype(_dtype(self._image))
    return self._encoder.run(None, {self._image.name: levels})


def _load(runtime: Any, folder: pathlib.Path, part: str) -> Any:
  found = sorted(folder.glob(f"*{part}*.onnx"))
  if len(found) != 1:
    raise UserError(
      f"expected a folder with one *{part}*.onnx, {_EXPORT}, got {len(found)} in {folder}; nothing "
      "is fetched: export or download them yourself."
    )
  offered = runtime.get_available_providers()
  providers = [each for each in _PROVIDERS if each in offered]
  try:
    return runtime.InferenceSession(found[0], providers=providers)
  except Exception as error:  # ONNX Runtime's errors have no class in common but this.
    raise UserError(
      f"expected an ONNX model in {found[0]}, got what ONNX Runtime cannot load ({error}); export "
      "or download it again."
    ) from error


def _check_clicks(frames: np.ndarray, clicks: Sequence[Click], name: str) -> None:
  length, height, width = frames.shape[:3]
  for click in clicks:
    inside = click.x is None or (click.x < width and click.y < height)
    if click.frame >= length or not inside:
      place = "none" if click.x is None else f"{click.x:g},{click.y:g}"
      raise UserError(
        f"expected clicks within the {length} frames of {height}x{width}{name}, got "
        f"{place}@{click.frame}; count both from 0, in the frames as they are taken "
        "(--frame_stride, --size)."
      )
  first = min((click.frame for click in clicks), default=0)
  if not any(click.x is not None and click.inside for click in clicks if click.frame == first):
    raise UserError(
      f"expected a click on the robot in the first frame{name} that has any, got none; give one, "
      "--click=X,Y, in pixels from the left and from the top."
    )


def _inside(mask: np.ndarray) -> list[tuple[float, float]]:
  """Points (x, y) of a mask that are far from its border and from one another."""
  depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
  rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
  points, least = [], max(_DEPTH * depth.max(), 1.0)
  while len(points) < _INSIDE and depth.max() >= least:
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    points.append((float(x), float(y)))
    depth = np.where(np.hypot(rows - y, columns - x) <= 2 * depth[y, x], 0, depth)
  return points


def _common(mask: np.ndarray, other: np.ndarray) -> float:
  return float((mask & other).sum() / max(1, (mask | other).sum()))


def _resized(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  if logits.shape == size:
    return logits
  image = Image.fromarray(logits.astype(np.float32))
  return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))


def _dtype(asked: Any) -> type:
  kinds = {"float16": np.float16, "int64": np.int64, "int32": np.int32}
  return kinds.get(asked.type.removeprefix("tensor(").removesuffix(")"), np.float32)
