"""Single images, and sizes of frames."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, ImageOps

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.videos.access import decoding, existing_path, whole_file


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
  """Reads an image file (png, jpg and whatever else Pillow knows).

  Grey becomes RGB, 16-bit grey is scaled to 8 bits, transparent pixels are laid on white, and the
  orientation that a camera noted in the file is applied.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: nothing is at the path, it is a folder, may not be read or cannot be decoded.
  """
  path = existing_path(path, "an image file")
  if path.is_dir():
    raise UserError(f"expected an image file, got the folder {path}; pass one of its files.")
  with decoding(path):
    return _upright(path)


def read_alpha(path: pathlib.Path) -> np.ndarray:
  """Reads the alpha channel of an image, upright, as uint8 [H, W, 3]: white is opaque.

  Raises:
    UserError: it has none, or cannot be read.
  """
  with decoding(path), Image.open(path) as image:
    if not image.has_transparency_data:
      raise UserError(
        f"expected an alpha channel in {path}, got a picture of mode {image.mode}; give masks that "
        "are white where the robot is instead."
      )
    alpha = ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")
    return np.array(alpha.convert("RGB"))


def decode_images(encoded: Iterable[bytes], source: str) -> Iterator[np.ndarray]:
  """Decodes images, as `read_image` does.

  Args:
    encoded: the contents of image files (png, jpg).
    source: their name in messages.

  Yields:
    uint8 [H, W, 3] of each.

  Raises:
    UserError: Pillow cannot decode one.
  """
  for index, content in enumerate(encoded):
    try:
      yield _upright(io.BytesIO(content))
    except (OSError, SyntaxError, ValueError) as error:
      raise UserError(
        f"expected images in {source}, got image {index}, which cannot be decoded ({error}); copy "
        "the data set again."
      ) from error


def write_image(
  path: str | os.PathLike[str], image: np.ndarray, *, overwrite: bool = False
) -> None:
  """Writes a PNG; folders on the way are made.

  Args:
    path: a name that ends in `.png`.
    image: uint8 [H, W] or [H, W, 1] (grey), [H, W, 3] (RGB) or [H, W, 4] (RGBA, which is laid on
      white); the file is always RGB.
    overwrite: whether a file that is there may be replaced.

  Raises:
    UserError: another shape or dtype, another suffix, or the file is there already.
  """
  path = pathlib.Path(path).expanduser()
  if path.suffix.lower() != ".png":
    raise UserError(f"expected an image name ending in .png, got {path}; rename it.")
  image = np.asarray(image)
  if image.ndim == 3 and image.shape[-1] == 1:
    image = image[..., 0]
  channels_fit = image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (3, 4))
  if image.dtype != np.uint8 or not channels_fit or 0 in image.shape:
    raise UserError(
      f"expected a uint8 image [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], got {image.dtype} "
      f"{list(image.shape)}; convert it to values of 0 to 255."
    )
  with whole_file(path, overwrite) as partial:
    _to_rgb(Image.fromarray(image)).save(partial, format="PNG")


def resize_frames(frames: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
  """Resizes frames with Pillow's antialiased bilinear filter; the aspect is not kept.

  Args:
    frames: uint8 [T, H, W, 3].
    size: height and width of the result, or one number for both, in pixels.

  Returns:
    uint8 [T, size_h, size_w, 3].
  """
  frames = np.asarray(check_frames(frames))
  height, width = (size, size) if np.ndim(size) == 0 else size
  if height < 1 or width < 1:
    raise UserError(f"expected a size of at least 1 pixel, got {height}x{width}; enlarge it.")
  if frames.shape[1:3] == (height, width):
    return frames.copy()
  resized = np.empty((len(frames), height, width, 3), np.uint8)
  for index, frame in enumerate(frames):
    resized[index] = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
  return resized


def shrunk(frames: np.ndarray, height: int) -> np.ndarray:
  """Frames uint8 [T, H, W, 3] of at most this height in pixels; the aspect is kept."""
  h, w = frames.shape[1:3]
  return frames if h <= height else resize_frames(frames, (height, max(1, height * w // h)))


def fit_square(frames: np.ndarray, size: int) -> np.ndarray:
  """Resizes the short side to `size`, then crops the centre: the preprocessing of VIP's examples.

  The long side is rounded down and an odd crop margin is rounded half to even, as in the `Resize`
  and `CenterCrop` transforms that VIP's official examples apply to PIL images.

  Args:
    frames: uint8 [T, H, W, 3].
    size: side of the square in pixels.

  Returns:
    uint8 [T, size, size, 3].
  """
  frames = np.asarray(check_frames(frames))
  height, width = frames.shape[1:3]
  short = min(height, width)
  # Integer arithmetic: the same as rounding down the exact quotient.
  resized = resize_frames(frames, (size * height // short, size * width // short))
  top = round((resized.shape[1] - size) / 2)
  left = round((resized.shape[2] - size) / 2)
  return np.ascontiguousarray(resized[:, top : top + size, left : left + size])


def _upright(file: pathlib.Path | io.BytesIO) -> np.ndarray:
  with Image.open(file) as image:
    return np.array(_to_rgb(ImageOps.exif_transpose(image)))


def _to_rgb(image: Image.Image) -> Image.Image:
  """Any Pillow mode to RGB, transparency on white."""
  if image.mode.startswith("I"):
    # Pillow's own conversion of 16-bit grey clips at 255 instead of scaling.
    values = np.clip(np.asarray(image, np.float32) / 257, 0, 255)
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
  if image.has_transparency_data:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
  return image.convert("RGB")
