"""The fine-tuning step: what it depends on, what it leaves alone, that it learns."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax import sampling
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import (
  ProgressSettings,
  Settings,
  TccSettings,
  frames_per_step,
  init_state,
  make_train_step,
  with_state,
)
from vipjax.finetune.batch import make_draw
from vipjax.finetune.feed import host_loader
from vipjax.finetune.step import scan_steps
from vipjax.runtime import parallel
from vipjax.runtime.errors import UserError
from vipjax.types import Video, VideoSet

SETTINGS = Settings(
  batch_size=3,
  learning_rate=1e-3,
  then_resize=0,
  sampler=sampling.Sampler("exponential"),
  tcc=TccSettings(num_cycles=5, videos_per_cycle=3, frames=4),
)


@pytest.fixture(scope="module")
def value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


@pytest.fixture(scope="module")
def videos():
  """Three videos of 6, 5 and 2 frames in which a bright square moves to the right."""
  frames = np.full((3, 6, 24, 24, 3), 40, np.uint8)
  for t in range(6):
    frames[:, t, 8:16, 3 * t : 3 * t + 6] = 220
  return VideoSet(jnp.asarray(frames), jnp.array([6, 5, 2], jnp.int32))


@pytest.fixture(scope="module")
def step(value):
  return jax.jit(make_train_step(value, SETTINGS, num_task=3))


def assert_differ(a, b):
  with pytest.raises(AssertionError, match="differ in leaves"):
    chex.assert_trees_all_equal(a, b)


def test_a_batch_fed_by_the_host_is_the_one_that_the_device_draws(value, videos, step):
  state = init_state(jax.random.key(1), value, SETTINGS)
  clips = [np.asarray(clip[:n]) for clip, n in zip(*videos, strict=True)]
  batches = host_loader(state.key, [Video(clip) for clip in clips], SETTINGS, 3, first=0, steps=3)
  fed_state = state
  for batch in batches:
    state, metrics = step(state, videos)
    fed_state, fed_metrics = step(fed_state, batch)
    for name in metrics:
      np.testing.assert_allclose(fed_metrics[name], metrics[name], rtol=1e-3, atol=1e-4)
  assert int(fed_state.step) == 3
  # Where a restored run goes on.
  third = next(
    host_loader(state.key, [Video(clip) for clip in clips], SETTINGS, 3, first=2, steps=3)
  )
  np.testing.assert_array_equal(third.pixels, batch.pixels)
  rows, places = third.batch.frames.video, third.batch.frames.index
  np.testing.assert_array_equal(third.pixels, np.asarray(videos.frames)[rows, places])


def test_the_host_feeds_on_when_the_step_has_donated_the_key(videos):
  clips = [Video(np.asarray(clip[:n])) for clip, n in zip(*videos, strict=True)]
  key = jax.random.key(1)
  first = next(host_loader(key, clips, SETTINGS, 3, first=0, steps=1))
  batches = host_loader(key, clips, SETTINGS, 3, first=0, steps=20)  # more than it reads ahead
  key.delete()
  fed = list(batches)
  assert len(fed) == 20
  np.testing.assert_array_equal(fed[0].pixels, first.pixels)


def test_the_host_feeds_where_jax_may_not_use_its_cpu(videos, monkeypatch):
  clips = [Video(np.asarray(clip[:n])) for clip, n in zip(*videos, strict=True)]
  wanted = next(host_loader(jax.random.key(1), clips, SETTINGS, 3, first=0, steps=1))

  def local_devices(process_index=None, backend=None):
    raise RuntimeError(f"Unknown backend {backend}")  # as with JAX_PLATFORMS=cuda

  monkeypatch.setattr(jax, "local_devices", local_devices)
  fed = next(host_loader(jax.random.key(1), clips, SETTINGS, 3, first=0, steps=1))
  np.testing.assert_array_equal(fed.pixels, wanted.pixels)


def test_step_changes_parameters_and_statistics_and_counts(value, videos, step):
  state = init_state(jax.random.key(1), value, SETTINGS)
  after, metrics = step(state, videos)
  assert int(after.step) == 1
  assert_differ(after.params, state.params)
  assert_differ(after.batch_stats, state.batch_stats)
  assert {"loss", "vip_loss", "tcc_loss", "gradient_norm"} <= set(metrics)
  assert all(np.isfinite(float(metric)) for metric in metrics.values())


def test_same_key_same_step_and_another_key_another_step(value, videos, step):
  runs = [step(init_state(jax.random.key(k), value, SETTINGS), videos)[0] for k in (1, 1, 2)]
  chex.assert_trees_all_equal(runs[0].params, runs[1].params)
  assert_differ(runs[0].params, runs[2].params)


def test_frames_past_the_end_of_a_video_are_never_used(value, videos, step):
  garbage = np.array(videos.frames)
  garbage[1, 5:], garbage[2, 2:] = 255, 255
  state = init_state(jax.random.key(1), value, SETTINGS)
  clean, _ = step(state, videos)
  dirty, _ = step(state, VideoSet(jnp.asarray(garbage), videos.lengths))
  chex.assert_trees_all_equal(clean.params, dirty.params)


def test_total_is_vip_and_norms_and_weighted_tcc(value, videos, step):
  _, metrics = step(init_state(jax.random.key(1), value, SETTINGS), videos)
  norms = 0.001 * (metrics["l1_norm"] + metrics["l2_norm"])
  np.testing.assert_allclose(
    metrics["loss"], metrics["vip_loss"] + norms + metrics["tcc_loss"], rtol=1e-5
  )


def test_frozen_batch_norm_keeps_statistics_and_no_tcc_has_no_tcc_metrics(value, videos):
  settings = dataclasses.replace(SETTINGS, train_batch_norm=False, tcc=TccSettings(weight=0.0))
  state = init_state(jax.random.key(1), value, settings)
  after, metrics = jax.jit(make_train_step(value, settings, 3))(state, videos)
  chex.assert_trees_all_equal(after.batch_stats, state.batch_stats)
  assert_differ(after.params, state.params)
  assert "tcc_loss" not in metrics


def test_distillation_learns_the_distances_of_its_teachers(value, videos):
  settings = dataclasses.replace(
    SETTINGS, loss="distillation", train_batch_norm=False, tcc=TccSettings(weight=0.0)
  )
  others = [init_value(jax.random.key(seed), value.config, value.preprocessing) for seed in (5, 6)]
  step = jax.jit(make_train_step(value, settings, num_task=3, teachers=others))
  state, rows = init_state(jax.random.key(1), value, settings), []
  for _ in range(30):
    state, metrics = step(state, videos)
    rows.append(float(metrics["loss"]))
  assert np.mean(rows[-5:]) < 0.5 * np.mean(rows[:5])
  # An encoder has its own distances: nothing to learn from itself.
  _, metrics = jax.jit(make_train_step(value, settings, num_task=3, teachers=[value]))(
    init_state(jax.random.key(1), value, settings), videos
  )
  assert metrics["loss"] < 1e-9


PROGRESS = dataclasses.replace(SETTINGS, progress=ProgressSettings(weight=2.0, pairs=12))


def test_pairs_come_behind_the_draws_of_the_other_losses(videos):
  key, lengths = jax.random.key(4), videos.lengths
  without = make_draw(SETTINGS, 3, 6)(key, 7, lengths)
  batch = make_draw(PROGRESS, 3, 6)(key, 7, lengths)
  assert len(batch.frames.video) == frames_per_step(PROGRESS, 3) == 4 * 3 + 3 * 4 + 2 * 12
  others = jax.tree.map(lambda leaf: leaf[:-24], batch.frames)
  pairs = jax.tree.map(lambda leaf: leaf[-24:], batch.frames)
  chex.assert_trees_all_equal(batch._replace(frames=others, progress=None), without)
  video, (early, late) = pairs.video[::2], pairs.index.reshape(12, 2).T
  np.testing.assert_array_equal(video, pairs.video[1::2])
  assert jnp.array_equal(pairs.crop[::2], pairs.crop[1::2])
  np.testing.assert_allclose(batch.progress, (late - early) / (lengths[video] - 1), rtol=1e-6)
  assert (batch.progress > 0).all()


def test_the_head_learns_which_frame_is_ahead(value, videos):
  settings = dataclasses.replace(
    PROGRESS, head_learning_rate=0.03, train_batch_norm=False, crop_scale=(1.0, 1.0)
  )
  step = jax.jit(make_train_step(value, settings, num_task=3))
  state, order = init_state(jax.random.key(1), value, settings), []
  for _ in range(60):
    state, metrics = step(state, videos)
    order.append(float(metrics["progress_order"]))
  assert np.mean(order[-20:]) > 0.75 and order[0] <= 0.5
  norms = 0.001 * (metrics["l1_norm"] + metrics["l2_norm"])
  np.testing.assert_allclose(
    metrics["loss"],
    metrics["vip_loss"] + norms + metrics["tcc_loss"] + 2 * metrics["progress_loss"],
    rtol=1e-5,
  )
  trained = with_state(value, state)
  frames = np.asarray(videos.frames[0])
  ahead = trained.progress(np.repeat(frames[:1], 6, axis=0), frames)
  assert (ahead[1:] > 0).all() and ahead[-1] > 0.3
  # It goes on from the head that it has; without the loss there is none.
  again = init_state(jax.random.key(1), trained, settings)
  chex.assert_trees_all_equal(again.params, state.params)
  plain = with_state(trained, init_state(jax.random.key(1), trained, SETTINGS))
  assert set(plain.variables) == {"params", "batch_stats"}


def test_background_videos_show_no_progress(value, videos):
  settings = dataclasses.replace(PROGRESS, background_clips=4)
  lengths = jnp.concatenate([videos.lengths, videos.lengths])
  batch = make_draw(settings, 3, 6)(jax.random.key(0), 0, lengths)
  assert (batch.frames.video[12:28] >= 3).all() and (batch.frames.video[-24:] < 3).all()


def test_background_videos_and_head_learning_rate_matter(value, videos):
  settings = dataclasses.replace(SETTINGS, background_clips=2, head_learning_rate=1e-2)
  state = init_state(jax.random.key(1), value, settings)
  step = jax.jit(make_train_step(value, settings, num_task=3))

  def with_background(frames):
    both = VideoSet(jnp.concatenate([videos.frames, frames]), jnp.concatenate([videos.lengths] * 2))
    return step(state, both)[0]

  dark = with_background(jnp.zeros_like(videos.frames))
  same = with_background(videos.frames)
  assert_differ(dark.params, same.params)
  moved = {
    name: max(
      np.abs(np.subtract(new, old)).max()
      for new, old in zip(
        jax.tree.leaves(dark.params[name]), jax.tree.leaves(state.params[name]), strict=True
      )
    )
    for name in ("fc", "conv1")
  }
  # Adam's first step is its learning rate in every coordinate with a gradient.
  np.testing.assert_allclose(moved["fc"], 1e-2, rtol=1e-2)
  np.testing.assert_allclose(moved["conv1"], 1e-3, rtol=1e-2)


def test_an_update_that_is_not_finite_changes_nothing_and_counts(value, videos, step):
  state = init_state(jax.random.key(1), value, SETTINGS)
  params = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(jnp.nan), state.params)
  broken = state._replace(params=params)
  for count in (1, 2):
    after, metrics = step(broken, videos)
    assert not np.isfinite(float(metrics["loss"]))
    assert int(metrics["skipped"]) == int(metrics["skipped_in_a_row"]) == count
    for name in ("params", "batch_stats", "opt_state"):
      chex.assert_trees_all_equal(getattr(after, name), getattr(broken, name))
    assert int(after.step) == count
    broken = after
  healthy, metrics = step(after._replace(params=state.params), videos)
  assert healthy.skipped.tolist() == [2, 0]
  assert_differ(healthy.params, state.params)


def test_decay_ends_at_zero(value, videos):
  settings = dataclasses.replace(SETTINGS, decay_steps=2)
  step = jax.jit(make_train_step(value, settings, num_task=3))
  state = init_state(jax.random.key(1), value, settings)
  for _ in range(2):
    state, _ = step(state, videos)
  after, _ = step(state, videos)
  chex.assert_trees_all_equal(after.params, state.params)


def test_frames_that_do_not_divide_are_one_sentence(value, videos):
  devices = jax.devices()[:7]
  step = parallel.compile_step(make_train_step(value, SETTINGS, num_task=3), devices)
  state = parallel.replicate(init_state(jax.random.key(1), value, SETTINGS), devices)
  with pytest.raises(UserError, match="among 7 devices, got 24; .* 21 and 28"):
    step(state, parallel.replicate(videos, devices))


def test_it_learns(value, videos, step):
  state, first = init_state(jax.random.key(1), value, SETTINGS), []
  for _ in range(60):
    state, metrics = step(state, videos)
    first.append(float(metrics["vip_loss"]))
  assert np.mean(first[-15:]) < np.mean(first[:15]) - 0.05


def test_longer_cycles_than_videos_is_one_sentence(value, videos):
  settings = dataclasses.replace(SETTINGS, tcc=TccSettings(videos_per_cycle=4))
  state = init_state(jax.random.key(1), value, settings)
  with pytest.raises(UserError, match="expected at least 4 videos for TCC cycles of T=4, got 3"):
    make_train_step(value, settings, 3)(state, videos)


def test_bfloat16_computes_convolutions_and_keeps_the_rest_in_float32(value, videos):
  # What accelerators do by themselves; forced here.
  assert value.module().dtype == jnp.float32
  half = value.replace(dtype=jnp.bfloat16)
  state = init_state(jax.random.key(1), half, SETTINGS)
  step = jax.jit(make_train_step(half, SETTINGS, num_task=3))
  program = step.lower(state, videos).as_text()
  convolutions = [line for line in program.splitlines() if "stablehlo.convolution" in line]
  assert convolutions and all("bf16" in line and "f32" not in line for line in convolutions)
  after, metrics = jax.eval_shape(step, state, videos)
  trained = (after.params, after.batch_stats, after.opt_state, metrics)
  floats = [x for x in jax.tree.leaves(trained) if jnp.issubdtype(x.dtype, jnp.floating)]
  assert {x.dtype for x in floats} == {jnp.dtype(jnp.float32)}
  # Batch statistics of frames as alike as these would amplify roundings: they are frozen here.
  frozen = dataclasses.replace(SETTINGS, train_batch_norm=False, tcc=TccSettings(weight=0.0))
  state = init_state(jax.random.key(1), value, frozen)
  rounded, exact = (
    jax.jit(make_train_step(each, frozen, num_task=3))(state, videos)[1] for each in (half, value)
  )
  np.testing.assert_allclose(rounded["vip_loss"], exact["vip_loss"], rtol=0.02)
  assert float(rounded["vip_loss"]) != float(exact["vip_loss"])


def test_repeated_steps_in_one_program_are_those_steps(value, videos):
  step = make_train_step(value, SETTINGS, num_task=3)
  state = init_state(jax.random.key(1), value, SETTINGS)
  once, twice = (jax.jit(scan_steps(step, count)) for count in (1, 2))
  after, first = once(state, videos)
  after, second = once(after, videos)
  together, metrics = twice(state, videos)
  assert first["loss"].shape == (1,) and metrics["loss"].shape == (2,)
  np.testing.assert_allclose(metrics["loss"], [first["loss"][0], second["loss"][0]], rtol=1e-4)
  assert int(together.step) == int(after.step) == 2


def test_composites_give_clips_but_are_not_aligned():
  settings = dataclasses.replace(SETTINGS, batch_size=64, background_clips=2, made_videos=2)
  lengths = jnp.array([9, 6, 7, 5, 4, 8], jnp.int32)
  batch = jax.jit(make_draw(settings, 3, 9))(jax.random.key(0), jnp.int32(0), lengths)
  video = np.asarray(batch.frames.video)
  clips, background, aligned = np.split(video, [4 * 64, 4 * 66])
  assert set(clips) == {0, 1, 2, 3, 4} and set(background) == {5} and set(aligned) == {0, 1, 2}
  assert (np.asarray(batch.frames.index) < np.asarray(lengths)[video]).all()
  assert batch.tcc_indices.shape == (3, 4) and int(batch.cycles.max()) == 2
