"""The film of a curve: the frames as they are, and a curve that brightens as time goes."""

import numpy as np
import pytest

from tests.videos.clips import moving_picture
from vipjax.report.canvas import DARK
from vipjax.report.film import curve_film


@pytest.mark.parametrize("size", [(64, 64), (48, 90), (31, 17), (20, 200)])
@pytest.mark.parametrize("goals", [0, 1, 5])
def test_sizes(size, goals):
  frames = moving_picture(3, *size)
  film = curve_film(frames, np.array([3.0, 1, 0]), np.arange(3.0), [frames[-1]] * goals)
  assert film.dtype == np.uint8 and film.shape[:2] == (3, 256)
  width = film.shape[2] - 448
  assert width % 2 == 0 and width == min(480, round(256 * size[1] / size[0] / 2) * 2)
  # Left the frames, right the curve.
  assert np.abs(film[:, :, :width].mean((1, 2)) - frames.mean((1, 2))).max() < 4


def test_the_curve_brightens_up_to_the_time_shown():
  frames, distances = moving_picture(5, 32, 32), np.array([4.0, 3, 2, 1, 0])
  panels = curve_film(frames, distances, np.arange(5.0))[:, :, 256:]
  colour = np.array([int(DARK.colours[0][i : i + 2], 16) for i in (1, 3, 5)])
  bright = (np.abs(panels.astype(int) - colour).sum(-1) < 20).sum((1, 2))
  assert bright[0] < 5 and (np.diff(bright) > 50).all()
  # The dot goes right and down.
  dot = np.array([int(DARK.colours[1][i : i + 2], 16) for i in (1, 3, 5)])
  places = [np.argwhere((panel == dot).all(-1)).mean(0) for panel in panels]
  assert (np.diff(places, axis=0) > 10).all()


def test_a_curve_of_zeros_is_drawn():
  film = curve_film(moving_picture(2, 16, 16), np.zeros(2), np.arange(2.0))
  assert film[..., 256:, :].std() > 0
