"""Erasing a robot from the film of a static camera, given or found where it is.

Behind a robot that moves, each pixel is seen at some other time of the same film. So a hidden pixel
takes the frame nearest in time in which it is seen. What no frame shows is filled flat, and its
share is told. A tail of the film, in which the task is done and the robot leaves, shows what the
robot hid at the end.

What this cannot do: know what an object did behind the robot (it jumps from its state before to its
state after), or light and shadow that the robot throws beside its mask.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.videos.composite import differing
from vipjax.videos.lazy import evenly

# Where something moves over a pixel, it differs from the median picture by more levels.
THRESHOLD = 24
# Share of a film for which a pixel keeps its level where something has come to rest. In films of 15
# expert episodes, .3 brings the erased ones nearer to robot-free ones than .2 or no such rule does.
REST = 0.3
# Pixels of the median picture are taken from at most so many frames.
_MEDIAN_OF = 64
# The check of the camera looks at so many frames, in the squares of a grid, shrunk to no fewer
# pixels than these; a square without contrast (levels) says nothing.
_CHECKED, _GRID, _SIDE, _CONTRAST = 12, 6, 256, 4.0


class Erased(NamedTuple):
  """A film without what its masks cover.

  Attributes:
    frames: uint8 [T, H, W, 3].
    weights: float32 [T, H, W] in 0..1, how much of each pixel was replaced.
    never_seen: bool [H, W], hidden in every frame, and so filled flat.
    outdated: bool [H, W], hidden in the last frame, which shows there what an earlier one did.
  """

  frames: np.ndarray
  weights: np.ndarray
  never_seen: np.ndarray
  outdated: np.ndarray

  @property
  def erased_share(self) -> float:
    """Of all pixels of all frames, those that were replaced, in part at least."""
    return float((self.weights > 0).mean())

  @property
  def flat_share(self) -> float:
    """Of the pixels that were replaced, those that no frame shows."""
    return float(self.never_seen.sum() * len(self.frames) / max(1, (self.weights > 0).sum()))

  @property
  def outdated_share(self) -> float:
    """Of the last frame's pixels, those that show what an earlier frame did."""
    return float(self.outdated.mean())


def motion_masks(frames: np.ndarray, threshold: int = THRESHOLD) -> np.ndarray:
  """Where a film differs from its median picture, but for what has come to rest.

  It knows no robot: an object is taken for one while it moves, a robot that waits is not, and what
  the robot covers for half of the film is in the median picture.

  Args:
    frames: uint8 [T, H, W, 3] of a static camera.
    threshold: see `differing`; a pixel that stays within it for a share `REST` of the film is at
      rest.

  Returns:
    bool [T, H, W].
  """
  picks = evenly(len(frames), _MEDIAN_OF)
  # Of an even number the lower one: their mean is a colour that neither shows.
  middle = (len(picks) - 1) // 2
  median = np.partition(frames[picks], middle, axis=0)[middle]
  return differing(frames, median[None], threshold) & ~resting(frames, threshold, REST)


def resting(frames: np.ndarray, threshold: int, rest: float) -> np.ndarray:
  """Whether a pixel is part of a stretch of the film in which all its colours keep their level.

  Args:
    frames: uint8 [T, H, W, 3].
    threshold: greatest difference of levels in the stretch.
    rest: its length as a share of the film, but at least two frames.

  Returns:
    bool [T, H, W].
  """
  length = min(max(2, round(rest * len(frames))), len(frames))
  result = np.empty(frames.shape[:3], bool)
  for row in range(frames.shape[1]):
    # Of the stretch that begins at each frame.
    most, least = (
      extreme(frames[:, row], length, axis=0, origin=-(length // 2))
      for extreme in (ndimage.maximum_filter1d, ndimage.minimum_filter1d)
    )
    still = ((most - least).max(axis=-1) <= threshold).astype(np.uint8)
    still[len(frames) - length + 1 :] = 0
    result[:, row] = ndimage.maximum_filter1d(
      still, length, axis=0, mode="constant", origin=(length - 1) // 2
    )
  return result


def grown(masks: np.ndarray, grow: float, feather: float) -> np.ndarray:
  """Weights that are 1 in a mask grown by `grow` pixels and fall to 0 over `feather` more.

  A pixel at the distance d from the mask gets (grow + feather + 1 - d) / (feather + 1), within 0
  and 1.

  Args:
    masks: bool [T, H, W].
    grow, feather: pixels, of at least 0.

  Returns:
    float32 [T, H, W].
  """
  weights = np.zeros(masks.shape, np.float32)
  for mask, out in zip(masks, weights, strict=True):
    if mask.any():
      distance = ndimage.distance_transform_edt(~mask)
      out[:] = np.clip((grow + feather + 1 - distance) / (feather + 1), 0, 1)
  return weights


def nearest_seen(hidden: np.ndarray, tail: int = 0) -> np.ndarray:
  """For each pixel the frame nearest in time in which it is seen, of two the earlier one.

  Args:
    hidden: bool [T, ...].
    tail: so many frames, the last ones, show what the one before them does, and count as of its
      time.

  Returns:
    int32 [T, ...]: where a pixel is seen, the frame itself; -1 where no frame shows it.
  """
  length = len(hidden)
  times = np.arange(length, dtype=np.int32).reshape(-1, *[1] * (hidden.ndim - 1))
  before = np.maximum.accumulate(np.where(hidden, np.int32(-1), times), axis=0)
  seen_later = np.where(hidden, np.int32(length), times)[::-1]
  after = np.minimum.accumulate(seen_later, axis=0)[::-1]
  shown = np.minimum(after, length - 1 - tail)  # when a later frame's picture was there first
  later = (after < length) & ((before < 0) | (shown - times < times - before))
  return np.where(later, after, before)


def erase(
  frames: np.ndarray, masks: np.ndarray, grow: float = 2.0, feather: float = 2.0, tail: int = 0
) -> Erased:
  """A film of a static camera without what its masks cover.

  Args:
    frames: uint8 [T, H, W, 3].
    masks: bool [T, H, W], True where the robot is.
    grow, feather: pixels by which masks grow, and over which the filling fades out: see `grown`. A
      pixel that is changed at all counts as hidden.
    tail: so many frames, the last ones, tell what the robot hid when all was done, and are left out
      of the result.

  Raises:
    UserError: masks of another number or size than the frames, or that hide every pixel of all; or
      a tail that leaves no frame.
  """
  frames = np.asarray(check_frames(frames))
  if masks.shape != frames.shape[:3]:
    raise UserError(
      f"expected masks like the frames, {list(frames.shape[:3])}, got {list(masks.shape)}; give "
      "one of the frame's size for each."
    )
  if not 0 <= tail < len(frames):
    raise UserError(
      f"expected a tail of 0 to {len(frames) - 1} of the film's {len(frames)} frames, got {tail}; "
      "change it."
    )
  weights = grown(masks, grow, feather)
  hidden = weights > 0
  never_seen = hidden.all(axis=0)
  if never_seen.all():
    raise UserError(
      "expected a pixel that some frame shows without the robot, got masks that hide all of them; "
      "are they inverted?"
    )
  kept = len(frames) - tail
  result, weights = np.empty_like(frames[:kept]), weights[:kept]
  outdated = hidden[kept - 1] & ~never_seen
  for row in range(frames.shape[1]):  # One at a time: the indices take more memory than the frames.
    source = np.maximum(nearest_seen(hidden[:, row], tail)[:kept], 0)
    result[:, row] = np.take_along_axis(frames[:, row], source[..., None], axis=0)
    outdated[row] &= source[-1] < kept
  _fill_flat(result, never_seen)
  for frame, old, weight in zip(result, frames[:kept], weights, strict=True):
    mixed = old + weight[..., None] * (frame.astype(np.float32) - old)
    frame[:] = np.rint(mixed).astype(np.uint8)
  return Erased(result, weights, never_seen, outdated)


def _fill_flat(frames: np.ndarray, never_seen: np.ndarray) -> None:
  """Gives each connected region that is never seen the mean colour of the pixels around it."""
  regions, count = ndimage.label(never_seen)
  for region in range(1, count + 1):
    inside = regions == region
    around = ndimage.binary_dilation(inside, np.ones((3, 3), bool)) & ~never_seen
    frames[:, inside] = np.rint(frames[:, around].mean(axis=(0, 1))).astype(np.uint8)


def camera_shift(frames: np.ndarray) -> float:
  """By how many pixels the picture moves as a whole; below 1 for a static camera.

  Frames are compared with the first, by phase correlation in each square of a grid (Kuglin and
  Hines, 1975). The median of the squares counts: a robot may move in fewer than half of those that
  have any contrast. Of the frames, the upper quartile counts, so that a jolt is not a motion.

  Args:
    frames: uint8 [T, H, W, 3]; of ones of 512 pixels and more a smaller copy is looked at.

  Returns:
    Pixels of what is looked at; 0 where too few squares have contrast to tell.
  """
  picks = evenly(len(frames), _CHECKED)
  step = max(1, min(frames.shape[1:3]) // _SIDE)
  grey = frames[picks].astype(np.float32).mean(axis=-1)
  height, width = (size // step * step for size in grey.shape[1:])
  grey = grey[:, :height, :width].reshape(len(picks), height // step, step, width // step, step)
  # Smoothed, because noise in squares without contrast would look like motion.
  grey = ndimage.gaussian_filter(grey.mean(axis=(2, 4)), (0, 1, 1))
  first, *others = _squares(grey)
  contrast = first.std(axis=(1, 2)) > _CONTRAST
  if contrast.sum() < _GRID or not others:
    return 0.0
  shifts = [np.median(_shifts(first[contrast], other[contrast])) for other in others]
  return float(np.quantile(shifts, 0.75))


def _squares(pictures: np.ndarray) -> np.ndarray:
  """float32 [T, N, h, w]: the squares of a grid over pictures [T, H, W]."""
  count, height, width = pictures.shape
  side_y, side_x = height // _GRID, width // _GRID
  cut = pictures[:, : side_y * _GRID, : side_x * _GRID]
  cut = cut.reshape(count, _GRID, side_y, _GRID, side_x).swapaxes(2, 3)
  return cut.reshape(count, _GRID * _GRID, side_y, side_x)


def _shifts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """float [N]: by how many pixels each square [h, w] has moved."""
  height, width = first.shape[1:]
  window = np.hanning(height)[:, None] * np.hanning(width)

  def spectrum(squares: np.ndarray) -> np.ndarray:
    return np.fft.fft2((squares - squares.mean(axis=(1, 2), keepdims=True)) * window)

  cross = spectrum(second) * spectrum(first).conj()
  peaks = np.fft.ifft2(cross / (np.abs(cross) + 1e-6)).real.reshape(len(first), -1).argmax(axis=1)
  y, x = np.divmod(peaks, width)
  return np.hypot(np.minimum(y, height - y), np.minimum(x, width - x))
