"""One check of frames for all rooms."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from vipjax.runtime.errors import UserError


def check_frames(frames: Any, name: str = "frames", axes: str = "[T, H, W, 3]") -> Any:
  """Returns the frames where they are uint8 and have these axes, none of them empty.

  Args:
    frames: an array of JAX, traced or not, or what NumPy makes an array of.
    name: their name in the message.
    axes: the last three are [H, W, 3]; a first axis "..." stands for any number of them.

  Raises:
    UserError: another dtype, rank or number of colours, or an axis of length 0.
  """
  frames = frames if isinstance(frames, jax.Array) else np.asarray(frames)
  shape, dtype = frames.shape, frames.dtype
  fits = len(shape) >= 3 if axes.startswith("[...") else len(shape) == axes.count(",") + 1
  if dtype != np.uint8 or not fits or shape[-1] != 3 or 0 in shape:
    raise UserError(
      f"expected {name} to be uint8 {axes} with at least one frame, got {dtype} {list(shape)}; "
      "give RGB values of 0 to 255, the three colours last."
    )
  return frames
