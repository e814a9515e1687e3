"""Direction of a distance, by hand."""

import numpy as np
import pytest

from vipjax.encoder import Head, goal_distances
from vipjax.evaluation import direction, measure_direction
from vipjax.types import Video


def test_by_hand():
  # Frames at the steps 0, 1, 3: twice as far back as forth, and once as far.
  distances = np.array([[0, 1, 3], [2, 0, 2], [3, 4, 0]])
  found = direction(distances, [0, 1, 3])
  assert found["asymmetry"] == pytest.approx((1 / 3 + 0 + 2 / 6) / 3)
  assert found["steps_correlation"] == pytest.approx(1.0)
  assert found["steps_slope"] == pytest.approx(1.0)
  # Backwards: steps 1, 3, 2 and distances 2, 3, 4.
  assert found["steps_correlation_backward"] == pytest.approx(0.5)
  assert found["steps_slope_backward"] == pytest.approx((2 + 9 + 8) / 14)


def test_frames_that_are_all_the_same_say_nothing():
  assert set(direction(np.zeros((3, 3)), [0, 1, 2]).values()) == {0.0}


def test_videos_are_thinned_and_their_means_taken():
  class Ramp:
    """Grey levels, with a distance that only falling levels cost."""

    def embed(self, frames):
      level = np.asarray(frames, np.float32).mean((1, 2, 3))[:, None]
      return np.concatenate([0 * level, -level], axis=1)

    def distances(self, embeddings, goals):
      return goal_distances(embeddings, goals, Head("mrn"))

  def rising(count, by):
    levels = (np.arange(count) * by).astype(np.uint8)
    return Video(np.zeros((count, 2, 2, 3), np.uint8) + levels[:, None, None, None])

  found = measure_direction(Ramp(), [rising(9, 1), rising(30, 3), rising(2, 9)], max_frames=5)
  assert found["asymmetry"] == 1.0
  assert found["steps_slope"] == pytest.approx(2.0)
  assert found["steps_slope_backward"] == found["steps_correlation_backward"] == 0.0
  assert measure_direction(Ramp(), [rising(2, 9)]) == {}
