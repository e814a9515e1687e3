"""Embedding, distance and value."""

import copy
import pickle

import chex
import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, assert_one_sentence
from vipjax.encoder import Preprocessing, init_value
from vipjax.encoder import value as value_lib
from vipjax.encoder.progress import init_head
from vipjax.runtime.errors import UserError

FRAMES = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def value():
  return init_value(jax.random.key(0), SMALL, Preprocessing(32, 32), {"name": "test"})


def test_embedding_does_not_depend_on_the_chunks(value):
  whole = value.embed(FRAMES)
  assert whole.shape == (11, 16)
  assert whole.dtype == np.float32
  np.testing.assert_allclose(value.embed(FRAMES[7:10]), whole[7:10], rtol=1e-5, atol=1e-6)
  assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_the_pure_function_embeds_alike_inside_jit_and_with_any_leading_axes(value):
  got = jax.jit(value.embed_fn)(value.variables, FRAMES[:6].reshape(2, 3, 32, 32, 3))
  assert got.shape == (2, 3, 16)
  np.testing.assert_allclose(got.reshape(6, 16), value.embed(FRAMES[:6]), rtol=1e-4, atol=1e-5)


def test_distance_by_hand(value):
  embeddings = value.embed(FRAMES)
  wanted = np.sqrt(((embeddings - embeddings[4]) ** 2).sum(-1))
  got = value.distance(FRAMES, FRAMES[4])
  assert got.shape == (11,) and got.dtype == np.float32
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(value.value(FRAMES, FRAMES[4]), -got)

  goals = FRAMES[[4, 9]]
  mean = np.linalg.norm(embeddings - embeddings[[4, 9]].mean(0), axis=-1)
  np.testing.assert_allclose(value.distance(FRAMES, goals), mean, rtol=1e-4, atol=1e-5)
  nearest = np.minimum(wanted, np.linalg.norm(embeddings - embeddings[9], axis=-1))
  got = value.distance(FRAMES, goals, goal_reduction="nearest")
  np.testing.assert_allclose(got, nearest, rtol=1e-4, atol=1e-5)


def test_new_variables_give_new_embeddings(value):
  other = value.replace(variables=jax.tree.map(lambda leaf: leaf * 1.5, value.variables))
  assert other.metadata == {"name": "test"}
  assert np.abs(other.embed(FRAMES) - value.embed(FRAMES)).max() > 1e-3


def test_a_new_encoder_needs_its_key_alone(value):
  again = init_value(jax.random.key(0), SMALL)
  chex.assert_trees_all_equal(again.variables, value.variables)
  assert again.preprocessing == Preprocessing(256, 224)


@pytest.mark.parametrize(
  ("frames", "goal", "words"),
  [
    (FRAMES[0], FRAMES[0], r"\[T, H, W, 3\]"),
    (FRAMES / 255, FRAMES[0], "uint8"),
    (FRAMES[:0], FRAMES[0], "at least one"),
    (FRAMES[..., :1], FRAMES[0], "three colours"),
    (FRAMES, FRAMES[0, :16], "32x32 as the frames .*got 16x32.*fit_square"),
    (FRAMES, FRAMES[0] / 255, "uint8"),
    (FRAMES, FRAMES[None], r"the goal to be uint8 \[G, H, W, 3\]"),
    (FRAMES, FRAMES[:0], "goal .* at least one"),
  ],
)
def test_wrong_frames_are_refused(value, frames, goal, words):
  with pytest.raises(UserError, match=words) as error:
    value.distance(frames, goal)
  assert_one_sentence(error)


def test_wrong_word_for_goals_is_refused(value):
  with pytest.raises(UserError, match="among mean, nearest, got 'median'"):
    value.distance(FRAMES, FRAMES[0], goal_reduction="median")


def test_progress_by_hand(value):
  rng = np.random.default_rng(1)
  head = {"kernel": rng.normal(size=(32, 5)), "bias": rng.normal(size=5)}
  head = {name: leaf.astype(np.float32) for name, leaf in head.items()}
  other = value.replace(variables={**value.variables, "progress": head})

  def expected(first, second):
    logits = np.concatenate([first, second], axis=-1) @ head["kernel"] + head["bias"]
    weights = np.exp(logits)
    return weights @ np.array([-1, -0.5, 0, 0.5, 1]) / weights.sum(axis=-1)

  first, second = (value.embed(frames) for frames in (FRAMES[:4], FRAMES[4:8]))
  wanted = (expected(first, second) - expected(second, first)) / 2
  got = other.progress(FRAMES[:4], FRAMES[4:8])
  assert got.shape == (4,) and got.dtype == np.float32 and np.abs(wanted).max() > 0.01
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(other.progress(FRAMES[4:8], FRAMES[:4]), -got, atol=1e-6)
  # Frames of one place in a chunk have the same embedding to the bit, and so no progress at all.
  same = np.repeat(FRAMES[:1], 8, axis=0)
  np.testing.assert_array_equal(other.progress(same, same), 0.0)
  # The head is nothing to the embedding.
  np.testing.assert_array_equal(other.embed(FRAMES), value.embed(FRAMES))


def test_progress_is_refused_without_a_head_or_a_next_frame_for_each(value):
  with pytest.raises(UserError, match="progress head, got one without.*progress.weight") as error:
    value.progress(FRAMES, FRAMES)
  assert_one_sentence(error)
  other = value.replace(variables={**value.variables, "progress": init_head(16)})
  with pytest.raises(UserError, match=r"next frames of shape \[11, 32, 32, 3\]") as error:
    other.progress(FRAMES, FRAMES[:4])
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("count", "frame_bytes", "chunk", "wanted"),
  [
    (1, 3 * 128**2, None, [(0, 32)]),
    (127, 3 * 128**2, None, [(0, 32), (32, 32), (64, 32), (96, 32)]),
    (128, 3 * 128**2, None, [(0, 256)]),
    (300, 3 * 480**2, None, [(0, 256), (256, 32), (288, 32)]),
    # Frames of a film of 1080 lines: 43 take as much as may be on the way at once.
    (70, 3 * 1080 * 1920, None, [(0, 32), (32, 32), (64, 32)]),
    (3, 2**29, None, [(0, 1), (1, 1), (2, 1)]),
    (5, 3 * 128**2, 2, [(0, 2), (2, 2), (4, 2)]),
  ],
)
def test_chunks_of_an_accelerator_by_hand(count, frame_bytes, chunk, wanted):
  assert value_lib.chunks(count, frame_bytes, chunk) == wanted


def test_an_accelerator_gets_its_frames_ahead_of_their_embedding_and_few_of_them():
  sent, ahead = [], []
  frames = np.arange(22, dtype=np.uint8).reshape(22, 1, 1, 1)
  parts = value_lib.chunks(22, 1, 2)
  with pytest.MonkeyPatch.context() as patch:
    filled = value_lib._filled
    patch.setattr(value_lib, "_filled", lambda *of: (sent.append(of[1]), filled(*of))[1])

    def embed(part):
      ahead.append(len(sent) - len(ahead))
      assert isinstance(part, jax.Array) and part.shape == (2, 1, 1, 1)
      return part[:, 0, 0, 0] * 2.0

    found = value_lib._stream(embed, frames, parts)
  np.testing.assert_array_equal(found, 2.0 * np.arange(22))
  assert sorted(sent) == list(range(0, 22, 2))
  assert 1 <= min(ahead) and max(ahead) <= value_lib._AHEAD


def test_an_accelerators_way_gives_the_embeddings_of_a_cpus(value, monkeypatch):
  wanted = value.embed(FRAMES)
  monkeypatch.setattr(value_lib, "on_cpu", lambda: False)
  other = value.replace(dtype=jax.numpy.float32)
  np.testing.assert_allclose(other.embed(FRAMES, chunk=4), wanted, rtol=1e-5, atol=1e-6)


def test_variables_are_placed_once_and_not_pickled(value):
  other = value.replace(metadata={})
  assert "_placed" not in vars(other)
  other.embed(FRAMES[:1])
  placed = vars(other)["_placed"]
  other.embed(FRAMES[:1])
  assert vars(other)["_placed"] is placed
  for again in (pickle.loads(pickle.dumps(other)), copy.copy(other)):
    assert "_placed" not in vars(again)
    np.testing.assert_array_equal(again.embed(FRAMES[:1]), other.embed(FRAMES[:1]))
