"""Expectile regression in the training step: its target, its metrics, what it learns."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.encoder import (
  init_value,
  normalize_levels,
  random_resized_crop,
)
from vipjax.encoder.progress import PROGRESS
from vipjax.finetune import (
  ProgressSettings,
  Settings,
  TccSettings,
  init_state,
  make_train_step,
  with_state,
)
from vipjax.finetune.batch import make_draw
from vipjax.runtime.errors import UserError
from vipjax.types import VideoSet

SETTINGS = Settings(
  batch_size=4, background_clips=2, loss="expectile", learning_rate=1e-3, then_resize=0,
  num_negatives=2, target_rate=0.25, expectile=0.7, tcc=TccSettings(num_cycles=0, frames=4),
  progress=ProgressSettings(0.5, pairs=4),
)  # fmt: skip
ALONE = dataclasses.replace(SETTINGS, tcc=TccSettings(weight=0.0), progress=ProgressSettings())


@pytest.fixture(scope="module")
def value(small_value):
  return small_value


@pytest.fixture(scope="module")
def videos():
  """Two videos in which a bright square moves to the right, and one in which it comes back."""
  frames = np.full((3, 10, 24, 24, 3), 40, np.uint8)
  for t in range(10):
    for video, left in ((0, t), (1, t), (2, min(t, 9 - t))):
      frames[video, t, 10:18, 2 * left : 2 * left + 6] = 220
  return VideoSet(jnp.asarray(frames), jnp.array([10, 9, 10], jnp.int32))


def compiled(value, settings=SETTINGS):
  return jax.jit(make_train_step(value, settings, 2))


@pytest.fixture(scope="module")
def step(value):
  return compiled(value)


def test_the_target_is_an_average_of_the_parameters_before_each_update(value, videos, step):
  state = init_state(jax.random.key(1), value, SETTINGS)
  # The progress head has none: it is no part of the value.
  encoder = {name: leaves for name, leaves in state.params.items() if name != PROGRESS}
  assert len(encoder) < len(state.params)
  chex.assert_trees_all_equal(state.target, encoder)
  states = [state]
  for _ in range(3):
    states.append(step(states[-1], videos)[0])
  target = encoder
  for before, after in zip(states, states[1:], strict=False):
    params = {name: before.params[name] for name in encoder}
    target = jax.tree.map(lambda new, old: 0.25 * new + 0.75 * old, params, target)
    chex.assert_trees_all_close(after.target, target, rtol=1e-5, atol=1e-7)
  assert np.abs(states[3].target["fc"]["kernel"] - states[3].params["fc"]["kernel"]).max() > 1e-4
  # What is saved as the encoder are the parameters.
  saved = with_state(value, states[3]).variables["params"]
  chex.assert_trees_all_equal(saved, {name: states[3].params[name] for name in encoder})


def test_an_update_that_is_not_finite_leaves_the_target(value, videos, step):
  state = init_state(jax.random.key(1), value, SETTINGS)
  broken = state.params | {"fc": jax.tree.map(lambda x: x * jnp.nan, state.params["fc"])}
  after, metrics = step(state._replace(params=broken), videos)
  assert metrics["skipped"] == 1
  chex.assert_trees_all_equal(after.target, state.target)


def test_other_losses_have_no_target_so_that_old_checkpoints_fit(value):
  state = init_state(jax.random.key(1), value, dataclasses.replace(SETTINGS, loss="vip"))
  assert state.target is None
  assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(tuple(state)[:-1]))


@pytest.mark.parametrize("train_batch_norm", [True, False])
def test_metrics_are_those_of_the_embeddings_of_parameters_and_target(
  value, videos, train_batch_norm
):
  settings = dataclasses.replace(ALONE, train_batch_norm=train_batch_norm)
  other = init_value(jax.random.key(5), value.config, value.preprocessing)
  state = init_state(jax.random.key(1), value, settings)
  state = state._replace(target=other.variables["params"])
  _, metrics = compiled(value, settings)(state, videos)

  @jax.jit
  def drawn_and_embedded():
    batch = make_draw(settings, 2, 10)(state.key, state.step, videos.lengths)
    pixels = videos.frames[batch.frames.video, batch.frames.index][:, None]
    levels = normalize_levels(
      random_resized_crop(batch.frames.crop, pixels, 16, scale=settings.crop_scale)[:, 0]
    )
    # The target, too, has the statistics of the batch where the encoder has them.
    return batch, *(
      value.module().apply(
        {"params": params, "batch_stats": state.batch_stats}, levels, train=train_batch_norm,
        mutable=["batch_stats"],
      )[0]
      for params in (state.params, state.target)
    )  # fmt: skip

  batch, *embeddings = drawn_and_embedded()
  online, target = (np.asarray(each, np.float64).reshape(6, 4, -1) for each in embeddings)
  index = np.asarray(batch.frames.index).reshape(6, 4)
  video = np.asarray(batch.frames.video)[::4]

  def term(shuffles):
    costs, accepted = [], []
    for shuffle in shuffles:
      for row, clip in enumerate(shuffle):
        for place in (0, 2):

          def v(frames, place, row=row, clip=clip):
            return -np.linalg.norm(frames[clip, place] - frames[row, 1])

          steps = index[clip, 3] - index[clip, place]
          wanted = -sum(0.98**i for i in range(steps)) + 0.98**steps * v(target, 3)
          if video[clip] == video[row] and index[clip, place] == index[row, 1]:
            wanted = 0.0
          accepted.append(wanted >= v(target, place))
          costs.append((0.7 if accepted[-1] else 0.3) * (wanted - v(online, place)) ** 2)
    return np.mean(costs), np.mean(accepted)

  own, accepted = term([range(6)])
  others, _ = term(np.asarray(batch.permutations))
  distance = np.linalg.norm(online[:, 0] - online[:, 1], axis=-1).mean()
  assert metrics["expectile_own"] == pytest.approx(own, rel=1e-4)
  assert metrics["expectile_others"] == pytest.approx(others, rel=1e-4)
  assert metrics["loss"] == pytest.approx(own + others, rel=1e-4)
  assert metrics["expectile_accepted"] == pytest.approx(accepted)
  assert metrics["expectile_distance"] == pytest.approx(distance, rel=1e-4)


def test_tcc_and_progress_add_on_top(value, videos, step):
  _, metrics = step(init_state(jax.random.key(1), value, SETTINGS), videos)
  assert metrics["tcc_loss"] > 0
  total = metrics["expectile_loss"] + metrics["tcc_loss"] + 0.5 * metrics["progress_loss"]
  assert metrics["loss"] == pytest.approx(float(total), rel=1e-5)


def test_distances_become_steps(value, videos):
  settings = dataclasses.replace(
    ALONE, batch_size=8, background_clips=4, num_negatives=1, target_rate=0.05,
    crop_scale=(0.9, 1.0),
  )  # fmt: skip
  step, state = compiled(value, settings), init_state(jax.random.key(1), value, settings)

  def error(value):
    """Of the distances to the last frame, against the discounted steps to it."""
    found = value.distance(np.asarray(videos.frames[0]), np.asarray(videos.frames[0, -1]))
    return np.abs(found - (1 - 0.98 ** np.arange(9, -1, -1)) / 0.02).mean()

  before = error(with_state(value, state))
  for _ in range(150):
    state, _ = step(state, videos)
  assert error(with_state(value, state)) < 0.5 * before


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"expectile": 1.0}, "config.finetune.expectile between 0 and 1, got 1.0"),
    ({"expectile": 0}, "config.finetune.expectile between 0 and 1, got 0"),
    ({"target_rate": 0.0}, "config.finetune.target_rate above 0, at most 1, got 0.0"),
  ],
)
def test_bad_settings_are_one_sentence(change, words):
  with pytest.raises(UserError, match=words):
    Settings(**change)
