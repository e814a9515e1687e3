"""Grad-CAM of the value: which parts of a frame raise V(o, g) (Selvaraju et al., arXiv:1610.02391).

The maps cover the network's view: the central crop of the resized frame, `crop` pixels a side
(`vipjax.encoder.Preprocessing`). `network_view` converts frames to it, `attention.see_labels`
labels.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder import HEAD, Head, Preprocessing, ValueFunction
from vipjax.encoder.preprocess import resize_center_crop, resize_weights
from vipjax.runtime.errors import UserError

# Frames per compiled call: gradients of the last stage alone need little memory.
_CHUNK = 8
STAGES = 4


def grad_cam(
  value: ValueFunction, frames: np.ndarray, goal: np.ndarray, stage: int = STAGES
) -> np.ndarray:
  """Returns Grad-CAM maps of V(o, g) for the frames of a video.

  A map is relu(sum_k a_k A_k), where A are the features of a convolutional stage and a_k is the
  mean over places of dV/dA_k (equations 1 and 2 of the paper). Maps of one video share a scale.

  Args:
    value: the value function.
    frames: uint8 [T, H, W, 3].
    goal: uint8 [H, W, 3], or [G, H, W, 3] whose embeddings are averaged.
    stage: 4, the usual last one, has `crop` / 32 cells a side; each stage before has twice as many.
      For small inputs the last has too few cells to tell object from arm.

  Returns:
    float32 [T, h, w], >= 0. It is 0 for a frame that is the goal, because V has its maximum there.

  Raises:
    UserError: as `ValueFunction.distance`, or a stage outside 1 to 4.
  """
  if stage not in range(1, STAGES + 1):
    raise UserError(f"expected a stage from 1 to {STAGES}, got {stage}; choose one of these.")
  goal = np.asarray(goal)
  goal = goal[None] if goal.ndim == 3 else goal
  value.distance(frames[:1], goal)  # checks both
  goal_embedding = value.embed(goal).mean(0)
  compute = _compiled(value.module(), value.preprocessing, stage, value.head)
  variables = jax.device_put(value.variables)
  maps = []
  for start in range(0, len(frames), _CHUNK):
    part = frames[start : start + _CHUNK]
    padded = np.pad(part, [(0, _CHUNK - len(part))] + [(0, 0)] * 3)
    maps.append(np.asarray(compute(variables, padded, goal_embedding))[: len(part)])
  result = np.concatenate(maps)
  # At the goal the distance is 0 up to rounding, and its gradient is that of the rounding error.
  result[[len(goal) == 1 and np.array_equal(frame, goal[0]) for frame in frames]] = 0.0
  return result


def fine_stage(value: ValueFunction, cells: int = 7) -> int:
  """Returns the last stage whose maps have at least `cells` a side (7: at 224 pixels), else 1."""
  crop = value.preprocessing.crop
  frames = jax.ShapeDtypeStruct((1, crop, crop, 3), jnp.float32)
  module = value.module()
  for stage in range(STAGES, 1, -1):
    shape = jax.eval_shape(
      lambda v, x, stage=stage: module.apply(v, x, stages=stage, method="features"),
      value.variables, frames,
    ).shape  # fmt: skip
    if shape[1] >= cells:
      return stage
  return 1


def network_view(
  preprocessing: Preprocessing, frames: np.ndarray, full_size: bool = False
) -> np.ndarray:
  """Returns frames in the network's view, rounded to grey levels, before colours are normalized.

  Args:
    preprocessing: the value function's preprocessing.
    frames: uint8 [T, H, W, 3].
    full_size: True to keep the frames' own resolution if that is finer, for pictures.

  Returns:
    uint8 [T, crop, crop, 3]; more pixels with `full_size`.
  """
  finer = min(frames.shape[1:3]) / preprocessing.resize
  if full_size and finer > 1:
    size = round(preprocessing.crop * finer)
    preprocessing = Preprocessing(min(frames.shape[1:3]), size)
  return resize_center_crop(frames, preprocessing.resize, preprocessing.crop)


def enlarge(maps: np.ndarray, size: int) -> np.ndarray:
  """Returns maps [T, h, w] enlarged to float32 [T, size, size], bilinear."""
  rows, columns = (np.asarray(resize_weights(size, n, 0, n)) for n in maps.shape[1:])
  return np.asarray(rows @ maps @ columns.T, np.float32)


def overlay(frames: np.ndarray, maps: np.ndarray, strength: float = 0.55) -> np.ndarray:
  """Returns frames under their maps' colours: dark blue for 0, red for the map's greatest value.

  Args:
    frames: uint8 [T, S, S, 3], from `network_view`.
    maps: float [T, h, w], >= 0; the function divides each by its greatest value.
    strength: opacity of the colours, 0 to 1.

  Returns:
    uint8 [T, S, S, 3]; a frame with a map of zeros is unchanged.
  """
  from matplotlib import colormaps

  peaks = maps.max((1, 2), keepdims=True)
  scaled = enlarge(maps / np.where(peaks > 0, peaks, 1.0), frames.shape[1])
  colours = 255 * colormaps["turbo"](scaled)[..., :3]
  share = strength * (peaks > 0)[..., None]
  return ((1 - share) * frames + share * colours).round().astype(np.uint8)


@functools.cache
def _compiled(module, preprocessing: Preprocessing, stage: int, head: Head):
  def value_of(features, variables, goal_embedding):
    embeddings = module.apply(variables, features, stages=stage, method="head")
    return -jnp.sum(head.distance(variables.get(HEAD), embeddings, goal_embedding[None]))

  def compute(variables, frames, goal_embedding):
    x = preprocessing(frames)
    features = module.apply(variables, x, stages=stage, method="features")
    gradients = jax.grad(value_of)(features, variables, goal_embedding)
    weights = jnp.mean(gradients.astype(jnp.float32), (1, 2), keepdims=True)
    return jax.nn.relu(jnp.sum(weights * features.astype(jnp.float32), axis=-1))

  return jax.jit(compute)
