"""The prioritised sampler: by hand, and within the step."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import paper
from vipjax import losses, sampling
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step, priorities
from vipjax.finetune.batch import make_draw
from vipjax.runtime import parallel
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.stages.inputs import make_settings
from vipjax.types import VideoSet

SAMPLER = sampling.Sampler("prioritised", bins=2, alpha=0.5, beta=0.5, floor=0.2, momentum=0.75)
SETTINGS = Settings(batch_size=4, sampler=SAMPLER, then_resize=0, tcc=TccSettings(weight=0.0))


@pytest.mark.parametrize("jit", [False, True])
def test_probabilities_by_hand(jit):
  compute = jax.jit(priorities.probabilities) if jit else priorities.probabilities
  # Roots 1, 2, 3; what is not known counts as the greatest: 3.
  found = compute(jnp.array([[1.0, 4.0], [9.0, -1.0]]), SAMPLER)
  wanted = 0.8 * np.array([[1, 2], [3, 3]]) / 9 + 0.2 / 4
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  # Nothing known, and nothing wrong anywhere: all the same.
  for errors in (priorities.init_errors(2, 2), jnp.zeros((2, 2))):
    np.testing.assert_allclose(compute(errors, SAMPLER), np.full((2, 2), 0.25), rtol=1e-6)


def test_updates_by_hand():
  errors = jnp.array([[-1.0, 4.0], [9.0, -1.0]])
  found = jax.jit(priorities.update, static_argnums=3)(
    errors, jnp.array([0, 0, 1, 1], jnp.int32), jnp.array([1.0, 5.0, 8.0, 0.0]), 0.75
  )
  # Not known before: the mean of both; known: three quarters of 4 and a quarter of the mean 4.
  np.testing.assert_allclose(found, [[3.0, 4.0], [9.0, -1.0]])
  again = priorities.update(found, jnp.array([2], jnp.int32), jnp.array([1.0]), 0.75)
  np.testing.assert_allclose(again, [[3.0, 4.0], [7.0, -1.0]])


def test_updates_do_not_depend_on_the_order_of_a_scatter():
  rng = np.random.default_rng(0)
  errors = rng.uniform(0, 2, (3, 4)).astype(np.float32)
  cells, found = rng.integers(0, 9, 40).astype(np.int32), rng.uniform(0, 5, 40).astype(np.float32)
  wanted = errors.copy().reshape(-1)
  for cell in set(cells.tolist()):
    wanted[cell] = 0.75 * wanted[cell] + 0.25 * found[cells == cell].mean()
  after = priorities.update(jnp.asarray(errors), cells, found, 0.75)
  np.testing.assert_allclose(after.reshape(-1), wanted, rtol=1e-5)
  # Each place is written once, and nothing is added where it lies.
  program = jax.make_jaxpr(priorities.update, static_argnums=3)(errors, cells, found, 0.75)
  scatters = [each for each in program.eqns if each.primitive.name.startswith("scatter")]
  assert [each.primitive.name for each in scatters] == ["scatter"]
  assert scatters[0].params["unique_indices"]


def test_draws_follow_the_probabilities_and_weights_undo_them():
  errors = jnp.array([[1.0, 4.0], [9.0, -1.0]])
  videos, positions, cells, weights = priorities.draw(jax.random.key(0), errors, SAMPLER, 1.0, 4000)
  likely = np.asarray(priorities.probabilities(errors, SAMPLER)).reshape(-1)
  np.testing.assert_allclose(np.bincount(cells, minlength=4) / 4000, likely, atol=0.025)
  np.testing.assert_array_equal(2 * videos + (np.asarray(positions) >= 0.5), cells)
  assert positions.min() >= 0 and positions.max() < 1
  # beta = 1: inverse to the probabilities, with a mean of 1.
  np.testing.assert_allclose(weights * likely[cells], weights[0] * likely[cells[0]], rtol=1e-5)
  assert float(weights.mean()) == pytest.approx(1.0, rel=1e-4)
  # So a weighted mean over draws is that over all bins alike.
  number = np.array([1.0, 2.0, 3.0, 6.0])[cells]
  assert np.average(number, weights=weights) == pytest.approx(3.0, abs=0.15)
  # What beta is changes the weights alone; 0: none.
  *drawn, cells, none = priorities.draw(jax.random.key(0), errors, SAMPLER, 0.0, 4000)
  np.testing.assert_array_equal(drawn, (videos, positions))
  np.testing.assert_allclose(none, np.ones(4000))


@pytest.mark.parametrize("jit", [False, True])
def test_beta_rises_on_a_line_by_hand(jit):
  compute = jax.jit(priorities.annealed, static_argnums=1) if jit else priorities.annealed
  sampler = sampling.Sampler("prioritised")
  # From the paper's .4 to its 1.
  rising = [float(compute(sampler, 200, jnp.int32(done))) for done in (0, 50, 100, 200, 999)]
  np.testing.assert_allclose(rising, [0.4, 0.55, 0.7, 1.0, 1.0], rtol=1e-6)
  falling = dataclasses.replace(sampler, beta=1.0, final_beta=0.5)
  assert float(compute(falling, 2, jnp.int32(1))) == 0.75
  # Without an end in sight it stays; likewise where it is to end as it begins.
  assert float(compute(sampler, 0, jnp.int32(50))) == pytest.approx(0.4)
  still = dataclasses.replace(sampler, final_beta=0.4)
  assert float(compute(still, 200, jnp.int32(150))) == pytest.approx(0.4)


@pytest.mark.parametrize(("done", "beta"), [(0, 0.5), (2, 0.75), (4, 1.0)])
def test_the_weights_of_a_step_are_those_of_its_beta(done, beta):
  settings = dataclasses.replace(SETTINGS, anneal_steps=4, batch_size=64)
  errors, lengths = jnp.array([[1.0, 4.0], [9.0, -1.0]]), jnp.array([9, 6], jnp.int32)
  batch = jax.jit(make_draw(settings, 2, 9))(jax.random.key(3), jnp.int32(done), lengths, errors)
  likely = 0.8 * np.array([1, 2, 3, 3]) / 9 + 0.2 / 4
  weights = (4 * likely[np.asarray(batch.cells)]) ** -beta
  np.testing.assert_allclose(batch.weights, weights / weights.mean(), rtol=1e-5)


def test_errors_are_those_of_temporal_differences():
  # On a line: goal 0, o_t at 3, o_t+1 at 1: |-1 + 0.5 x -1 + 3|; and at the goal |-1|.
  frames = jnp.array([[[5.0], [0.0], [3.0], [1.0]], [[5.0], [0.0], [0.0], [0.0]]])
  np.testing.assert_allclose(losses.vip_errors(frames, -jnp.ones(2), 0.5), [1.5, 1.0])


def test_weights_are_how_often_a_clip_counts():
  rng = np.random.default_rng(0)
  frames, rewards = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32), -jnp.ones(3)
  # The first clip twice is the first clip with a weight of 2; norms are of what is there.
  twice = jnp.stack([frames[0], frames[0], frames[1]])
  nothing = np.zeros((0, 3), np.int32)
  plain, metrics = losses.vip_loss(twice, rewards, nothing)
  weighted, _ = losses.vip_loss(frames, rewards[:2], nothing[:, :2], weights=jnp.array([2.0, 1.0]))
  np.testing.assert_allclose(weighted, plain, rtol=1e-5)
  same = losses.vip_loss(twice, rewards, [[1, 2, 0]], weights=jnp.full(3, 7.0))[1]
  unweighted = losses.vip_loss(twice, rewards, [[1, 2, 0]])[1]
  for name in metrics:
    np.testing.assert_allclose(same[name], unweighted[name], rtol=1e-5)
  # A pair counts as often as both of its clips: 2 x 1 of the second goal with the first clip.
  two = losses.vip_loss(frames, rewards[:2], [[1, 0], [0, 1]], weights=jnp.array([2.0, 1.0]))[1]
  every = np.array([[1, 2, 0], [2, 0, 1], [0, 1, 2]])  # each with each, once
  np.testing.assert_allclose(
    two["vip_negatives"], losses.vip_loss(twice, rewards, every)[1]["vip_negatives"], rtol=1e-5
  )


@pytest.fixture(scope="module")
def value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=4)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


@pytest.fixture(scope="module")
def videos():
  frames = np.random.default_rng(0).integers(0, 256, (2, 9, 16, 16, 3), np.uint8)
  return VideoSet(jnp.asarray(frames), jnp.array([9, 6], jnp.int32))


def test_the_step_learns_where_it_is_wrong_and_resumes(value, videos, tmp_path):
  settings = dataclasses.replace(SETTINGS, anneal_steps=3)
  step = jax.jit(make_train_step(value, settings, num_task=2))
  state = init_state(jax.random.key(1), value, settings, num_task=2)
  batch = make_draw(settings, 2, 9)(state.key, state.step, videos.lengths, state.errors)
  first, _ = step(state, videos)
  drawn = np.zeros(4, bool)
  drawn[np.asarray(batch.cells)] = True
  np.testing.assert_array_equal(np.asarray(first.errors).reshape(-1) >= 0, drawn)
  # First frames lie in the bins that were drawn: of 9 frames, o_0 is one of 7, of 6, one of 4.
  starts, rows = np.asarray(batch.frames.index[::4]), np.asarray(batch.frames.video[::4])
  np.testing.assert_array_equal(batch.cells // 2, rows)
  half, places = np.asarray(batch.cells) % 2, np.array([7, 4])[rows]
  assert (starts >= np.floor(half * places / 2)).all()
  assert (starts < np.ceil((half + 1) * places / 2)).all()
  straight = step(step(first, videos)[0], videos)[0]
  with Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, first)
    checkpoints.wait()
    restored = checkpoints.restore_latest(state)[1]
  resumed = step(step(restored, videos)[0], videos)[0]
  chex.assert_trees_all_equal((resumed.params, resumed.errors), (straight.params, straight.errors))


def test_an_update_that_is_not_finite_leaves_the_priorities(value, videos):
  step = jax.jit(make_train_step(value, SETTINGS, num_task=2))
  state = init_state(jax.random.key(1), value, SETTINGS, num_task=2)
  broken = state._replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
  after, metrics = step(broken, videos)
  assert int(metrics["skipped"]) == 1
  np.testing.assert_array_equal(after.errors, state.errors)


def test_two_devices_give_the_numbers_of_one(value, videos):
  settings = dataclasses.replace(SETTINGS, background_clips=2)
  both = VideoSet(jnp.concatenate([videos.frames] * 2), jnp.concatenate([videos.lengths] * 2))
  results = []
  for devices in (jax.devices()[:1], jax.devices()[:2]):
    step = parallel.compile_step(make_train_step(value, settings, 2), devices)
    state = parallel.replicate(init_state(jax.random.key(1), value, settings, 2), devices)
    state, metrics = step(state, parallel.replicate(both, devices))
    results.append((np.asarray(state.errors), float(metrics["loss"])))
  np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-3, atol=1e-4)
  assert results[1][1] == pytest.approx(results[0][1], rel=1e-3)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"bins": 0}, "bins of at least 1 .a whole number., got 0"),
    ({"alpha": 1.5}, "alpha from 0 to 1, got 1.5"),
    ({"beta": float("nan")}, "beta from 0 to 1, got nan"),
    ({"final_beta": 1.5}, "final_beta from 0 to 1, got 1.5"),
    ({"floor": 0.0}, "floor above 0, at most 1, got 0"),
    ({"momentum": 1.0}, "momentum from 0 to less than 1, got 1"),
  ],
)
def test_bad_values_are_one_sentence(change, words):
  with pytest.raises(UserError, match=words):
    sampling.Sampler("prioritised", **change)


def test_the_config_declares_it():
  config = paper.get_config().finetune
  config.sampler.name = "prioritised"
  settings = make_settings(config)
  assert settings.sampler == sampling.Sampler("prioritised")
  assert settings.anneal_steps == config.steps
  config.loss = "triplet"
  with pytest.raises(UserError, match="loss 'vip' with the sampler 'prioritised'"):
    make_settings(config)
