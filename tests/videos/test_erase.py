"""Erasing, on films of a few pixels whose result is known."""

import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.videos.erase import (
  camera_shift,
  erase,
  grown,
  motion_masks,
  nearest_seen,
  resting,
)

SIDE = 96


def scene(seed=0, side=SIDE):
  """uint8 [side, side, 3], with contrast everywhere; grey, because films halve colours."""
  squares = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 1), np.uint8)
  return squares.repeat(4, axis=0).repeat(4, axis=1).repeat(3, axis=2)


def passing_block(length=12, block=16, colour=(250, 20, 20)):
  """A film in which a block passes over the scene, its masks, and the scene."""
  background = scene()
  frames, masks = np.stack([background] * length), np.zeros((length, SIDE, SIDE), bool)
  for time in range(length):
    left = time * (SIDE - block) // (length - 1)
    masks[time, 30 : 30 + block, left : left + block] = True
  frames[masks] = colour
  return frames, masks, background


def test_the_nearest_frame_that_shows_a_pixel():
  # Three pixels over five frames: hidden in the middle, at the start, and always.
  hidden = np.array([[0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1], [0, 1, 1]], bool)
  expected = [[0, 2, -1], [0, 2, -1], [0, 2, -1], [4, 3, -1], [4, 3, -1]]
  np.testing.assert_array_equal(nearest_seen(hidden), expected)


def test_frames_of_the_tail_count_as_of_the_end():
  # Hidden from the second frame on, seen in the last of a tail of three; never seen again; always.
  hidden = np.array(
    [[0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0]], bool
  )
  expected = [[0, 0, 0], [0, 0, 1], [6, 0, 2], [6, 0, 3]]
  np.testing.assert_array_equal(nearest_seen(hidden, 3)[:4], expected)


def test_weights_fall_with_the_distance_from_the_mask():
  masks = np.zeros((2, 1, 9), bool)
  masks[0, 0, 0] = True
  weights = grown(masks, grow=2, feather=3)
  np.testing.assert_allclose(weights[0, 0], [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0])
  assert weights.dtype == np.float32 and not weights[1].any()
  np.testing.assert_array_equal(grown(masks, 0, 0), masks)


def test_what_a_block_hides_comes_back_exactly():
  frames, masks, background = passing_block()
  erased = erase(frames, masks, grow=1, feather=2)
  np.testing.assert_array_equal(erased.frames, np.stack([background] * 12))
  assert erased.flat_share == 0 and not erased.never_seen.any()
  assert erased.erased_share == pytest.approx((grown(masks, 1, 2) > 0).mean())


def test_a_pixel_takes_the_time_nearest_to_it():
  # One pixel, hidden from the second frame to the fourth, changes behind the mask.
  levels = np.array([10, 0, 0, 0, 90, 90], np.uint8)
  frames = np.broadcast_to(levels[:, None, None, None], (6, 1, 1, 3))
  masks = np.array([0, 1, 1, 1, 0, 0], bool)[:, None, None]
  erased = erase(frames, masks, 0, 0)
  np.testing.assert_array_equal(erased.frames[:, 0, 0, 0], [10, 10, 10, 90, 90, 90])


def test_what_the_robot_hides_at_the_end_is_seen_when_it_has_left():
  levels = np.array([10, 0, 0, 0, 0, 90], np.uint8)
  frames = np.broadcast_to(levels[:, None, None, None], (6, 1, 1, 3))
  masks = (levels == 0)[:, None, None]
  erased = erase(frames, masks, 0, 0, tail=2)
  np.testing.assert_array_equal(erased.frames[:, 0, 0, 0], [10, 10, 90, 90])
  assert len(erased.weights) == 4 and erased.outdated_share == 0
  ends_hidden = erase(frames[:5], masks[:5], 0, 0)
  np.testing.assert_array_equal(ends_hidden.frames[:, 0, 0, 0], [10] * 5)
  assert ends_hidden.outdated_share == 1
  np.testing.assert_array_equal(erase(frames, masks, 0, 0).frames[:, 0, 0, 0], [10] * 3 + [90] * 3)
  with pytest.raises(UserError, match="a tail of 0 to 5 of the film's 6 frames, got 6"):
    erase(frames, masks, tail=6)


def test_what_is_never_seen_gets_the_mean_of_what_is_around_it():
  frames = np.full((2, 5, 5, 3), 100, np.uint8)
  frames[:, :, 3:], frames[:, 2, 2] = 180, 255
  masks = np.zeros((2, 5, 5), bool)
  masks[:, 2, 2] = True
  erased = erase(frames, masks, 0, 0)
  # Of the eight around it three are 180.
  assert (erased.frames[:, 2, 2] == 130).all()
  assert erased.never_seen.sum() == 1 and erased.flat_share == 1
  assert erased.erased_share == pytest.approx(1 / 25)


def test_the_feathered_border_is_mixed():
  frames = np.zeros((2, 1, 5, 3), np.uint8)
  frames[1] = 100
  masks = np.zeros((2, 1, 5), bool)
  masks[0, 0, 0] = True
  erased = erase(frames, masks, grow=0, feather=1)
  np.testing.assert_array_equal(erased.frames[0, 0, :, 0], [100, 50, 0, 0, 0])
  np.testing.assert_array_equal(erased.frames[1], frames[1])


def test_motion_is_found_where_it_is_and_a_still_scene_has_none():
  frames, masks, background = passing_block()
  found = motion_masks(frames)
  assert not (found & ~masks).any()
  # Cleaned corners, and pixels that happen to have the block's colour.
  assert (found & masks).sum() > 0.9 * masks.sum()
  assert not motion_masks(np.stack([background] * 5)).any()


def test_what_has_come_to_rest_is_no_motion():
  # Two pixels over ten frames: one changes for good after the sixth, one for two frames alone.
  frames = np.zeros((10, 8, 8, 3), np.uint8)
  frames[6:, :4], frames[4:6, 4:] = 200, 200
  rest = resting(frames, threshold=24, rest=0.3)
  assert rest[:, :4].all()
  np.testing.assert_array_equal(rest[:, 4:].all(axis=(1, 2)), [1, 1, 1, 1, 0, 0, 1, 1, 1, 1])
  found = motion_masks(frames)
  assert not found[:, :3].any() and found[4:6, 5:].all() and not found[:4].any()


def test_the_whole_film_is_the_longest_stretch():
  frames = np.zeros((3, 1, 1, 3), np.uint8)
  frames[2] = 60
  np.testing.assert_array_equal(resting(frames, 24, 1.0)[:, 0, 0], [0, 0, 0])
  np.testing.assert_array_equal(resting(frames, 24, 0.0)[:, 0, 0], [1, 1, 0])
  np.testing.assert_array_equal(resting(frames[:1], 24, 0.3)[:, 0, 0], [1])


def test_a_static_camera_is_told_from_one_that_moves():
  frames, _, background = passing_block()
  assert camera_shift(frames) == 0
  assert camera_shift(frames[:1]) == 0
  for shift in (2, 4):
    moved = np.stack([np.roll(background, (0, shift * (t > 2)), axis=(0, 1)) for t in range(8)])
    assert camera_shift(moved) == shift
  # A jolt of one frame is none.
  jolted = np.stack([background] * 12)
  jolted[5] = np.roll(background, 4, axis=0)
  assert camera_shift(jolted) == 0


def test_light_and_noise_are_no_motion_of_the_camera():
  background, rng = scene(), np.random.default_rng(1)
  dimmed = np.stack([background * np.float32(1 - t / 20) for t in range(10)])
  assert camera_shift(dimmed.astype(np.uint8)) == 0
  noisy = np.stack([background] * 10) + rng.normal(0, 4, (10, SIDE, SIDE, 3))
  assert camera_shift(noisy.clip(0, 255).astype(np.uint8)) == 0
  plain = 128 + rng.normal(0, 4, (10, SIDE, SIDE, 3))
  assert camera_shift(plain.astype(np.uint8)) == 0


def test_large_frames_are_looked_at_in_a_smaller_copy():
  large = scene(side=768)
  moved = np.stack([large, *[np.roll(large, 12, axis=1)] * 3])
  assert camera_shift(moved) == 4  # of 256 pixels


@pytest.mark.parametrize(
  ("masks", "part"),
  [
    (np.zeros((2, 4, 5), bool), "masks like the frames, [2, 4, 4], got [2, 4, 5]"),
    (np.zeros((3, 4, 4), bool), "got [3, 4, 4]"),
    (np.ones((2, 4, 4), bool), "are they inverted?"),
  ],
)
def test_masks_that_do_not_fit(masks, part):
  with pytest.raises(UserError) as error:
    erase(np.zeros((2, 4, 4, 3), np.uint8), masks)
  assert part in str(error.value)
