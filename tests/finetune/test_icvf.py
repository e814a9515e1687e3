"""The loss "icvf" in the training step: draws, numbers, what it learns; and VIP's with "mrn"."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vipjax.encoder import (
  HEAD,
  Head,
  Preprocessing,
  ResNetConfig,
  init_value,
  normalize_levels,
  random_resized_crop,
)
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step, with_state
from vipjax.finetune.batch import make_draw
from vipjax.losses import icvf_loss
from vipjax.runtime.errors import UserError
from vipjax.types import VideoSet

SETTINGS = Settings(
  batch_size=20, background_clips=4, loss="icvf", learning_rate=1e-3, then_resize=0,
  target_rate=0.2, crop_scale=(0.9, 1.0), tcc=TccSettings(weight=0.0),
)  # fmt: skip
ICVF = Head("icvf", 0.98, (64, 64))


@pytest.fixture(scope="module")
def value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8, norm="group")
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


@pytest.fixture(scope="module")
def videos():
  """Two videos in which a bright square moves to the right, and one in which it stands still."""
  frames = np.full((3, 10, 24, 24, 3), 40, np.uint8)
  for t in range(10):
    for video, left in ((0, t), (1, t), (2, 4)):
      frames[video, t, 10:18, 2 * left : 2 * left + 6] = 220
  return VideoSet(jnp.asarray(frames), jnp.array([10, 9, 10], jnp.int32))


def test_draws():
  settings = dataclasses.replace(SETTINGS, batch_size=300, background_clips=200)
  draw = jax.jit(make_draw(settings, 2, 12))
  batch = draw(jax.random.key(0), jnp.int32(3), jnp.array([10, 4, 12]))
  video, index = (np.asarray(each).reshape(500, 4) for each in batch.frames[:2])
  crop = np.asarray(jax.random.key_data(batch.frames.crop))[:, 1].reshape(500, 4)
  assert set(video[:300, 0]) == {0, 1} and set(video[300:, 0]) == {2}
  assert (video[:, 1] == video[:, 0]).all() and (index[:, 1] == index[:, 0] + 1).all()
  assert index[:, 1].max() == 11 and (crop == crop[:, :1]).all() and len(np.unique(crop)) > 490
  # Intents are of the video itself, outcomes of any.
  assert (video[:, 3] == video[:, 0]).all() and (index[:, 3] >= index[:, 0]).all()
  assert {tuple(pair) for pair in video[:, [0, 2]]} >= {(0, 2), (2, 0), (1, 0)}
  for place, reached in zip((2, 3), np.asarray(batch.reached), strict=True):
    same = (video[:, place] == video[:, 0]) & (index[:, place] == index[:, 0])
    np.testing.assert_array_equal(reached, same)
    assert 0.15 < same.mean() < 0.35


@pytest.fixture(scope="module")
def start(value):
  return value.with_head(ICVF, jax.random.key(3))


@pytest.fixture(scope="module")
def step(start):
  return jax.jit(make_train_step(start, SETTINGS, 2))


def test_the_numbers_are_those_of_the_embeddings_of_parameters_and_target(start, videos, step):
  value = start
  other = init_value(jax.random.key(5), value.config, value.preprocessing)
  other = other.with_head(ICVF, jax.random.key(6))
  state = init_state(jax.random.key(1), value, SETTINGS)
  assert set(state.target) == set(state.params) == {*value.variables["params"], HEAD}
  state = state._replace(target={**other.variables["params"], HEAD: other.variables[HEAD]})
  after, metrics = step(state, videos)

  @jax.jit
  def drawn_and_embedded():
    batch = make_draw(SETTINGS, 2, 10)(state.key, state.step, videos.lengths)
    pixels = videos.frames[batch.frames.video, batch.frames.index]
    levels = normalize_levels(
      random_resized_crop(batch.frames.crop, pixels[:, None], 16, scale=SETTINGS.crop_scale)[:, 0]
    )
    return (
      batch,
      pixels,
      *(
        each.module().apply({"params": each.variables["params"]}, levels).reshape((24, 4, -1))
        for each in (value, other)
      ),
    )

  heads, values = {each: each.variables[HEAD] for each in (value, other)}, jax.jit(ICVF.values)
  v = lambda which, *of: values(heads[which], *of)  # noqa: E731
  batch, pixels, frames, old = drawn_and_embedded()
  pixels = np.asarray(pixels).reshape(24, 4, -1)
  seen = [(pixels[:, 0] == pixels[:, place]).all(-1) for place in (2, 3)]
  # In the video that stands still every frame is reached, though it is drawn as another.
  assert (np.asarray(batch.reached) <= seen).all() and (np.asarray(batch.reached) != seen).any()
  s, _, outcome, intent = (frames[:, place] for place in range(4))
  old_s, following, old_outcome, old_intent = (old[:, place] for place in range(4))
  loss, wanted = icvf_loss(
    v(value, s, outcome, intent), v(other, following, old_outcome, old_intent),
    v(other, following, old_intent, old_intent), v(other, old_s, old_intent, old_intent),
    *seen, 0.98, 0.9,
  )  # fmt: skip
  assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)
  for name, number in wanted.items():
    assert metrics[name] == pytest.approx(float(number), rel=1e-3, abs=1e-5)
  averaged = optax.incremental_update(state.params, state.target, 0.2)
  for path in ((HEAD, "left", "kernel"), ("fc", "kernel")):
    found, mean = after.target, averaged
    for key in path:
      found, mean = found[key], mean[key]
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-7)


def test_distances_become_steps_and_know_a_direction(start, videos, step):
  state = init_state(jax.random.key(1), start, SETTINGS)
  for _ in range(200):
    state, _ = step(state, videos)
  made, film = with_state(start, state), np.asarray(videos.frames[0])
  forth = made.distance(film, film[-1])
  np.testing.assert_allclose(forth, np.arange(9, -1, -1), atol=2.5)
  # No film leads back, nor tells how far that is.
  assert abs(made.distance(film[-1:], film[0])[0] - forth[0]) > 3


def test_vip_trains_a_head_with_direction(value, videos):
  settings = dataclasses.replace(SETTINGS, loss="vip", batch_size=8, background_clips=0)
  value = value.with_head(Head("mrn"), jax.random.key(3))
  step = jax.jit(make_train_step(value, settings, 2))
  first = state = init_state(jax.random.key(1), value, settings)
  assert first.target is None
  for _ in range(50):
    state, _ = step(state, videos)
  # On the first batch, which is drawn by the number of updates done.
  before, after = (step(each._replace(step=first.step), videos)[1] for each in (first, state))
  assert after["vip_loss"] < before["vip_loss"] - 0.1
  made, film = with_state(value, state), np.asarray(videos.frames[0])
  assert made.head == Head("mrn") and HEAD not in made.variables
  forth, back = (made.distance(film[[at]], film[9 - at])[0] for at in (0, 9))
  assert forth != pytest.approx(back, rel=1e-2)


@pytest.mark.parametrize(
  ("loss", "head", "words"),
  [
    ("icvf", Head("mrn"), "head 'icvf' with config.finetune.loss = 'icvf', got 'mrn'"),
    ("triplet", Head("mrn"), "head 'l2' with config.finetune.loss = 'triplet', got 'mrn'"),
    ("expectile", ICVF, "head 'l2' or 'mrn' with config.finetune.loss = 'expectile', got 'icvf'"),
  ],
)
def test_a_head_that_the_loss_does_not_fit_is_one_sentence(value, loss, head, words):
  with pytest.raises(UserError, match=words):
    make_train_step(value.replace(head=head), dataclasses.replace(SETTINGS, loss=loss), 2)
