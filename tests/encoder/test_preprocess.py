"""Resizing, cropping, normalizing, against PIL, jax.image and arithmetic."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.encoder.seeded import assert_one_sentence
from vipjax.encoder import (
  Preprocessing,
  preprocess,
  random_resized_crop,
  resize_center_crop,
)
from vipjax.encoder.preprocess import center_crop, device_resize, random_crop_box
from vipjax.runtime.errors import UserError

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"


def noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_host_path_is_the_official_examples():
  with np.load(TESTDATA / "resnet.npz") as goldens:
    image, wanted = goldens["resnet50/image_480"], goldens["resnet50/pil_preprocessed"]
  np.testing.assert_array_equal(resize_center_crop(image), wanted)


@pytest.mark.parametrize(
  ("height", "width", "resize", "crop"),
  [(120, 160, 64, 56), (97, 61, 32, 27), (20, 33, 48, 47), (48, 48, 48, 48), (300, 64, 64, 64)],
)
def test_device_path_is_pils_within_one_level(height, width, resize, crop):
  frames = noise(2, height, width, 3)
  wanted = resize_center_crop(frames, resize, crop)
  got = np.asarray(jax.jit(Preprocessing(resize, crop).levels)(frames))
  assert got.shape == wanted.shape == (2, crop, crop, 3)
  assert np.abs(got - wanted).max() <= 1
  assert (got != wanted).mean() < 0.03  # exact halves, rounded after another last digit


@pytest.mark.parametrize(("height", "width", "size"), [(60, 80, 32), (30, 20, 40)])
def test_device_resize_is_jax_image_resize(height, width, size):
  frames = noise(2, 3, height, width, 3)
  got = device_resize(jnp.asarray(frames), size)
  wanted = jax.image.resize(
    frames.astype(np.float32), got.shape, "linear", antialias=True, precision="highest"
  )
  assert min(got.shape[2:4]) == size
  np.testing.assert_allclose(got, wanted, atol=2e-3)


def test_normalize_by_hand_and_by_dtype():
  dark = np.array([[[0, 1, 2]]], np.uint8)  # no value above 2, and still 0..255
  wanted = (np.array([0, 1 / 255, 2 / 255]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  for preprocessing in (Preprocessing(1, 1), jax.jit(Preprocessing(1, 1))):
    np.testing.assert_allclose(preprocessing(dark)[0, 0], wanted, rtol=1e-5)


def test_a_crop_is_that_box_resized():
  clips = noise(2, 1, 40, 56, 3)
  key = jax.random.key(3)
  got = jax.jit(random_resized_crop, static_argnums=2)(key, clips, 16)
  assert got.shape == (2, 1, 16, 16, 3)
  assert got.dtype == jnp.float32
  for clip, clip_key, crop in zip(clips, jax.random.split(key, 2), got, strict=True):
    top, left, height, width = np.asarray(random_crop_box(clip_key, 40, 56))
    cut = clip[:, top : top + height, left : left + width].astype(np.float32)
    wanted = jax.image.resize(cut, (1, 16, 16, 3), "linear", antialias=True, precision="highest")
    np.testing.assert_allclose(crop, wanted, atol=2e-3)


def test_frames_of_a_clip_share_the_box_and_clips_do_not():
  clips = np.broadcast_to(noise(40, 40, 3), (4, 3, 40, 40, 3))
  crop = jax.jit(random_resized_crop, static_argnums=2)
  crops = np.asarray(crop(jax.random.key(0), clips, 16))
  np.testing.assert_allclose(crops[:, 0], crops[:, 2], atol=1e-3)
  assert all(np.abs(crops[i, 0] - crops[j, 0]).max() > 5 for i in range(4) for j in range(i))


def test_the_published_follow_up_is_resize_then_central_crop():
  clips = noise(1, 2, 40, 40, 3)
  key = jax.random.key(1)
  crop = jax.jit(random_resized_crop, static_argnums=2, static_argnames="then_resize")
  once = crop(key, clips, 28)
  wanted = device_resize(once, 32)[..., 2:30, 2:30, :]
  got = crop(key, clips, 28, then_resize=32)
  np.testing.assert_allclose(got, wanted, atol=1e-2)


def test_boxes_are_torchvisions():
  keys = jax.random.split(jax.random.key(0), 2000)
  boxes = np.asarray(jax.vmap(lambda key: random_crop_box(key, 100, 150))(keys))
  top, left, height, width = boxes.T
  assert (top >= 0).all() and (left >= 0).all()
  assert (top + height <= 100).all() and (left + width <= 150).all()
  area, ratio = height * width / 15000, width / height
  assert 0.19 < area.min() < 0.21 and 0.85 < area.max() <= 1.01
  assert 0.73 < ratio.min() < 0.77 and 1.3 < ratio.max() < 1.36
  assert (top + height == 100).any() and (left == 0).any()


def test_a_box_that_never_fits_becomes_the_central_one():
  # A strip of 10 x 100 cannot hold 0.2 of its area at these ratios.
  box = random_crop_box(jax.random.key(0), 10, 100, scale=(0.9, 1.0))
  np.testing.assert_array_equal(box, [0, (100 - 13) // 2, 10, 13])


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: Preprocessing(4, 4)(np.zeros((4, 4, 3), np.float32)), "uint8"),
    (lambda: Preprocessing(4, 4)([[[1, 2, 3]]]), "int64"),
    (lambda: Preprocessing(4, 4)(np.zeros((4, 4, 1), np.uint8)), "three colours"),
    (lambda: Preprocessing(4, 4)(np.zeros((0, 4, 4, 3), np.uint8)), "at least one"),
    (lambda: resize_center_crop(noise(4, 4, 3)), "T, H, W, 3"),
    (lambda: resize_center_crop(noise(1, 4, 4, 3), 8, 9), "crop <= resize"),
    (lambda: Preprocessing(64.0, 64), "64.0"),
    (lambda: random_resized_crop(jax.random.key(0), noise(2, 4, 4, 3), 4), "clip"),
    (lambda: random_resized_crop(jax.random.key(0), noise(1, 2, 4, 4, 3), 4, then_resize=3), "4"),
  ],
)
def test_wrong_input_is_refused(call, words):
  with pytest.raises(UserError, match=words) as error:
    call()
  assert_one_sentence(error)


@pytest.mark.parametrize("shape", [(30, 41), (41, 30), (20, 27)])
def test_a_crop_is_the_middle_of_the_whole(shape, monkeypatch):
  frames = np.random.default_rng(2).integers(0, 256, (2, *shape, 3), np.uint8)
  whole, part = (device_resize(frames, 20, rounding=True, crop=crop) for crop in (None, 15))
  wanted = center_crop(np.asarray(whole), 15)
  assert part.shape == wanted.shape
  # Sums in another order round a tie otherwise.
  assert np.abs(part - wanted).max() <= 1 and np.mean(part != wanted) < 0.01
  np.testing.assert_array_equal(Preprocessing(20, 15).levels(frames), wanted)
  monkeypatch.setattr(preprocess, "on_cpu", lambda: False)
  np.testing.assert_array_equal(Preprocessing(20, 15).levels(frames), part)
