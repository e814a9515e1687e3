"""Free cameras that fit given points into the picture: pure geometry, nothing is drawn."""

from __future__ import annotations

import math

import numpy as np

from vipjax.scene.rendering import View

# Of the field of view of free cameras, 45 degrees from the picture's lower to its upper edge.
_HALF = math.tan(math.radians(45.0) / 2)


def axes(azimuth: float, elevation: float) -> np.ndarray:
  """Returns float64 [3, 3]: a free camera's unit vectors right, up and forward, one a row.

  Args:
    azimuth, elevation: degrees, as in `View`: azimuth 90 looks along y, elevation -90 down.
  """
  azimuth, elevation = math.radians(azimuth), math.radians(elevation)
  level = math.cos(elevation)
  forward = np.array([math.cos(azimuth) * level, math.sin(azimuth) * level, math.sin(elevation)])
  right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
  return np.stack([right, np.cross(right, forward), forward])


def projected(points: np.ndarray, view: View) -> np.ndarray:
  """Returns where points appear in the square picture of a free camera.

  Args:
    points: [N, 3], metres, world frame, in front of the camera.
    view: the viewpoint, without a named camera.

  Returns:
    float64 [N, 2], right and up: 0 is the picture's middle, -1 and 1 its edges.
  """
  offset = np.asarray(points, float) - view.lookat
  right, up, forward = axes(view.azimuth, view.elevation) @ offset.T
  half = _HALF * (view.distance + forward)
  return np.stack([right / half, up / half], -1)


def fitting_view(
  points: np.ndarray,
  azimuth: float,
  elevation: float,
  share: float,
  lookat: tuple[float, float, float] | None = None,
) -> View:
  """Returns the nearest viewpoint of a direction that has all points in the picture's middle.

  Args:
    points: [N, 3], metres, world frame.
    azimuth, elevation: the direction, degrees, as in `View`.
    share: of the picture's side, the middle in which the points lie, above 0, at most 1.
    lookat: the point in the middle of the picture, metres; None is the one that allows the least
      distance, at the depth of the middle of the points.

  Returns:
    The viewpoint; lookat and distance in whole centimetres.
  """
  frame = axes(azimuth, elevation)
  along = np.asarray(points, float) @ frame.T
  slope = share * _HALF
  if lookat is None:
    middle = (along.min(0) + along.max(0)) / 2
    left, right = _asked(along - middle, slope)
    # Both sides of the picture ask for the same distance there.
    middle[:2] += slope * (right - left) / 2
    lookat = tuple(round(float(x), 2) + 0.0 for x in middle @ frame)
  distance = np.max(_asked(along - frame @ np.asarray(lookat, float), slope))
  return View("", lookat, azimuth, elevation, math.ceil(100 * distance - 1e-9) / 100)


def _asked(offset: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray]:
  """Distances [2] at which points [N, 3] reach the left and lower, and the right and upper bound.

  A point is within them if |right or up| <= slope x (distance + forward).
  """
  low, high = (np.max(sign * offset[:, :2] / slope - offset[:, 2:], axis=0) for sign in (-1.0, 1.0))
  return low, high
