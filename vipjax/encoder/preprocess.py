"""From uint8 frames to what the network takes: resizing, cropping, normalizing.

It follows the official VIP *examples*, which resize the shorter side to 256 with PIL (antialiased
bilinear, rounded to uint8 after each of its two passes) and cut the central 224x224.
`resize_center_crop` calls PIL itself; `device_resize(..., rounding=True)` is within one grey level
of it, as two matrix products inside jit. (The official model's own tensor resize rounds once;
TorchRL's VIP transform normalizes first and does not crop: both give other embeddings.)

A resize along one side is a product with a [output, input] matrix of triangle weights. On a CPU
that is much faster than gathers, and a random crop is the same product with other weights.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.runtime.platform import on_cpu

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """Sizes in pixels: the shorter side becomes `resize`, then the central `crop` x `crop` is cut.

  Raises:
    UserError: not 1 <= crop <= resize.
  """

  resize: int = 256
  crop: int = 224

  def __post_init__(self):
    sizes = (self.resize, self.crop)
    if any(type(size) is not int for size in sizes) or not 1 <= self.crop <= self.resize:
      raise UserError(
        f"expected whole numbers with 1 <= crop <= resize, got resize={self.resize!r} and "
        f"crop={self.crop!r}; use 256 and 224 as VIP, or twice the size of small frames."
      )

  def __call__(self, frames: jax.Array) -> jax.Array:
    """uint8 [..., H, W, 3] -> normalized float32 [..., crop, crop, 3]; jittable."""
    check_frames(frames, axes="[..., H, W, 3]")
    return normalize_levels(self.levels(frames))

  def levels(self, frames: jax.Array) -> jax.Array:
    """uint8 [..., H, W, 3] -> float32 [..., crop, crop, 3] in 0..255, not yet normalized."""
    # On a CPU as when results were measured: sums in another order round some ties otherwise.
    crop = None if on_cpu() else self.crop
    resized = device_resize(frames, self.resize, rounding=True, crop=crop)
    return center_crop(resized, self.crop)


def normalize_levels(levels: jax.Array) -> jax.Array:
  """Colours 0..255 [..., 3] (any dtype) -> float32, / 255, minus ImageNet's mean, / deviation.

  They are divided by 255 whatever their values: a dark frame stays dark (the official model divides
  only if some value exceeds 2).
  """
  mean = 255 * jnp.asarray(IMAGENET_MEAN, jnp.float32)
  std = 255 * jnp.asarray(IMAGENET_STD, jnp.float32)
  chex.assert_axis_dimension(levels, -1, 3)
  levels = jnp.asarray(levels, jnp.float32)
  axes = (1,) * (levels.ndim - 1) + (3,)
  return (levels - mean.reshape(axes)) / std.reshape(axes)


def resize_center_crop(frames: np.ndarray, resize: int = 256, crop: int = 224) -> np.ndarray:
  """The official examples' preprocessing on the host, with PIL itself.

  Args:
    frames: uint8 [T, H, W, 3].
    resize: new length of the shorter side, in pixels.
    crop: side of the central square that is kept, at most `resize`.

  Returns:
    uint8 [T, crop, crop, 3].

  Raises:
    UserError: wrong frames or sizes.
  """
  from PIL import Image

  Preprocessing(resize, crop)  # checks the sizes
  frames = np.asarray(frames)
  check_frames(frames)
  height, width = resized_shape(frames.shape[1], frames.shape[2], resize)
  resized = [
    np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
    for frame in frames
  ]
  return center_crop(np.stack(resized), crop)


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
  """Height and width once the shorter side is `size`; the longer is rounded down (torchvision)."""
  short = min(height, width)
  return size * height // short, size * width // short


def center_crop(frames, size: int):
  """Central [..., size, size, 3] of [..., H, W, 3]; an odd margin is split as torchvision does."""
  top = round((frames.shape[-3] - size) / 2)
  left = round((frames.shape[-2] - size) / 2)
  return frames[..., top : top + size, left : left + size, :]


def resize_weights(size: int, length: int, start, extent) -> jax.Array:
  """Weights [size, length] that resample the pixels [start, start + extent) of one side to `size`.

  Triangle filter, widened by extent / size when it shrinks (antialiasing), cut off at the borders
  of the window and renormalized: what PIL and torchvision do after a crop. `start` and `extent`
  may be traced.
  """
  scale = jnp.asarray(extent, jnp.float32) / size
  center = start + (jnp.arange(size) + 0.5) * scale
  pixel = jnp.arange(length)[None]
  weights = 1 - jnp.abs(pixel + 0.5 - center[:, None]) / jnp.maximum(scale, 1.0)
  inside = (pixel >= start) & (pixel < start + extent)
  weights = jnp.where(inside, jnp.maximum(weights, 0.0), 0.0)
  return weights / jnp.sum(weights, -1, keepdims=True)


def _resample(frames: jax.Array, rows: jax.Array, columns: jax.Array, rounding: bool) -> jax.Array:
  """[..., H, W, 3] -> [..., h, w, 3] by `rows` [h, H] and `columns` [w, W]; columns first as PIL.

  Colours go first, so that both products are plain matrix products over whole images.
  """
  finish = (lambda x: jnp.clip(jnp.floor(x + 0.5), 0, 255)) if rounding else (lambda x: x)
  highest = jax.lax.Precision.HIGHEST  # TF32 or bfloat16 would move pixels by whole levels
  planes = jnp.moveaxis(frames, -1, -3).astype(jnp.float32)
  planes = finish(jnp.matmul(planes, columns.T, precision=highest))
  planes = finish(jnp.matmul(rows, planes, precision=highest))
  return jnp.moveaxis(planes, -3, -1)


def device_resize(
  frames: jax.Array, size: int, rounding: bool = False, crop: int | None = None
) -> jax.Array:
  """Resizes the shorter side to `size`, antialiased bilinear, inside jit.

  Args:
    frames: uint8 or float [..., H, W, 3], colours in 0..255.
    size: new length of the shorter side in pixels; the longer keeps the aspect ratio.
    rounding: round to whole levels after each pass, as PIL does for uint8 images.
    crop: side of the central square that is kept, at most `size`; None keeps all. What is cut off
      is not computed: of 480 pixels, 256 and 224 it is a sixth of the operations.

  Returns:
    float32 [..., h, w, 3] in 0..255. Without rounding it equals
    `jax.image.resize(..., "linear", antialias=True)` up to float32 error.
  """
  chex.assert_shape(frames, (..., None, None, 3))
  height, width = frames.shape[-3:-1]
  new_height, new_width = resized_shape(height, width, size)
  if (new_height, new_width) == (height, width):
    frames = jnp.asarray(frames, jnp.float32)
    return frames if crop is None else center_crop(frames, crop)
  rows = resize_weights(new_height, height, 0, height)
  columns = resize_weights(new_width, width, 0, width)
  if crop is not None:
    rows, columns = center_crop_rows(rows, crop), center_crop_rows(columns, crop)
  return _resample(frames, rows, columns, rounding)


def random_crop_box(
  key: jax.Array, height: int, width: int, scale: tuple[float, float] = (0.2, 1.0)
) -> jax.Array:
  """A crop box int32 [4]: top, left, height, width, distributed as torchvision's.

  Ten boxes are drawn (area uniform in `scale`, aspect ratio log-uniform from 3/4 to 4/3), the first
  that fits is taken; if none fits, the largest central box whose aspect ratio is allowed.
  """
  area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
  area = height * width * jax.random.uniform(area_key, (10,), minval=scale[0], maxval=scale[1])
  least, most = 3 / 4, 4 / 3
  aspect = jnp.exp(jax.random.uniform(ratio_key, (10,), minval=np.log(least), maxval=np.log(most)))
  widths = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
  heights = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
  fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
  first = jnp.argmax(fits)
  box_height = jnp.where(fits[first], heights[first], min(height, round(width / least)))
  box_width = jnp.where(fits[first], widths[first], min(width, round(height * most)))
  top = jax.random.randint(top_key, (), 0, height - box_height + 1)
  left = jax.random.randint(left_key, (), 0, width - box_width + 1)
  top = jnp.where(fits[first], top, (height - box_height) // 2)
  left = jnp.where(fits[first], left, (width - box_width) // 2)
  return jnp.stack([top, left, box_height, box_width]).astype(jnp.int32)


def random_resized_crop(
  key: jax.Array,
  frames: jax.Array,
  size: int,
  scale: tuple[float, float] = (0.2, 1.0),
  then_resize: int | None = None,
) -> jax.Array:
  """One random box per clip, shared by its frames, resized to size x size; jittable.

  VIP's `rctraj` augmentation is RandomResizedCrop(224) with scale 0.2..1, then Resize 256 and
  CenterCrop 224, which `then_resize=256` adds.

  Args:
    key: random key, consumed by the boxes; or keys [B], one per clip (equal keys, equal boxes).
    frames: uint8 [B, T, H, W, 3].
    size: side of the output in pixels.
    scale: least and greatest area of the box as a fraction of the frame's.
    then_resize: None, or the side to which the crop is resized before its central size x size
      is cut, at least `size`.

  Returns:
    float32 [B, T, size, size, 3] in 0..255 (see `normalize_levels`).

  Raises:
    UserError: the frames are not uint8 [B, T, H, W, 3], or then_resize < size.
  """
  check_frames(frames, "clips", "[B, T, H, W, 3]")
  if then_resize is not None and then_resize < size:
    raise UserError(
      f"expected then_resize of at least {size}, the size, got {then_resize}; use 256 with 224 as "
      "VIP."
    )
  height, width = frames.shape[2:4]

  def crop(clip_key, clip):
    top, left, box_height, box_width = random_crop_box(clip_key, height, width, scale)
    rows = resize_weights(size, height, top, box_height)
    columns = resize_weights(size, width, left, box_width)
    if then_resize is not None:  # two linear maps in a row are one
      again = center_crop_rows(resize_weights(then_resize, size, 0, size), size)
      rows, columns = again @ rows, again @ columns
    return _resample(clip, rows, columns, rounding=False)

  keys = key if key.ndim else jax.random.split(key, frames.shape[0])
  chex.assert_shape(keys, frames.shape[:1])
  return jax.vmap(crop)(keys, frames)


def center_crop_rows(weights: jax.Array, size: int) -> jax.Array:
  """The central `size` rows of resize weights [n, length]: a resize followed by a centre crop."""
  start = round((weights.shape[0] - size) / 2)
  return weights[start : start + size]
