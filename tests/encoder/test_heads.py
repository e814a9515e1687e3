"""Heads: what the distance from one embedding to another means."""

import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, assert_one_sentence
from vipjax import encoder
from vipjax.encoder import HEAD, L2, Head, Preprocessing, goal_distances, init_value
from vipjax.encoder.heads import value_to_steps
from vipjax.runtime.errors import UserError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "mrn.npz")
MRN, ICVF = Head("mrn"), Head("icvf", 0.9, (8, 4))
HEADS = {head.name: head for head in (L2, MRN, ICVF)}


@pytest.fixture(scope="module")
def value():
  return init_value(jax.random.key(0), SMALL, Preprocessing(32, 32))


def with_head(value, name):
  return value.with_head(HEADS[name], jax.random.key(1))


def test_mrn_matches_the_reference_in_both_directions():
  x, y = (jnp.asarray(GOLDEN[name], jnp.float32) for name in "xy")
  # The reference has a floor of 1e-6, where x is y; ours is a distance of 0.
  close = {"rtol": 1e-5, "atol": 2e-6}
  np.testing.assert_allclose(MRN.distance(None, x, y), GOLDEN["distance"], **close)
  np.testing.assert_allclose(MRN.distance(None, y, x), GOLDEN["distance_back"], **close)
  assert MRN.distance(None, x, y)[0] == 0
  grads = jax.grad(lambda *pair: jnp.sum(MRN.distance(None, *pair)), argnums=(0, 1))(x, y)
  for grad, name in zip(grads, ("grad_x", "grad_y"), strict=True):
    np.testing.assert_allclose(grad, GOLDEN[name], **close)


def test_mrn_is_vips_where_the_second_half_says_nothing():
  x, y = jax.random.normal(jax.random.key(0), (2, 5, 6)).at[:, :, 3:].set(1.5)
  np.testing.assert_array_equal(MRN.distance(None, x, y), L2.distance(None, x, y))


def test_values_become_steps():
  steps = np.array([0, 1, 10, 50, 110])
  values = -(1 - 0.98**steps) / 0.02
  np.testing.assert_allclose(value_to_steps(values, 0.98), steps, rtol=1e-5, atol=1e-5)
  # Above 0 it is there; far away the order stays, without infinity or a jump.
  np.testing.assert_array_equal(value_to_steps(jnp.array([0.5, 3.0]), 0.98), 0.0)
  far = value_to_steps(jnp.array([-44.9, -45.0, -45.1, -50.0, -60.0]), 0.98)
  assert (np.diff(far) > 0).all() and far[-1] < 300
  slopes = jax.vmap(jax.grad(value_to_steps), (0, None))(jnp.array([-44.99, -45.01]), 0.98)
  np.testing.assert_allclose(slopes, -0.02 / (0.1 * -np.log(0.98)), rtol=1e-2)


def test_icvf_is_the_mean_of_its_heads_in_steps():
  variables = ICVF.init(jax.random.key(0), 6)
  frame, goal = jax.random.normal(jax.random.key(1), (2, 7, 6)) * 3
  values = jax.jit(ICVF.values)(variables, frame, goal, goal)
  assert values.shape == (2, 7) and np.abs(values[0] - values[1]).max() > 1e-3
  wanted = np.log(np.clip(1 + 0.1 * np.mean(values, axis=0), 0.1, 1)) / np.log(0.9)
  distance = jax.jit(ICVF.distance)
  found = distance(variables, frame, goal)
  inside = (wanted > 0) & (wanted < np.log(0.1) / np.log(0.9) - 1e-3)
  np.testing.assert_allclose(found[inside], wanted[inside], rtol=1e-4)
  assert inside.any()
  assert np.abs(found - distance(variables, goal, frame)).max() > 1e-2


@pytest.mark.parametrize("name", HEADS)
def test_distances_to_goals_alike_in_numpy_and_jax(value, name):
  made = with_head(value, name)
  embeddings = np.random.default_rng(0).normal(size=(70, 16)).astype(np.float32) * 3
  goals = embeddings[[3, 68]]
  found = made.distances(embeddings, goals)
  assert found.shape == (70,) and found.dtype == np.float32 and found.max() > 0
  distance, variables = jax.jit(made.head.distance), made.variables.get(HEAD)
  single = [np.asarray(distance(variables, embeddings, np.tile(g, (70, 1)))) for g in goals]
  np.testing.assert_allclose(found, np.minimum(*single), rtol=1e-4, atol=1e-4)
  in_jax = jax.jit(goal_distances, static_argnums=2)(embeddings, goals, made.head, variables)
  np.testing.assert_allclose(in_jax, found, rtol=1e-4, atol=1e-4)
  assert made.head.is_symmetric == np.allclose(
    made.distances(embeddings[:1], goals[:1]), made.distances(goals[:1], embeddings[:1])
  )


@pytest.mark.parametrize("name", ["mrn", "icvf"])
def test_an_artefact_keeps_the_head(value, name, tmp_path):
  made = with_head(value, name)
  again = encoder.load(encoder.save(tmp_path / "encoder", made))
  assert again.head == made.head
  chex.assert_trees_all_equal(again.variables, made.variables)
  frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
  np.testing.assert_array_equal(again.embed(frames), value.embed(frames))
  forth = again.distance(frames, frames[2])
  np.testing.assert_array_equal(forth, made.distance(frames, frames[2]))
  with pytest.raises(UserError, match=f"head 'l2' for the official layout, got '{name}'"):
    encoder.export_official(again, tmp_path / "a.pt")


def test_an_artefact_of_the_published_head_says_nothing_of_it(value, tmp_path):
  folder = encoder.save(tmp_path / "encoder", value)
  assert '"head"' not in (folder / "config.json").read_text()
  assert encoder.load(folder).head == encoder.load("mini").head == L2


@pytest.mark.parametrize(
  ("old", "new", "words"),
  [
    ('"name": "icvf"', '"name": "iqe"', "among l2, icvf, mrn, got 'iqe'"),
    ('"discount": 0.9', '"discount": 1.5', "discount between 0 and 1, .* got 1.5"),
    ('"name": "icvf"', '"name": "mrn"', "for the head 'icvf' and for no other"),
    ('"discount"', '"gamma"', "head in .* exactly discount, hidden, layer_norm, name"),
    ('"discount": 0.9', '"discount": "high"', "discount between 0 and 1"),
  ],
)
def test_a_head_that_is_none_is_refused(value, tmp_path, old, new, words):
  folder = encoder.save(tmp_path / "encoder", with_head(value, "icvf"))
  text = (folder / "config.json").read_text()
  assert old in text
  (folder / "config.json").write_text(text.replace(old, new))
  with pytest.raises(UserError, match=words) as error:
    encoder.load(folder)
  assert_one_sentence(error)


def test_a_head_keeps_its_variables_under_another_discount(value):
  made = with_head(value, "icvf")
  other = made.with_head(Head("icvf", 0.95, (8, 4)), jax.random.key(2))
  chex.assert_trees_all_equal(other.variables, made.variables)
  assert other.head.discount == 0.95
  assert HEAD not in made.with_head(L2, jax.random.key(2)).variables
  wider = made.with_head(Head("icvf", 0.9, (9,)), jax.random.key(2))
  assert wider.variables[HEAD]["left"]["kernel"].shape == (2, 9, 9)
  normed = made.with_head(Head("icvf", 0.9, (8, 4), layer_norm=True), jax.random.key(2))
  assert (
    "LayerNorm_0" in normed.variables[HEAD]["phi"]
    and "LayerNorm_0" not in made.variables[HEAD]["phi"]
  )


def test_layer_norm_is_in_the_artefact_and_absent_from_those_of_before(value, tmp_path):
  normed = value.with_head(Head("icvf", 0.9, (8, 4), layer_norm=True), jax.random.key(1))
  again = encoder.load(encoder.save(tmp_path / "normed", normed))
  chex.assert_trees_all_equal(again.variables, normed.variables)
  assert again.head == normed.head
  folder = encoder.save(tmp_path / "before", with_head(value, "icvf"))
  config = json.loads((folder / "config.json").read_text())
  del config["head"]["layer_norm"]
  (folder / "config.json").write_text(json.dumps(config))
  assert encoder.load(folder).head == ICVF


def test_mrn_halves_the_embedding():
  with pytest.raises(UserError, match="an even embedding_dim for the head 'mrn'.* got 7") as error:
    MRN.init(jax.random.key(0), 7)
  assert_one_sentence(error)
