"""TCC against XIRL's numbers, against a loop written out, by hand, and at extremes."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import cycle_index_error, tcc_loss
from vipjax.losses.tcc import TCC_LOSSES
from vipjax.runtime.errors import UserError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "tcc.npz")
CASES = [
  name for name in GOLDEN.files if name.startswith(("allpairs/", "cycles/")) and "/T" in name
]
CASES = [name for name in CASES if not name.endswith("/grad")]


def golden_loss(embeddings, cycles, starts, loss, similarity, temperature, normalize=True):
  return tcc_loss(
    embeddings,
    GOLDEN["frame_indices"],
    GOLDEN["video_lengths"],
    cycles,
    starts,
    loss,
    similarity,
    temperature,
    normalize,
  )


compiled_golden_loss = jax.jit(
  jax.value_and_grad(golden_loss, has_aux=True), static_argnames=("loss", "similarity")
)


def test_goldens_are_all_there():
  # 4 losses x 2 similarities x 2 temperatures x 2 units, but for the two where XIRL gives NaN.
  assert len([name for name in CASES if name.startswith("allpairs/")]) == 30
  assert len([name for name in CASES if name.startswith("cycles/")]) == 8


@pytest.mark.parametrize("name", CASES)
def test_matches_xirl(name):
  kind, loss, similarity, temperature, positions = name.split("/")
  cycles = (GOLDEN["cycles"], GOLDEN["cycle_start"]) if kind == "cycles" else (None, None)
  settings = dict(loss=loss, similarity=similarity, temperature=float(temperature[1:]))
  if positions == "raw":  # Without jit: these have no gradients to compare.
    value, metrics = golden_loss(GOLDEN["embeddings"], *cycles, **settings, normalize=False)
  else:
    (value, metrics), gradient = compiled_golden_loss(GOLDEN["embeddings"], *cycles, **settings)
  np.testing.assert_allclose(value, GOLDEN[name], rtol=2e-4)
  np.testing.assert_array_equal(metrics["tcc_loss"], value)
  if f"{name}/grad" in GOLDEN.files:
    expected = GOLDEN[f"{name}/grad"]
    np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("cycles", [False, True])
def test_eager_equals_jit(cycles):
  arguments = (GOLDEN["cycles"], GOLDEN["cycle_start"]) if cycles else (None, None)
  settings = dict(loss="regression_mse", similarity="l2", temperature=0.1)
  (value, metrics), _ = compiled_golden_loss(GOLDEN["embeddings"], *arguments, **settings)
  eager_value, eager_metrics = golden_loss(GOLDEN["embeddings"], *arguments, **settings)
  np.testing.assert_allclose(value, eager_value, rtol=1e-5)
  for name in metrics:
    np.testing.assert_allclose(metrics[name], eager_metrics[name], rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_hard_cycles_match_golden(jit):
  function = jax.jit(cycle_index_error) if jit else cycle_index_error
  errors = function(GOLDEN["embeddings"], GOLDEN["cycles"], GOLDEN["cycle_start"])
  np.testing.assert_array_equal(errors, GOLDEN["cycles/hard_index_error"])
  assert errors.dtype == jnp.int32


def test_all_pairs_are_the_cycles_of_two_videos():
  videos, frames = GOLDEN["embeddings"].shape[:2]
  pairs = [(i, j) for i in range(videos) for j in range(videos) if i != j]
  cycles = np.repeat(np.array(pairs), frames, axis=0)
  starts = np.tile(np.arange(frames), len(pairs))
  for similarity in ("l2", "cosine"):
    settings = dict(loss="regression_mse", similarity=similarity, temperature=1.0)
    implied, _ = compiled_golden_loss(GOLDEN["embeddings"], None, None, **settings)
    listed, _ = compiled_golden_loss(GOLDEN["embeddings"], cycles, starts, **settings)
    np.testing.assert_allclose(implied[0], listed[0], rtol=1e-5)
    for name in implied[1]:
      np.testing.assert_allclose(implied[1][name], listed[1][name], rtol=1e-5)


def test_wide_embeddings_go_by_way_of_the_gram_matrix():
  # With this width its product is the cheaper one; zeros change no distance, the temperature
  # makes up for the division by D.
  wide = np.pad(GOLDEN["embeddings"], ((0, 0), (0, 0), (0, 3 * 32)))
  cycles = (GOLDEN["cycles"], GOLDEN["cycle_start"])
  np.testing.assert_array_equal(cycle_index_error(wide, *cycles), GOLDEN["cycles/hard_index_error"])
  settings = dict(loss="classification", similarity="l2", temperature=0.1 / 4)
  (value, _), gradient = compiled_golden_loss(wide, *cycles, **settings)
  name = "cycles/classification/l2/T0.1/norm"
  np.testing.assert_allclose(value, GOLDEN[name], rtol=2e-4)
  expected = GOLDEN[f"{name}/grad"]
  scale = 1e-5 * np.abs(expected).max()
  np.testing.assert_allclose(gradient[..., :32], expected, rtol=2e-3, atol=scale)


def walk(embeddings, cycle, start):
  """The hard cycle, frame by frame."""
  frame = start
  for here, there in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
    frame = np.argmin(np.sum((embeddings[there] - embeddings[here, frame]) ** 2, axis=-1))
  return abs(frame - start)


def test_hard_cycles_walked_out():
  rng = np.random.default_rng(0)
  # Far from the origin, where |q|^2 - 2 q v + |v|^2 in float32 would lose all digits.
  embeddings = rng.normal(size=(5, 7, 6)).astype(np.float32) + 1000
  cycles = np.stack([rng.permutation(5)[:3] for _ in range(30)])
  starts = rng.integers(7, size=30)
  expected = [walk(embeddings, list(c), s) for c, s in zip(cycles, starts, strict=True)]
  assert max(expected) > 0
  np.testing.assert_array_equal(cycle_index_error(embeddings, cycles, starts), expected)


def test_by_hand():
  # One-dimensional frames; so cold that the soft neighbour is the hard one.
  embeddings = jnp.array([[0.0, 1.0, 2.0], [0.1, 1.9, 8.0], [2.1, 6.0, 9.0]])[..., None]
  frame_indices = jnp.array([[0, 2, 6], [0, 1, 2], [0, 1, 2]])
  lengths = jnp.array([8, 3, 3])
  # Video 0 frame 0 (0.0) -> video 1 frame 0 (0.1) -> video 2 frame 0 (2.1) -> video 0 frame 2.
  # Video 0 frame 2 (2.0) -> video 1 frame 1 (1.9) -> video 2 frame 0 (2.1) -> video 0 frame 2.
  cycles, starts = jnp.array([[0, 1, 2], [0, 1, 2]]), jnp.array([0, 2])
  np.testing.assert_array_equal(cycle_index_error(embeddings, cycles, starts), [2, 0])
  arguments = (embeddings, frame_indices, lengths, cycles, starts)
  value, metrics = tcc_loss(*arguments, temperature=1e-3)
  np.testing.assert_allclose(value, (6 / 8) ** 2 / 2, rtol=1e-5)
  np.testing.assert_allclose(metrics["tcc_index_error"], 1.0)
  np.testing.assert_allclose(metrics["tcc_accuracy"], 0.5)
  np.testing.assert_allclose(metrics["tcc_position_error"], 6 / 8 / 2, rtol=1e-5)
  value, _ = tcc_loss(*arguments, temperature=1e-3, normalize_indices=False)
  np.testing.assert_allclose(value, 6**2 / 2, rtol=1e-5)
  value, _ = tcc_loss(*arguments, "regression_huber", temperature=1e-3, huber_delta=0.5)
  np.testing.assert_allclose(value, 0.5 * (0.75 - 0.25) / 2, rtol=1e-5)


def test_cosine_by_hand():
  # Inner products with video 1: frame 0 gives 2 and 0, frame 1 gives 0 and 1.
  embeddings = jnp.array([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
  weights = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()  # the soft frame itself, too
  back = np.exp([2 * weights[0], weights[1]])
  value, _ = tcc_loss(
    embeddings,
    jnp.array([[0, 1], [0, 1]]),
    jnp.array([2, 2]),
    jnp.array([[0, 1]]),
    jnp.array([0]),
    similarity="cosine",
    temperature=1.0,
  )
  np.testing.assert_allclose(value, (0.5 * back[1] / back.sum()) ** 2, rtol=1e-5)


def test_span_and_perplexity_by_hand():
  # One-dimensional frames: 0 and 1 in one video, 0 and 2 in the other.
  embeddings = jnp.array([[0.0, 1.0], [0.0, 2.0]])[..., None]
  arguments = (embeddings, jnp.array([[0, 1], [0, 1]]), jnp.array([2, 2]))
  # Pairs: 1, 0, 4, 1, 1, 4.
  span = (1 + 0 + 4 + 1 + 1 + 4) / 6

  def perplexity(*distances):
    weights = np.exp(-np.array(distances)) / np.exp(-np.array(distances)).sum()
    return np.exp(-(weights * np.log(weights)).sum())

  # From 0 to (0, 2), from 1 to (0, 2); from 0 to (0, 1), from 2 to (0, 1).
  each = [perplexity(0, 4), perplexity(1, 1), perplexity(0, 1), perplexity(4, 1)]
  _, metrics = tcc_loss(*arguments, temperature=1.0)
  np.testing.assert_allclose(metrics["tcc_mean_squared_distance"], span, rtol=1e-6)
  np.testing.assert_allclose(metrics["tcc_perplexity"], np.mean(each), rtol=1e-5)
  cycles = jnp.array([[0, 1], [1, 0], [1, 0]]), jnp.array([1, 0, 0])
  _, metrics = tcc_loss(*arguments, *cycles, temperature=1.0)
  np.testing.assert_allclose(metrics["tcc_perplexity"], (each[1] + 2 * each[2]) / 3, rtol=1e-5)
  np.testing.assert_allclose(metrics["tcc_mean_squared_distance"], span, rtol=1e-6)


@pytest.mark.parametrize("kind", ["allpairs", "cycles"])
def test_a_temperature_in_units_of_the_span(kind):
  cycles = (GOLDEN["cycles"], GOLDEN["cycle_start"]) if kind == "cycles" else (None, None)

  def loss(embeddings, temperature, unit="mean_squared_distance"):
    given = (embeddings, GOLDEN["frame_indices"], GOLDEN["video_lengths"], *cycles)
    return tcc_loss(*given, temperature=temperature, temperature_unit=unit)

  function = jax.value_and_grad(loss, has_aux=True)
  (value, metrics), gradient = function(GOLDEN["embeddings"], 0.5)
  # The unit is a number to the gradient: that of the same temperature, given.
  same = 0.5 * metrics["tcc_mean_squared_distance"] / GOLDEN["embeddings"].shape[-1]
  (absolute, _), absolute_gradient = jax.value_and_grad(
    lambda embeddings: loss(embeddings, same, "absolute"), has_aux=True
  )(GOLDEN["embeddings"])
  np.testing.assert_allclose(value, absolute, rtol=1e-5)
  np.testing.assert_allclose(gradient, absolute_gradient, atol=1e-5 * np.abs(gradient).max())
  # Embeddings that span 20 times as much are as sharp.
  (wide, of_wide), wide_gradient = function(20 * GOLDEN["embeddings"], 0.5)
  np.testing.assert_allclose(wide, value, rtol=1e-4)
  np.testing.assert_allclose(of_wide["tcc_perplexity"], metrics["tcc_perplexity"], rtol=1e-4)
  np.testing.assert_allclose(
    20 * wide_gradient, gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max()
  )
  (value, _), gradient = function(np.zeros_like(GOLDEN["embeddings"]), 0.5)  # all frames alike
  assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("loss", TCC_LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 300.0])
def test_always_finite(loss, similarity, scale):
  arguments = dict(loss=loss, similarity=similarity, temperature=0.1)
  embeddings = np.float32(scale) * GOLDEN["embeddings"]
  (value, _), gradient = compiled_golden_loss(embeddings, None, None, **arguments)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_moving_all_frames_changes_nothing():
  moved = GOLDEN["embeddings"] + 50.0
  cycles = (GOLDEN["cycles"], GOLDEN["cycle_start"])
  settings = dict(loss="regression_mse", similarity="l2", temperature=0.1)
  (value, _), gradient = compiled_golden_loss(GOLDEN["embeddings"], *cycles, **settings)
  (moved_value, _), moved_gradient = compiled_golden_loss(moved, *cycles, **settings)
  np.testing.assert_allclose(moved_value, value, rtol=1e-3)
  np.testing.assert_allclose(moved_gradient, gradient, atol=1e-3 * np.abs(gradient).max())


def test_no_array_of_gathered_videos():
  cycles = jnp.tile(jnp.arange(4), (200, 1))
  starts = jnp.zeros(200, jnp.int32)

  def function(embeddings):
    lengths = jnp.full(4, 20)
    indices = jnp.tile(jnp.arange(20), (4, 1))
    return tcc_loss(embeddings, indices, lengths, cycles, starts)[0]

  compiled = jax.jit(jax.grad(function)).lower(jnp.zeros((4, 20, 512))).compile()
  memory = compiled.memory_analysis()
  gathered = 200 * 20 * 512 * 4
  assert memory.temp_size_in_bytes < gathered / 4


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"loss": "mse"}, "among regression_mse, .*classification, got 'mse'"),
    ({"similarity": "l1"}, "among l2, cosine, got 'l1'"),
    ({"temperature_unit": "metres"}, "among absolute, mean_squared_distance, got 'metres'"),
    (
      {"temperature_unit": "mean_squared_distance", "similarity": "cosine"},
      "'absolute' with the similarity 'cosine', got 'mean_squared_distance'",
    ),
    ({"temperature": 0.0}, "temperature > 0, got 0.0"),
    ({"embeddings": jnp.zeros((3, 4))}, r"\[B, N, D\].*got \[3, 4\]"),
    ({"embeddings": jnp.zeros((1, 4, 2))}, "at least 2 videos.*got 1 of 4"),
    ({"embeddings": jnp.zeros((3, 1, 2))}, "at least 2 frames, got 3 of 1"),
    ({"frame_indices": jnp.zeros((3, 5))}, r"frame_indices.*\[3, 4\].*got \[3, 5\]"),
    ({"video_lengths": jnp.ones(2)}, r"video_lengths.*\[3\].*got \[2\]"),
    ({"cycles": None}, "got only starts"),
    ({"starts": None}, "got only cycles"),
    ({"cycles": jnp.array([[0, 3]])}, "cycles.*from 0 to 2, got 0 to 3"),
    ({"cycles": jnp.array([[0.0, 1.0]])}, "cycles of integers, got float32"),
    ({"cycles": jnp.array([[0]])}, "T >= 2 videos, got T=1"),
    ({"starts": jnp.array([4])}, "starts.*from 0 to 3, got 4 to 4"),
    ({"starts": jnp.array([0, 1])}, r"starts.*\[1\].*got \[2\]"),
  ],
)
def test_bad_input_is_named(changes, sentence):
  good = {
    "embeddings": jnp.zeros((3, 4, 2)),
    "frame_indices": jnp.zeros((3, 4), jnp.int32),
    "video_lengths": jnp.array([4, 4, 4]),
    "cycles": jnp.array([[0, 1]]),
    "starts": jnp.array([0]),
  }
  with pytest.raises(UserError, match=sentence):
    tcc_loss(**{**good, **changes})


def test_hard_cycles_need_cycles():
  with pytest.raises(UserError, match="got None"):
    cycle_index_error(jnp.zeros((2, 3, 4)), None, None)
