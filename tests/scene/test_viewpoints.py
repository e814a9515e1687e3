"""Cameras that fit points into the picture, against distances worked out by hand."""

import math

import numpy as np
import pytest

from vipjax.scene import View
from vipjax.scene.viewpoints import axes, fitting_view, projected

# At the default field of view of 45 degrees a picture at 1 m shows this much to each side.
HALF = math.tan(math.radians(22.5))


@pytest.mark.parametrize(
  ("azimuth", "elevation", "right", "up", "forward"),
  [
    (90, 0, (1, 0, 0), (0, 0, 1), (0, 1, 0)),
    (0, 0, (0, -1, 0), (0, 0, 1), (1, 0, 0)),
    (90, -90, (1, 0, 0), (0, 1, 0), (0, 0, -1)),
  ],
)
def test_axes(azimuth, elevation, right, up, forward):
  np.testing.assert_allclose(axes(azimuth, elevation), [right, up, forward], atol=1e-12)


def test_projected():
  view = View(lookat=(0, 0, 0), azimuth=90, elevation=0, distance=2.0)
  # 1 m behind lookat is 3 m from the camera.
  points = [(0, 0, 0), (HALF, 0, -2 * HALF), (HALF, 1, 0)]
  expected = [(0, 0), (1 / 2, -1), (1 / 3, 0)]
  np.testing.assert_allclose(projected(np.array(points), view), expected, atol=1e-12)


def test_the_nearest_camera_that_has_the_points_within_the_share():
  # Two points level with each other, 0.6 m apart: half of them on each side of the middle.
  points = np.array([(-0.1, 0.7, 0.2), (0.5, 0.7, 0.2)])
  view = fitting_view(points, 90.0, 0.0, 0.5)
  assert view.lookat == (0.2, 0.7, 0.2)
  assert view.distance == math.ceil(100 * 0.3 / (0.5 * HALF)) / 100
  assert np.abs(projected(points, view)).max() == pytest.approx(0.5, abs=0.01)


def test_a_near_point_asks_for_more_room():
  # The same with one point 0.5 m nearer: both lie at the share's edge, one on each side.
  points = np.array([(-0.1, 0.7, 0.2), (0.5, 0.2, 0.2)])
  view = fitting_view(points, 90.0, 0.0, 0.5)
  (left, _), (right, _) = projected(points, view)
  assert left == pytest.approx(-0.5, abs=0.02) and right == pytest.approx(0.5, abs=0.02)
  assert view.lookat[0] > 0.2


def test_a_given_lookat_stays_and_all_points_are_within_the_share():
  rng = np.random.default_rng(0)
  points = rng.uniform(-0.3, 0.3, (20, 3)) + (0, 0.7, 0.1)
  view = fitting_view(points, 140.0, -35.0, 0.65, lookat=(0.1, 0.6, 0.2))
  assert view.lookat == (0.1, 0.6, 0.2)
  assert 0.62 < np.abs(projected(points, view)).max() <= 0.65
