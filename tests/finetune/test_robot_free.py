"""The robot-free encoder's pictures by hand, and that it learns to look past the robot."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import robot_free
from vipjax.finetune.robot_free import (
  RobotFreeSettings,
  draw_pictures,
  init_robot_free,
  make_layers,
  make_robot_free_step,
  with_robot_free_state,
)
from vipjax.runtime.errors import UserError
from vipjax.videos import LazyVideo

SIZE = 16
# The object is a white bar that comes down the left half; the robot a red square.
ROBOT = np.array([255, 0, 0], np.uint8)


def scenes():
  frames = np.full((6, SIZE, SIZE, 3), 60, np.uint8)
  for moment in range(6):
    row = 2 * max(moment - 2, 0)
    frames[moment, row : row + 4, :8] = 255
  return frames


def with_robot(frames, rows, columns):
  frames = frames.copy()
  frames[:, slice(*rows), slice(*columns)] = ROBOT
  return frames


class Film(LazyVideo):
  def __init__(self, frames, view):
    super().__init__({"fps": 10.0, "view": view, "source": "film"})
    self.length, self.frames = len(frames), frames

  def decode(self, positions):
    yield from self.frames[list(positions)]


def pair(view, rows, columns, frames=None):
  free = scenes() if frames is None else frames
  return Film(with_robot(free, rows, columns), view), Film(free, view)


@pytest.fixture(scope="module")
def value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(SIZE, SIZE))


@pytest.fixture
def as_they_are(monkeypatch):
  """Composites alone, of one robot that is not moved."""
  for name, number in (("_TRUE", 0.0), ("_EMPTY", 0.0), ("_TWO", 0.0), ("_MOVED", 0.0)):
    monkeypatch.setattr(robot_free, name, number)


def test_layers_by_hand(value):
  still = np.repeat(scenes()[:1], 4, axis=0)
  task = [pair("front", (0, 2), (10, 14)), pair("side", (4, 8), (8, 16))]
  layers = make_layers(value, task, [pair("front", (0, 16), (0, 16), still)])
  assert layers.robots.shape == (6 + 4 + 6, SIZE, SIZE, 4)
  red = layers.robots[0, :2, 10:14]
  np.testing.assert_array_equal(red, np.broadcast_to([255, 0, 0, 255], red.shape))
  assert not layers.robots[0, 2:].any() and (layers.robots[6:10, ..., 3] == 255).all()
  np.testing.assert_allclose(layers.targets[:6], value.embed(scenes()), rtol=1e-5)
  way = np.linalg.norm(layers.targets[:6] - layers.targets[5], axis=-1)
  np.testing.assert_allclose(layers.units, way.max(), rtol=1e-5)
  # Likely by what they cover: 8 of 256 pixels; all, as a quarter; 32.
  likely = np.diff(layers.robots_upto, prepend=0)
  np.testing.assert_allclose(likely, [8 / 256] * 6 + [0.25] * 4 + [32 / 256] * 6, rtol=1e-4)
  np.testing.assert_allclose(layers.first[[0, 6]], [0, 6 * 8 / 256 + 1], rtol=1e-5)
  np.testing.assert_allclose(layers.of_task[[0, 6]], [6 * 8 / 256, 1 + 40 * 6 / 256], rtol=1e-5)
  np.testing.assert_allclose(layers.last[[0, 6]], [1 + 6 * 8 / 256, 1 + 40 * 6 / 256], rtol=1e-5)
  # The first three scenes are one; the states of the second film are its own.
  np.testing.assert_array_equal(layers.way[:3], 0)
  assert layers.way[5] == layers.way[11] == 1
  assert set(layers.states[0]) <= set(range(6)) and set(layers.states[6]) <= set(range(6, 12))
  assert layers.states[0, 0] == 0 and layers.states[6, 0] == 6


def test_pictures_are_scenes_with_a_robot_of_their_view(value, as_they_are):
  task = [pair("front", (0, 2), (10, 14)), pair("side", (4, 8), (8, 16))]
  layers = make_layers(value, task)
  pictures, told = draw_pictures(jax.random.key(1), jax.device_put(layers), 64)
  places = {0: (slice(0, 2), slice(10, 14)), 1: (slice(4, 8), slice(8, 16))}
  films = set()
  for picture, scene in zip(np.asarray(pictures), np.asarray(told), strict=True):
    expected = layers.scenes[scene].astype(float)
    expected[places[scene // 6]] = ROBOT
    np.testing.assert_allclose(picture, expected, atol=1e-4)
    films.add(scene // 6)
  assert films == {0, 1}


@pytest.mark.parametrize(("columns", "hidden"), [((0, 8), True), ((0, 4), False)])
def test_what_cannot_be_seen_has_not_been_done(value, as_they_are, columns, hidden):
  layers = make_layers(value, [pair("front", (0, 16), columns)])
  _, told = draw_pictures(jax.random.key(0), jax.device_put(layers), 64)
  assert (set(np.asarray(told)) <= {0, 1, 2}) == hidden


def test_noise_shows_nothing(value, as_they_are):
  rng = np.random.default_rng(0)
  frames = np.clip(scenes() + rng.normal(0, 16, scenes().shape), 0, 255).astype(np.uint8)
  films = [pair("front", (0, 16), (0, 8), frames)]
  hidden = {0, 1, 2}
  for threshold, tells in ((100, False), (0, True)):
    layers = make_layers(value, films, threshold=threshold)
    _, told = draw_pictures(jax.random.key(0), jax.device_put(layers), 64)
    assert bool(set(np.asarray(told)) - hidden) == tells


def test_true_frames_and_empty_scenes_are_among_them(value, monkeypatch):
  layers = make_layers(value, [pair("front", (0, 2), (10, 14))])
  for share, frames in (("_TRUE", layers.shown), ("_EMPTY", layers.scenes)):
    with monkeypatch.context() as patch:
      patch.setattr(robot_free, share, 1.0)
      pictures, told = draw_pictures(jax.random.key(0), jax.device_put(layers), 8)
      np.testing.assert_array_equal(pictures, frames[np.asarray(told)].astype(np.float32))


def test_moved_robots_stay_robots(value):
  layers = make_layers(value, [pair("front", (4, 8), (4, 8))])
  drawn = robot_free._draw_robots(jax.random.key(0), layers, jnp.zeros(64, int))
  opacity = np.asarray(drawn[..., 3])
  assert set(np.unique(opacity)) == {0, 255}
  np.testing.assert_array_equal(drawn[..., 0], opacity)
  counts = (opacity > 0).sum(axis=(1, 2))
  assert (counts == 16).mean() < 0.6 and counts.max() > 32 and counts.mean() > 10


def test_it_learns_to_look_past_the_robot(value):
  films = [pair("front", (6, 10), (9, 15))]
  layers = make_layers(value, films)
  settings = RobotFreeSettings(steps=60, batch_size=16, learning_rate=3e-3)
  step = jax.jit(make_robot_free_step(value, settings))
  state = init_robot_free(jax.random.key(0), value, settings)
  for _ in range(settings.steps):
    state, metrics = step(state, layers)
  assert int(state.step) == 60 and int(metrics["skipped"]) == 0
  learnt = with_robot_free_state(value, state)
  assert len(learnt) == 2
  plain, free = films[0]
  targets = value.embed(free.frames)

  def error(encoder):
    return np.linalg.norm(encoder.embed(plain.frames) - targets, axis=-1).mean()

  assert all(error(each) < 0.5 * error(value) for each in learnt)
  # They learn from pictures of their own.
  assert np.abs(learnt[0].embed(plain.frames) - learnt[1].embed(plain.frames)).max() > 1e-3


def test_an_update_that_is_not_finite_changes_nothing(value):
  layers = make_layers(value, [pair("front", (6, 10), (9, 15))])
  settings = RobotFreeSettings(steps=2, batch_size=4)
  state = init_robot_free(jax.random.key(0), value, settings)
  broken = layers._replace(targets=layers.targets * np.nan)
  after, metrics = jax.jit(make_robot_free_step(value, settings))(state, broken)
  assert int(metrics["skipped_in_a_row"]) == 1
  jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


def test_an_object_that_stands_still_is_one_sentence(value):
  still = np.repeat(scenes()[:1], 4, axis=0)
  with pytest.raises(UserError, match="an object that moves .* stands still in film; leave it out"):
    make_layers(value, [pair("front", (0, 2), (10, 14), still)])


def test_heads_stay_with_the_other(value):
  settings = RobotFreeSettings()
  headed = dataclasses.replace(value, variables={**value.variables, "progress": {"x": np.ones(2)}})
  state = init_robot_free(jax.random.key(0), headed, settings)
  assert all("progress" not in each.variables for each in with_robot_free_state(headed, state))
