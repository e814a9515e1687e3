"""Single images and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import moving_picture
from vipjax.runtime.errors import UserError
from vipjax.videos import fit_square, read_image, resize_frames, write_image


def test_rgb_round_trip_is_exact(tmp_path):
  image = moving_picture(1)[0]
  write_image(tmp_path / "new" / "goal.png", image)
  read = read_image(tmp_path / "new" / "goal.png")
  np.testing.assert_array_equal(read, image)
  assert read.dtype == np.uint8 and read.flags.writeable


def test_grey_and_transparent_images_are_converted(tmp_path):
  grey = np.array([[0, 100], [200, 255]], np.uint8)
  write_image(tmp_path / "grey.png", grey)
  write_image(tmp_path / "channel.png", grey[..., None])
  for name in ("grey.png", "channel.png"):
    with Image.open(tmp_path / name) as image:
      assert image.mode == "RGB"
    np.testing.assert_array_equal(read_image(tmp_path / name), np.stack([grey] * 3, -1))
  # Opaque, clear and half (128 / 255) clear black on white: 0, 255 and 255 * (1 - 128 / 255).
  write_image(
    tmp_path / "clear.png", np.array([[[0, 0, 0, 255], [0] * 4, [0, 0, 0, 128]]], np.uint8)
  )
  assert read_image(tmp_path / "clear.png")[0].tolist() == [[0] * 3, [255] * 3, [127] * 3]


@pytest.mark.parametrize(
  "image",
  [
    np.zeros((4, 4, 3), np.float32),
    np.zeros((4, 4, 2), np.uint8),
    np.zeros((2, 4, 4, 3), np.uint8),
    np.zeros((0, 4, 3), np.uint8),
  ],
)
def test_images_that_do_not_fit(tmp_path, image):
  with pytest.raises(UserError, match="expected a uint8 image .* got .*; convert it.*\\.$"):
    write_image(tmp_path / "goal.png", image)
  assert not list(tmp_path.iterdir())


def test_image_files_that_cannot_be_used(tmp_path):
  write_image(tmp_path / "goal.png", moving_picture(1)[0])
  with pytest.raises(UserError, match=r"expected no file at .*goal\.png.*overwrite=True"):
    write_image(tmp_path / "goal.png", moving_picture(1)[0])
  write_image(tmp_path / "goal.png", moving_picture(1)[0], overwrite=True)
  with pytest.raises(UserError, match=r"ending in \.png, got .*goal\.bmp"):
    write_image(tmp_path / "goal.bmp", moving_picture(1)[0])
  with pytest.raises(UserError, match="expected an image file, got nothing at"):
    read_image(tmp_path / "gone.png")
  with pytest.raises(UserError, match="expected an image file, got the folder "):
    read_image(tmp_path)
  (tmp_path / "text.png").write_text("not an image")
  with pytest.raises(UserError, match=r"text\.png, got a truncated or corrupt one \(cannot ident"):
    read_image(tmp_path / "text.png")


def test_resize_by_hand():
  # Halving a row with a triangle filter weighs 1, 3, 3, 1 eighths; at the border the outer weight
  # has no pixel and the rest is normalized: (3 * 0 + 3 * 80 + 1 * 160) / 7 = 57.1.
  row = np.array([0, 80, 160, 240], np.uint8)
  frames = np.broadcast_to(row[:, None], (2, 4, 4, 3))
  resized = resize_frames(frames, (4, 2))
  assert resized.shape == (2, 4, 2, 3) and resized.dtype == np.uint8
  np.testing.assert_array_equal(resized, np.broadcast_to([[57], [183]], (2, 4, 2, 3)))
  # Without the filter a single bright pixel would vanish or stay as it is.
  spot = np.zeros((1, 8, 8, 3), np.uint8)
  spot[0, 4, 4] = 255
  assert 0 < resize_frames(spot, 2).max() < 64


def test_resize_to_the_same_size_is_a_copy():
  frames = moving_picture(2)
  resized = resize_frames(frames, (48, 64))
  np.testing.assert_array_equal(resized, frames)
  assert not np.shares_memory(resized, frames)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (50, 50), (17, 53)])
@pytest.mark.parametrize("size", [16, 40, 100])
def test_fit_square_shape(height, width, size):
  assert fit_square(moving_picture(2, height, width), size).shape == (2, size, size, 3)


def test_fit_square_keeps_the_centre_by_hand():
  # 4 x 8, no resizing: columns 2 to 5 remain. 4 x 7: a margin of 1.5 rounds to the even 2.
  wide = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None], (1, 4, 8, 3))
  assert fit_square(wide, 4)[0, 0, :, 0].tolist() == [2, 3, 4, 5]
  assert fit_square(wide[:, :, :7], 4)[0, 0, :, 0].tolist() == [2, 3, 4, 5]
  tall = wide.swapaxes(1, 2)
  assert fit_square(tall, 4)[0, :, 0, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("function", [resize_frames, fit_square])
def test_sizes_and_frames_are_checked(function):
  with pytest.raises(UserError, match="expected a size of at least 1 pixel, got 0x0"):
    function(moving_picture(1, 8, 8), 0)
  with pytest.raises(UserError, match=r"expected frames to be uint8 \[T, H, W, 3\]"):
    function(moving_picture(1)[0], 8)
