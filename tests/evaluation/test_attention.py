"""Shares of maps on labels and occlusion, by hand."""

import json

import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL
from vipjax import evaluation
from vipjax.encoder import Preprocessing, init_value
from vipjax.evaluation.attention import paint_over, see_labels
from vipjax.runtime import files
from vipjax.runtime.errors import UserError


def by_hand():
  # Pixels: background and object above, robot and object below; the second frame has no map.
  labels = np.array([[[0, 1], [2, 1]]] * 2, np.uint8)
  maps = np.array([[[1.0, 4.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
  return maps, labels


def test_shares_by_hand():
  seen = evaluation.attention(*by_hand())
  np.testing.assert_allclose(seen.share, [[1 / 8, 4 / 8, 3 / 8], [np.nan] * 3])
  np.testing.assert_allclose(seen.area, [[0.25, 0.5, 0.25]] * 2)
  np.testing.assert_array_equal(seen.peak, [1, -1])
  assert seen.summary() == {
    "frames_with_map": 0.5,
    "background_share": 1 / 8, "background_over_area": 0.5, "peak_on_background": 0.0,
    "object_share": 0.5, "object_over_area": 1.0, "peak_on_object": 1.0,
    "robot_share": 3 / 8, "robot_over_area": 1.5, "peak_on_robot": 0.0,
  }  # fmt: skip
  json.dumps(files.jsonable(seen.record()), allow_nan=False)


def test_coarse_maps_are_enlarged():
  labels = np.zeros((1, 8, 8), np.uint8)
  labels[:, :, 4:] = 1
  seen = evaluation.attention(np.array([[[0.0, 2.0]]]), labels)
  # Bilinear between the two cells' centres: 7/8 of it in the right half.
  assert seen.share[0, 1] == pytest.approx(7 / 8, abs=0.02)
  assert seen.peak[0] == 1


def test_nothing_seen_is_none():
  maps, labels = by_hand()
  summary = evaluation.attention(maps[1:], labels[1:]).summary()
  assert summary["object_share"] is None and summary["peak_on_object"] is None
  no_robot = evaluation.attention(maps[:1], np.minimum(labels[:1], 1)).summary()
  assert no_robot["robot_share"] == 0.0 and no_robot["robot_over_area"] is None


def test_labels_as_the_network_sees_them():
  labels = np.random.default_rng(0).integers(0, 3, (2, 12, 16), np.uint8)
  np.testing.assert_array_equal(see_labels(Preprocessing(12, 12), labels), labels[:, :, 2:14])
  blocks = np.repeat(np.repeat(labels[:, :, :12], 4, 1), 4, 2)
  np.testing.assert_array_equal(see_labels(Preprocessing(12, 12), blocks), labels[:, :, :12])


def test_painting_over():
  frames = np.zeros((1, 2, 2, 3), np.uint8)
  frames[0] = [[[10, 0, 0], [99, 9, 9]], [[21, 0, 4], [7, 7, 7]]]
  labels = np.array([[[0, 1], [0, 2]]], np.uint8)
  painted = paint_over(frames, labels, 1)
  np.testing.assert_array_equal(painted[0, 0, 1], [16, 0, 2])  # 15.5 rounds to even
  painted[0, 0, 1] = frames[0, 0, 1]
  np.testing.assert_array_equal(painted, frames)
  all_robot = np.full_like(labels, 2)
  assert (paint_over(frames, all_robot, 2) == 0).all()


def test_occlusion_is_the_change_of_the_value():
  value = init_value(jax.random.key(0), SMALL, Preprocessing(32, 32))
  rng = np.random.default_rng(0)
  frames, free = (rng.integers(0, 256, (5, 32, 32, 3), np.uint8) for _ in range(2))
  labels = rng.integers(0, 3, (5, 32, 32), np.uint8)
  labels[0] = 0
  made = evaluation.occlusion(value, frames, labels, frames[-1], free)
  assert made["object"][0] == pytest.approx(0, abs=1e-5)  # there is none to hide
  painted = paint_over(frames, labels, 2)
  wanted = value.value(painted, frames[-1]) - value.value(frames, frames[-1])
  np.testing.assert_allclose(made["robot"], wanted, atol=1e-5)
  wanted = value.value(free, frames[-1]) - value.value(frames, frames[-1])
  np.testing.assert_allclose(made["robot_removed"], wanted, atol=1e-5)
  assert set(evaluation.occlusion(value, frames, labels, frames[-1])) == {"object", "robot"}


def test_agreement_by_hand():
  share = np.array([[0, 0.1, 0.9], [0, 0.5, 0.5], [0, 0.9, 0.1], [np.nan] * 3])
  seen = evaluation.Attention(share, np.ones((4, 3)), np.array([2, 1, 1, -1]))
  same = {"object": np.array([-1.0, 2, 3, 5]), "robot": np.array([4.0, -2, 1, 0])}
  assert evaluation.agreement(seen, same) == pytest.approx(1.0)
  swapped = {"object": same["robot"], "robot": same["object"]}
  assert evaluation.agreement(seen, swapped) == pytest.approx(-1.0)
  still = {"object": np.zeros(4), "robot": np.array([0.0, 0, 1, 1])}
  assert evaluation.agreement(seen, still) is None


def test_refusals():
  maps, labels = by_hand()
  with pytest.raises(UserError, match="as many frames"):
    evaluation.attention(maps[:1], labels)
