"""Goals against failures in the training step: the draws, and what they change."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.finetune import Contrast, Settings, TccSettings, init_state, make_train_step, with_state
from vipjax.finetune.batch import make_draw
from vipjax.finetune.step import frames_per_step
from vipjax.runtime import parallel
from vipjax.types import VideoSet

SETTINGS = Settings(
  batch_size=4, learning_rate=1e-3, then_resize=0,
  tcc=TccSettings(num_cycles=0, frames=4),
)  # fmt: skip
OF_VIDEOS = Contrast(2.0, goals=(0, 1), failures=(2, 2), clips=6)
CONTRAST = Contrast(1.0, goals=(0, 2), failures=(4, 5), clips=50)
LENGTHS = np.array([40, 6, 2, 9, 3, 0], np.int32)
BACKGROUND = dataclasses.replace(SETTINGS, background_clips=6)


@pytest.fixture(scope="module")
def value(small_value):
  return small_value


def videos(failures):
  """Two videos in which a bright square moves to the right, and then so many failures.

  In those it is where it ends in the others, but the upper corner is bright as well.
  """
  frames = np.full((3, 10, 24, 24, 3), 40, np.uint8)
  for t in range(10):
    frames[:2, t, 10:18, 2 * t : 2 * t + 6] = 220
  frames[2] = frames[0, -1]
  frames[2, :, :6, 12:18] = 220
  return VideoSet(jnp.asarray(frames), jnp.array([10, 9, failures], jnp.int32))


def test_draws():
  batch = make_draw(BACKGROUND, 3, 40, CONTRAST)(jax.random.key(0), jnp.int32(3), LENGTHS)
  assert len(batch.frames.video) == frames_per_step(BACKGROUND, 3, CONTRAST)
  video, index, crop = (
    np.asarray(x)[-200:].reshape(50, 4)
    for x in batch.frames._replace(crop=jax.random.key_data(batch.frames.crop)[:, 1])
  )
  assert {tuple(row) for row in video} == {(0, 0, 0, 4), (2, 2, 2, 5)}
  of_first = video[:, 0] == 0
  assert set(index[of_first, 0]) == {0} and set(index[of_first, 1]) == {39}
  assert set(index[of_first, 2]) == {36, 37, 38} and set(index[of_first, 3]) == {0, 1, 2}
  assert {tuple(row) for row in index[~of_first]} == {(0, 1, 0, 0)}
  assert (crop == crop[:, :1]).all() and len(np.unique(crop)) == 50
  # All else is drawn as without it, from a background without the failures.
  other = make_draw(BACKGROUND, 3, 40)(jax.random.key(0), jnp.int32(3), LENGTHS[:4])
  cut = batch._replace(frames=jax.tree.map(lambda leaf: leaf[:-200], batch.frames))
  chex.assert_trees_all_equal(cut, other)


@pytest.fixture(scope="module")
def step(value):
  return jax.jit(make_train_step(value, SETTINGS, 2, contrast=OF_VIDEOS))


def test_it_pushes_failures_away(value, step):
  data, state = videos(2), init_state(jax.random.key(1), value, SETTINGS)

  def price(value):
    first, goal, failure = value.embed(np.asarray(data.frames)[[0, 0, 2], [0, 9, 0]])
    return np.linalg.norm(failure - goal) / np.linalg.norm(first - goal)

  def trained(data):
    new = state
    for _ in range(60):
      new, metrics = step(new, data)
    return price(with_state(value, new)), metrics

  pushed, metrics = trained(data)
  alone, _ = trained(data._replace(lengths=data.lengths.at[2].set(0)))
  assert pushed > alone + 0.2
  norms = sum(1e-3 * metrics[name] for name in ("l1_norm", "l2_norm"))
  parts = metrics["vip_loss"] + metrics["tcc_loss"] + 2 * metrics["contrast_loss"] + norms
  assert float(metrics["loss"]) == pytest.approx(float(parts), rel=1e-5)


def test_without_failures_it_costs_nothing(value, step):
  _, metrics = step(init_state(jax.random.key(1), value, SETTINGS), videos(0))
  assert metrics["contrast_loss"] == metrics["contrast_price"] == 0
  assert np.isfinite(metrics["gradient_norm"])


def test_devices_share_its_frames(value, step):
  state, data = init_state(jax.random.key(1), value, SETTINGS), videos(2)
  _, alone = step(state, data)
  devices = jax.devices()[:2]
  both = parallel.compile_step(make_train_step(value, SETTINGS, 2, contrast=OF_VIDEOS), devices)
  _, shared = both(parallel.replicate(state, devices), parallel.replicate(data, devices))
  for name in ("contrast_loss", "contrast_price", "vip_loss", "tcc_loss"):
    np.testing.assert_allclose(shared[name], alone[name], rtol=1e-4)
