"""Shifts and colours of frames: what they keep, what they change, by hand where it can be."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence
from vipjax.encoder.augment import colour_jitter, random_shift
from vipjax.runtime.errors import UserError

KEY = jax.random.key(0)
NO_CHANGE = (0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def frames():
  return np.random.default_rng(0).integers(70, 170, (64, 8, 6, 3), dtype=np.uint8)


def test_a_shift_repeats_the_border_and_each_frame_has_its_own(frames):
  shifted = np.asarray(jax.jit(random_shift, static_argnums=2)(KEY, frames, 2))
  assert shifted.shape == frames.shape and shifted.dtype == np.uint8
  found = set()
  for frame, moved in zip(frames, shifted, strict=True):
    padded = np.pad(frame, ((2, 2), (2, 2), (0, 0)), mode="edge")
    corners = [
      (top, left) for top in range(5) for left in range(5)
      if (padded[top : top + 8, left : left + 6] == moved).all()
    ]  # fmt: skip
    assert len(corners) == 1
    found.update(corners)
  assert {top for top, _ in found} == {left for _, left in found} == set(range(5))
  np.testing.assert_array_equal(random_shift(KEY, frames, 0), frames)


def test_colours_stay_without_a_change_or_a_share(frames):
  np.testing.assert_array_equal(colour_jitter(KEY, frames, NO_CHANGE, 1.0), frames)
  np.testing.assert_array_equal(colour_jitter(KEY, frames, (0.9, 0.9, 0.9, 0.5), 0.0), frames)
  changed = np.asarray(colour_jitter(KEY, frames, (0.5, 0.5, 0.5, 0.2), 0.8)) != frames
  assert 0.6 < changed.any(axis=(1, 2, 3)).mean() < 0.95


@pytest.mark.parametrize("which", range(3))
def test_each_change_moves_colours_along_one_line(frames, which):
  strengths = tuple(0.3 * (i == which) for i in range(4))
  changed = np.asarray(colour_jitter(KEY, frames, strengths, 1.0), np.float64)
  given = frames.astype(np.float64)
  grey = given @ [0.299, 0.587, 0.114]
  fixed = [np.zeros(1), grey.mean(axis=(1, 2))[:, None, None, None], grey[..., None]][which]
  away, before = changed - fixed, given - fixed
  factors = (away * before).sum(axis=(1, 2, 3)) / np.square(before).sum(axis=(1, 2, 3))
  assert 0.69 < factors.min() < 0.8 and 1.2 < factors.max() < 1.31
  inside = (changed > 0) & (changed < 255)
  wanted = factors[:, None, None, None] * before
  np.testing.assert_allclose(away[inside], wanted[inside], atol=1)


def test_a_hue_turns_and_a_grey_stays():
  grey = np.full((16, 4, 4, 3), 90, np.uint8)
  np.testing.assert_array_equal(colour_jitter(KEY, grey, (0.0, 0.0, 0.0, 0.5), 1.0), grey)
  red = np.broadcast_to(np.uint8([160, 80, 80]), (64, 4, 4, 3))
  turned = np.asarray(colour_jitter(KEY, red, (0.0, 0.0, 0.0, 0.1), 1.0), np.float64)
  np.testing.assert_allclose(turned @ [0.299, 0.587, 0.114], 160 * 0.299 + 80 * 0.701, atol=1)
  hues = np.array([colorsys.rgb_to_hsv(*colour)[0] for colour in turned[:, 0, 0]])
  hues = (hues + 0.5) % 1 - 0.5
  assert hues.min() < -0.05 and hues.max() > 0.05 and abs(hues).max() < 0.16


@pytest.mark.parametrize("change", [random_shift, colour_jitter])
def test_frames_of_another_kind_are_one_sentence(change):
  rest = (2,) if change is random_shift else (NO_CHANGE, 1.0)
  with pytest.raises(UserError) as error:
    change(KEY, jnp.zeros((2, 4, 4, 3)), *rest)
  assert_one_sentence(error, "uint8")
