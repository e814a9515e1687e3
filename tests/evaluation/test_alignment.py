"""Alignment of videos, by hand and against the loss's own hard cycles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax import evaluation, losses
from vipjax.evaluation.alignment import leads_back
from vipjax.runtime.errors import UserError


def line(*values):
  """Embeddings [T, 1]."""
  return np.array(values, float)[:, None]


def test_nearest_frames_by_hand():
  first, second = line(0, 1.1, 2.4, 9), line(0, 1, 2, 2)
  # Of the two frames at 2 the earlier.
  np.testing.assert_array_equal(evaluation.nearest_frames(first, second), [0, 1, 2, 2])
  np.testing.assert_array_equal(evaluation.nearest_frames(second, first), [0, 1, 2, 2])


def test_nearest_frames_of_long_videos_match_all_distances_at_once():
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(150, 3)), rng.normal(size=(70, 3))
  distances = np.linalg.norm(first[:, None] - second[None], axis=-1)
  np.testing.assert_array_equal(evaluation.nearest_frames(first, second), distances.argmin(1))


def test_tau_by_hand():
  assert evaluation.alignment_tau(line(0, 1, 2), line(0, 1, 2, 3)) == pytest.approx(1.0)
  assert evaluation.alignment_tau(line(0, 1, 2), line(2, 1, 0)) == pytest.approx(-1.0)
  # Neighbours 0, 2, 1, 3: five of six pairs in order.
  assert evaluation.alignment_tau(line(0, 2, 1, 3), line(0, 1, 2, 3)) == pytest.approx(4 / 6)
  assert evaluation.alignment_tau(line(0, 1, 2), line(5, 5)) == 0.0


def test_cycles_by_hand():
  # From 0 and 1 to the only near frame and back to 0; from 9 to 8 and back.
  made = evaluation.align([line(0, 1, 9), line(0, 8)], ["a", "b"])
  # The second's two frames both come back to themselves.
  assert made["cycle_consistency_2"] == pytest.approx(4 / 5)
  assert made["cycle_error_2"] == pytest.approx(1 / 3 / 5)


def test_what_leads_back_by_hand():
  # As above: 1 leads to 0 and back to 0, a third of the video away.
  first, second = line(0, 1, 9), line(0, 8)
  assert leads_back(first, second).tolist() == [True, False, True]
  assert leads_back(first, second, tolerance=0.34).all()


@pytest.mark.parametrize("length", [2, 3])
def test_cycles_are_those_of_the_loss(length):
  rng = np.random.default_rng(length)
  embeddings = rng.normal(size=(3, 6, 2)).astype(np.float32)
  made = evaluation.align(list(embeddings), ["a", "b", "c"])
  cycles = [c for c in np.ndindex(*(3,) * length) if len(set(c)) == length]
  repeated = jnp.asarray(np.repeat(cycles, 6, axis=0))
  starts = jnp.asarray(np.tile(np.arange(6), len(cycles)))
  error = np.asarray(jax.jit(losses.cycle_index_error)(embeddings, repeated, starts))
  assert error.max() > 0
  assert made[f"cycle_index_error_{length}"] == pytest.approx(error.mean())
  assert made[f"cycle_error_{length}"] == pytest.approx(error.mean() / 6)
  assert made[f"cycle_consistency_{length}"] == pytest.approx(np.mean(error == 0))


def test_align_sums_up():
  made = evaluation.align([line(0, 1, 2), line(0, 1, 2, 3), line(2, 1, 0)], ["a", "b", "c"])
  assert made["pairs"]["a"] == {"b": pytest.approx(1.0), "c": pytest.approx(-1.0)}
  # b's last frame has no partner: neighbours 0, 1, 2, 2 (tie-corrected 5 / sqrt(30)).
  half = 5 / np.sqrt(30)
  assert made["pairs"]["b"] == {"a": pytest.approx(half), "c": pytest.approx(-half)}
  assert made["tau"] == pytest.approx((1 - 1 + half - half - 1 - 1) / 6)
  assert made["nearest"] == {"b": [0, 1, 2], "c": [2, 1, 0]}
  # Only b's last frame comes back elsewhere, one frame off, in two of the six cycles of two.
  assert made["cycle_consistency_2"] == pytest.approx(1 - 2 / 20)
  assert made["cycle_error_2"] == pytest.approx(2 * 0.25 / 20)
  assert made["cycle_index_error_2"] == pytest.approx(2 * 1 / 20)
  assert made["cycle_consistency_3"] == pytest.approx(1 - 2 / 20)
  two = evaluation.align([line(0, 1), line(0, 1)], ["a", "b"])
  assert two["tau"] == 1.0 and two["cycle_consistency_3"] is two["cycle_index_error_3"] is None


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: evaluation.nearest_frames(line(0, 1), np.zeros((2, 3))), "one size, got 1 and 3"),
    (lambda: evaluation.nearest_frames(line(0), line(0, 1)), "at least two frames"),
    (lambda: evaluation.nearest_frames(line(0, np.nan), line(0, 1)), "not all finite"),
    (lambda: evaluation.align([line(0, 1)], ["a"]), "two videos"),
  ],
)
def test_refusals(call, words):
  with pytest.raises(UserError, match=words):
    call()
