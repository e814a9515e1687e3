"""Distance curves of videos, with an encoder whose embeddings are known and with a real one."""

import json

import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL
from vipjax import evaluation
from vipjax.encoder import Preprocessing, init_value
from vipjax.encoder.progress import init_head
from vipjax.evaluation.curves import progress_sums
from vipjax.runtime.errors import UserError
from vipjax.types import Video


class Brightness:
  """Stands in for a value function: a frame's embedding is its mean level, 0 to 255."""

  def distance(self, frames, goal):
    level = np.asarray(frames, np.float32).mean((-3, -2, -1))
    return np.abs(level - np.asarray(goal, np.float32).mean())


def grey(levels, **kwargs):
  frames = (
    np.zeros((len(levels), 4, 6, 3), np.uint8) + np.array(levels, np.uint8)[:, None, None, None]
  )
  return Video(frames=frames, **kwargs)


def test_distance_curve_by_hand():
  curve = evaluation.distance_curve(Brightness(), grey([50, 40, 45, 10], fps=20.0, view="left"))
  np.testing.assert_array_equal(curve.distances, [40, 30, 35, 0])
  np.testing.assert_allclose(curve.times, [0, 0.05, 0.1, 0.15])
  assert curve.name == "left"
  assert curve.rank_correlation == pytest.approx(0.8)
  assert curve.falling_fraction == pytest.approx(2 / 3)
  assert curve.largest_rise == pytest.approx(5 / 40)


def test_a_goal_of_ones_own():
  goal = np.full((4, 6, 3), 50, np.uint8)
  curve = evaluation.distance_curve(Brightness(), grey([50, 40, 10]), goal)
  np.testing.assert_array_equal(curve.distances, [0, 10, 40])
  assert curve.rank_correlation == pytest.approx(-1.0)
  # It rises from 0, so there is nothing to compare the rise with; JSON has no infinity.
  assert curve.largest_rise == float("inf")
  assert curve.record()["largest_rise"] is None


def test_records_have_every_statistic_and_fit_into_json():
  videos = [grey([30, 20, 10], episode=3), grey([10, 20, 10], episode=4)]
  curves = evaluation.distance_curves(Brightness(), videos)
  first, second = json.loads(json.dumps([each.record() for each in curves], allow_nan=False))
  assert (first["name"], second["name"]) == ("episode 3", "episode 4")
  assert first["distances"] == [20.0, 10.0, 0.0]
  assert first["times"] == pytest.approx([0.0, 0.1, 0.2])
  assert first["smoothness"] == 1.0
  # It goes 0, 10, 0: no order with time, one of two steps falls, up by 10 and down by 10, and there
  # is no scale for a rise.
  assert second["rank_correlation"] == second["kendall_correlation"] == pytest.approx(0.0)
  assert second["falling_fraction"] == second["smoothness"] == 0.5
  assert second["largest_rise"] is None


def test_the_curve_of_a_real_encoder():
  value = init_value(jax.random.key(0), SMALL, Preprocessing(32, 32))
  frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
  curve = evaluation.distance_curve(value, Video(frames))
  embeddings = value.embed(frames)
  wanted = np.linalg.norm(embeddings - embeddings[-1], axis=-1)
  np.testing.assert_allclose(curve.distances, wanted, rtol=1e-4, atol=1e-5)
  assert curve.distances[-1] < 1e-5 < wanted[0]
  with pytest.raises(UserError, match="a goal of 32x32"):
    evaluation.distance_curve(value, Video(frames), frames[0, :16])


def test_progress_sums_what_each_step_makes():
  value = init_value(jax.random.key(0), SMALL, Preprocessing(32, 32))
  frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
  with pytest.raises(UserError, match="progress head, got one without"):
    progress_sums(value, frames)
  head = init_head(16)
  head["kernel"] = np.random.default_rng(1).normal(size=(32, 20)).astype(np.float32)
  value = value.replace(variables={**value.variables, "progress": head})
  sums = progress_sums(value, frames)
  steps = value.progress(frames[:-1], frames[1:])
  wanted = [0, steps[0], steps[:2].sum(), steps[:3].sum(), steps.sum()]
  np.testing.assert_allclose(sums, wanted, rtol=1e-3, atol=1e-5)
  assert sums.dtype == np.float32 and np.abs(steps).max() > 0.05


def test_names_say_what_is_known_and_never_repeat():
  videos = [
    grey([1], episode=0, view="left", robot_visible=True),
    grey([1], episode=0, view="left", robot_visible=False),
    grey([1]),
    grey([1]),
  ]
  assert evaluation.video_names(videos) == [
    "episode 0, left",
    "episode 0, left, robot-free",
    "video (1)",
    "video (2)",
  ]
  # A name that is no UTF-8, as Python gives it, could not be written or drawn.
  assert evaluation.video_name(grey([1], source="films/a\udcff.mp4")) == "a\\udcff.mp4"


def test_refusals():
  with pytest.raises(UserError, match="at least two frames in the video 'right', got 1"):
    evaluation.distance_curve(Brightness(), grey([5], view="right"))
  with pytest.raises(UserError, match="at least one video"):
    evaluation.distance_curves(Brightness(), [])
