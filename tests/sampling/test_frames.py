"""Samplers against their analytic distributions (fixed keys), at bounds, and under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipjax import sampling
from vipjax.runtime.errors import UserError

UNIFORM = sampling.Sampler("uniform")
EXPONENTIAL = sampling.Sampler("exponential", rate=5.0)
BETA = sampling.Sampler("beta", a=2.0, b=3.0)
EVERY = [UNIFORM, EXPONENTIAL, sampling.Sampler("beta", a=0.5, b=0.3)]
compiled_positions = jax.jit(sampling.sample_positions, static_argnums=2)
compiled_clips = jax.jit(sampling.clip_indices)
compiled_subset = jax.jit(sampling.frame_subset, static_argnums=(3, 4))
# Exponential of a rate: the distribution function is (e^(rate x) - 1) / (e^rate - 1). Beta(2, 3):
# the polynomial below.
DISTRIBUTIONS = [
  (UNIFORM, lambda x: x),
  (EXPONENTIAL, lambda x: np.expm1(5 * x) / np.expm1(5)),
  (sampling.Sampler("exponential", rate=0.5), lambda x: np.expm1(x / 2) / np.expm1(0.5)),
  (BETA, lambda x: 6 * x**2 - 8 * x**3 + 3 * x**4),
]


@pytest.mark.parametrize(("sampler", "distribution"), DISTRIBUTIONS)
def test_positions_follow_their_distribution(sampler, distribution):
  count = 40_000
  positions = np.asarray(compiled_positions(jax.random.key(0), sampler, (count,)))
  assert positions.dtype == np.float32
  assert positions.min() >= 0 and positions.max() < 1
  places = np.linspace(0.05, 0.95, 19)
  share = np.searchsorted(np.sort(positions), places) / count
  # Kolmogorov-Smirnov: 1.95 / sqrt(count) is passed once in a thousand keys.
  np.testing.assert_allclose(share, distribution(places), atol=1.95 / np.sqrt(count))
  fine = np.linspace(0, 1, 10_001)
  mean = np.mean(1 - distribution(fine))
  np.testing.assert_allclose(positions.mean(), mean, atol=4 * 0.3 / np.sqrt(count))


@pytest.mark.parametrize("sampler", EVERY)
def test_positions_stay_below_one(sampler):
  positions = compiled_positions(jax.random.key(1), sampler, (200, 200))
  assert positions.shape == (200, 200)
  assert np.isfinite(positions).all() and positions.min() >= 0 and positions.max() < 1


@pytest.mark.parametrize("sampler", EVERY)
def test_clips_of_every_short_length(sampler):
  lengths = np.repeat(np.arange(2, 21), 400)
  clips = np.asarray(compiled_clips(jax.random.key(2), sampler, lengths))
  assert clips.shape == (len(lengths), 4) and clips.dtype == np.int32
  start, goal, current, following = clips.T
  assert (0 <= start).all() and (start <= current).all() and (current < goal).all()
  assert (following == current + 1).all() and (goal < lengths).all()
  assert (start <= np.maximum(lengths - 3, 0)).all()
  np.testing.assert_array_equal(clips[lengths == 2], np.tile([0, 1, 0, 1], (400, 1)))


def test_uniform_clips_are_the_official_scheme():
  length, count = 6, 60_000
  clips = np.asarray(compiled_clips(jax.random.key(3), UNIFORM, np.full(count, length)))
  expected = {
    (start, goal, current): 1 / (length - 2) / (length - 1 - start) / (goal - start)
    for start in range(length - 2)
    for goal in range(start + 1, length)
    for current in range(start, goal)
  }
  np.testing.assert_allclose(sum(expected.values()), 1.0)
  clip, counts = np.unique(clips[:, :3], axis=0, return_counts=True)
  seen = dict(zip(map(tuple, clip.tolist()), counts / count, strict=True))
  assert seen.keys() == expected.keys()
  for key, probability in expected.items():
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert abs(seen[key] - probability) < 4.5 * deviation


def test_sampler_moves_the_first_frame_alone():
  count = 40_000
  lengths = np.full(count, 102)
  clips = np.asarray(compiled_clips(jax.random.key(4), EXPONENTIAL, lengths))
  start = clips[:, 0]
  for place in (25, 50, 75, 90):
    share = np.expm1(5 * place / 100) / np.expm1(5)
    np.testing.assert_allclose(np.mean(start < place), share, atol=0.01)
  # Where the goal lies between start + 1 and the last frame stays uniform.
  np.testing.assert_allclose(
    np.mean((clips[:, 1] - start - 1) / (lengths - 2 - start)), 0.5, atol=0.01
  )


@pytest.mark.parametrize("sampler", EVERY)
@settings(deadline=None, max_examples=20, database=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=4), st.integers(0, 10_000))
def test_frame_subsets(sampler, lengths, seed):
  key = jax.random.key(seed)
  frames = np.asarray(compiled_subset(key, sampler, jnp.array(lengths), 5, 12))
  assert frames.shape == (4, 5) and frames.dtype == np.int32
  for row, length in zip(frames, lengths, strict=True):
    assert row[0] >= 0 and row[-1] < length and (np.diff(row) >= 0).all()
    assert len(set(row.tolist())) == min(5, length)


def test_frame_subset_longer_than_any_video():
  frames = compiled_subset(jax.random.key(0), EXPONENTIAL, np.array([3, 1]), 8, 3)
  assert frames.shape == (2, 8)
  assert set(np.asarray(frames)[0].tolist()) == {0, 1, 2}
  np.testing.assert_array_equal(frames[1], np.zeros(8))


@pytest.mark.parametrize("sampler", [UNIFORM, EXPONENTIAL, BETA])
def test_frame_subset_follows_the_density(sampler):
  count, length = 8_000, 8
  lengths = np.full(count, length)
  frames = np.asarray(compiled_subset(jax.random.key(5), sampler, lengths, 2, 11))
  middles = (np.arange(length) + 0.5) / length
  density = {
    "uniform": np.ones(length),
    "exponential": np.exp(5 * middles),
    "beta": middles * (1 - middles) ** 2,
  }[sampler.name]
  p = density / density.sum()
  # Without replacement: first i, or first some other frame j and then i out of the rest.
  included = p + p * (np.sum(p / (1 - p)) - p / (1 - p))
  np.testing.assert_allclose(included.sum(), 2.0)
  share = np.bincount(frames.ravel(), minlength=length) / count
  np.testing.assert_allclose(share, included, atol=0.02)


def test_pairs_prefer_short_gaps():
  lengths = np.array([2, 5, 9] * 4000, np.int32)
  pairs = np.asarray(sampling.progress_pairs(jax.random.key(3), lengths, 9))
  early, late = pairs.T
  gaps = late - early
  assert (early >= 0).all() and (gaps >= 1).all() and (late < lengths).all()
  np.testing.assert_array_equal(pairs[lengths == 2], [[0, 1]] * 4000)
  # 1, 1/2, 1/3 and 1/4 for five frames; a gap of 1 starts anywhere.
  of_five = lengths == 5
  share = np.bincount(gaps[of_five], minlength=5)[1:] / 4000
  np.testing.assert_allclose(share, np.array([12, 6, 4, 3]) / 25, atol=0.025)
  starts = np.bincount(early[of_five & (gaps == 1)], minlength=4)
  np.testing.assert_allclose(starts / starts.sum(), 0.25, atol=0.03)


def test_cycles_visit_different_videos_equally():
  cycles = np.asarray(sampling.sample_cycles(jax.random.key(6), 5, 20_000, 3))
  assert cycles.shape == (20_000, 3) and cycles.dtype == np.int32
  orders, counts = np.unique(cycles, axis=0, return_counts=True)
  assert len(orders) == 5 * 4 * 3
  assert all(len(set(order)) == 3 for order in orders.tolist())
  np.testing.assert_allclose(counts / 20_000, 1 / 60, atol=4.5 * np.sqrt(1 / 60 / 20_000))


def test_cycles_of_all_videos():
  cycles = np.asarray(sampling.sample_cycles(jax.random.key(7), 4, 20, 4))
  np.testing.assert_array_equal(np.sort(cycles, axis=1), np.tile(np.arange(4), (20, 1)))


def test_too_few_videos_for_cycles():
  sentence = (
    "expected at least 6 videos for TCC cycles of T=6, got 4; "
    "lower config.finetune.tcc.videos_per_cycle or add videos."
  )
  with pytest.raises(UserError) as error:
    jax.jit(lambda key: sampling.sample_cycles(key, 4, 20, 6))(jax.random.key(0))
  assert str(error.value) == sentence


def test_starts_are_uniform():
  starts = np.asarray(sampling.sample_starts(jax.random.key(8), 30_000, 6))
  assert starts.dtype == np.int32
  np.testing.assert_allclose(np.bincount(starts) / 30_000, np.full(6, 1 / 6), atol=0.01)


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 3.0], np.array([2, 1, 1])])
def test_videos_follow_their_weights(weights):
  videos = np.asarray(sampling.sample_videos(jax.random.key(9), 3, 30_000, weights))
  assert videos.shape == (30_000,) and videos.dtype == np.int32
  expected = np.ones(3) if weights is None else np.asarray(weights)
  share = np.bincount(videos, minlength=3) / 30_000
  np.testing.assert_allclose(share, expected / expected.sum(), atol=0.012)
  np.testing.assert_array_equal(share == 0, expected == 0)


@pytest.mark.parametrize("sampler", [EXPONENTIAL, BETA])
def test_positions_with_jit_and_without(sampler):
  key = jax.random.key(10)
  compiled = compiled_positions(key, sampler, (40,))
  positions = sampling.sample_positions(key, sampler, (40,))
  np.testing.assert_allclose(compiled, positions, rtol=1e-5, atol=1e-6)


def test_jit_equals_eager():
  key, lengths = jax.random.key(11), jnp.array([2, 5, 9, 30])
  for function, arguments in [
    (sampling.clip_indices, (key, EXPONENTIAL, lengths)),
    (lambda *a: sampling.frame_subset(*a, 6, 30), (key, EXPONENTIAL, lengths)),
    (lambda k, w: sampling.sample_videos(k, 4, 50, w), (key, jnp.array([1.0, 2.0, 0.0, 1.0]))),
    (lambda *a: sampling.progress_pairs(*a, 30), (key, lengths)),
    (lambda k: sampling.sample_cycles(k, 7, 20, 4), (key,)),
    (lambda k: sampling.sample_starts(k, 20, 9), (key,)),
  ]:
    np.testing.assert_array_equal(jax.jit(function)(*arguments), function(*arguments))


def test_samplers_are_static():
  assert hash(sampling.Sampler("beta", a=2.0, b=3.0)) == hash(BETA)
  assert jax.tree.leaves(BETA) == []


@pytest.mark.parametrize(
  ("call", "sentence"),
  [
    (
      lambda key: sampling.Sampler("normal"),
      "uniform, exponential, beta, prioritised, got 'normal'",
    ),
    (lambda key: sampling.Sampler("exponential", rate=0.0), "rate above 0 and finite, got 0.0"),
    (lambda key: sampling.Sampler("beta", a=-1.0), r"\.a above 0 and finite, got -1.0"),
    (lambda key: sampling.Sampler("beta", b=float("nan")), r"\.b above 0 and finite, got nan"),
    (lambda key: sampling.clip_indices(key, UNIFORM, np.array([3, 1])), "of 2 to any.*got 1 to 3"),
    (lambda key: sampling.clip_indices(key, UNIFORM, np.array([3.0])), r"got float32 \[1\]"),
    (lambda key: sampling.clip_indices(key, UNIFORM, 5), r"integers \[B\], got int32 \[\]"),
    (lambda key: sampling.frame_subset(key, BETA, np.array([9]), 4, 8), "1 to 8 .*got 9 to 9"),
    (lambda key: sampling.frame_subset(key, BETA, np.array([9]), 0, 9), "num_frames .* got 0"),
    (lambda key: sampling.progress_pairs(key, np.array([1]), 9), "of 2 to 9 frames, got 1"),
    (lambda key: sampling.sample_cycles(key, 4, 20, 1), "at least 2 videos, got T=1"),
    (lambda key: sampling.sample_cycles(key, 4, 0, 2), "num_cycles .* got 0"),
    (lambda key: sampling.sample_starts(key, 4, 0), "num_frames .* got 0"),
    (lambda key: sampling.sample_videos(key, 0, 4), "num_videos .* got 0"),
    (lambda key: sampling.sample_videos(key, 3, 4, np.ones(2)), r"\[3\], got shape \[2\]"),
    (lambda key: sampling.sample_videos(key, 2, 4, np.zeros(2)), "sum > 0, got"),
    (lambda key: sampling.sample_videos(key, 2, 4, np.array([1.0, -1.0])), "weights >= 0"),
  ],
)
def test_bad_input_is_named(call, sentence):
  with pytest.raises(UserError, match=sentence):
    call(jax.random.key(0))
