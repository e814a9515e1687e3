"""Encoders that learn with actor and critics: whose gradients, what stays, what a batch shows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.sac.test_conservative import CONSERVATIVE, OFFLINE, SAC
from tests.videos.clips import assert_one_sentence
from vipjax.runtime.errors import UserError
from vipjax.sac import init_agent, make_policy, sight
from vipjax.sac.conservative import make_conservative_update, make_offline, make_offline_updates
from vipjax.types import Trajectory

SIGHT = sight.Sight(None, None, None, sight.SightSettings(0, (0.1, 0.0, 0.0, 0.0), 0.5))
ENCODER = {
  "params": np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32),
  "batch_stats": np.float32([0.5, -0.5, 0.2, 0.1]),
  "head": "not of the encoder",
}


def embed_function(*unused):
  """Stands in for a network: the mean colour, less statistics, by a matrix."""

  def embed(variables, frames):
    colours = frames.astype(jnp.float32).mean(axis=(1, 2)) / 255
    return colours @ variables["params"] - variables["batch_stats"][None]

  return embed


def dark_and_light(count=64):
  """Episodes of one step; its action pays where its sign is that of the frame's lightness."""
  rng, found = np.random.default_rng(0), []
  for number in range(count):
    action, light = rng.uniform(-0.9, 0.9, (1, 2)), number % 2
    frames = np.full((2, 4, 4, 3), 40 + 160 * light, np.uint8)
    frames[1] = 0
    found.append(Trajectory(
      np.concatenate([np.full((2, 4), 1e3), np.ones((2, 1))], axis=1).astype(np.float32),
      action.astype(np.float32), np.float32([(action[0, 0] > 0) == light]), np.zeros(1, np.float32),
      True, frames,
    ))  # fmt: skip
  return make_offline(found, OFFLINE)


@pytest.fixture
def learned(monkeypatch):
  """(updates / 100, actor's learning rate) -> the agent before and after them, and metrics."""
  monkeypatch.setattr(sight, "embed_function", embed_function)

  def learn(hundreds, rate=1e-2):
    settings = dataclasses.replace(CONSERVATIVE, actor_learning_rate=rate)
    state = init_agent(jax.random.key(0), 5, 2, SAC)
    before = state = sight.with_encoders(state, ENCODER, SAC.learning_rate, rate)
    update = make_conservative_update(2, SAC, settings, SIGHT)
    run = jax.jit(make_offline_updates(update, (32,), 100))
    for _ in range(hundreds):
      state, metrics = run(state, (dark_and_light(),))
    return before, state, metrics

  return learn


def test_the_policy_follows_what_only_the_frames_tell(learned):
  _, state, metrics = learned(4)
  policy = make_policy(2, SAC, deterministic=True)
  frames = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (40, 200)])
  given = jnp.full((2, 5), 1e3).at[:, 4].set(1.0)  # the recorded embedding counts for nothing
  seen = SIGHT.seen(state.actor["encoder"], given, frames)
  np.testing.assert_array_equal(seen[:, 4], 1.0)
  assert jnp.abs(seen[:, :4]).max() < 1 and jnp.abs(seen[0, :4] - seen[1, :4]).max() > 0.01
  actions = policy(sight.without_encoder(state.actor), seen, jax.random.key(0))
  assert actions[0, 0] < -0.2 and actions[1, 0] > 0.2
  assert int(state.skipped[0]) == 0 and metrics["q_return_correlation"] > 0.5


def test_each_network_has_an_encoder_that_its_own_loss_moves(learned):
  before, state, _ = learned(1, rate=1e-30)
  own = lambda variables: np.asarray(variables["encoder"]["params"])  # noqa: E731
  np.testing.assert_array_equal(own(state.actor), ENCODER["params"])
  moved = np.abs(own(state.critic) - ENCODER["params"]).max()
  followed = np.abs(own(state.target_critic) - ENCODER["params"]).max()
  assert 0 < followed < moved
  for variables in (state.actor, state.critic, state.target_critic):
    np.testing.assert_array_equal(variables["encoder"]["batch_stats"], ENCODER["batch_stats"])
    assert set(variables["encoder"]) == {"params", "batch_stats"}
  _, state, _ = learned(1)
  assert np.abs(own(state.actor) - ENCODER["params"]).max() > 0


def test_a_batch_has_the_frames_before_and_after_each_step():
  data = dark_and_light(6)
  np.testing.assert_array_equal(data.numbers, [0, 2, 4, 6, 8, 10])
  assert data.frames.shape == (12, 4, 4, 3)
  numbered = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None], data.frames.shape)

  def note(state, batch):
    before, after = batch.frames[:, 0, 0, 0, 0], batch.frames[:, 1, 0, 0, 0]
    told = (after == before + 1) & (before % 2 == 0)
    return state._replace(step=state.step + 1), {"told": told.mean(), "rows": len(before)}

  state, data = init_agent(jax.random.key(0), 5, 2, SAC), data._replace(frames=numbered)
  _, found = jax.jit(make_offline_updates(note, (3, 2), 4))(state, (data, data))
  assert found == {"told": 1.0, "rows": 5.0}


@pytest.mark.parametrize(
  "settings", [(2, (0.0, 0.0, 0.0, 0.0), 1.0), (0, (0.2, 0.1, 0.1, 0.03), 1.0)]
)
def test_shifts_and_colours_are_drawn_for_each_frame_and_update(settings):
  frames = np.random.default_rng(0).integers(60, 190, (16, 2, 6, 6, 3), dtype=np.uint8)
  frames[:, 1] = frames[:, 0]
  changing = dataclasses.replace(SIGHT, settings=sight.SightSettings(*settings))
  changed = np.asarray(changing.changed(jax.random.key(0), frames))
  assert changed.shape == frames.shape and changed.dtype == np.uint8
  # One of 25 shifts may come twice.
  assert sum((before != after).any() for before, after in changed) > 12
  assert (changed != np.asarray(changing.changed(jax.random.key(1), frames))).any()


def test_an_actor_sees_by_its_own_encoder_or_by_the_frozen_one():
  class Value:
    variables, metadata = {"params": 1.0, "head": "old"}, {"name": "mini"}

    def embed(self, frames, chunk=None):
      return frames.reshape(1, -1)[:, :3] * np.float32(self.variables["params"])

    def replace(self, **changes):
      made = Value()
      made.__dict__.update(changes)
      return made

  frame, value = np.uint8([[[1, 2, 6]]]), Value()
  np.testing.assert_array_equal(sight.eye(value, {"params": 0})(frame), [1, 2, 6])
  actor = {"params": 0, "encoder": {"params": -1.0}}
  wanted = np.tanh((np.array([-1, -2, -6]) + 3) / np.std([1, 2, 6]))
  np.testing.assert_allclose(sight.eye(value, actor)(frame), wanted, rtol=1e-4)
  own = sight.actors_encoder(value, actor)
  assert own.variables == {"params": -1.0} and own.head.name == "l2"
  assert own.metadata["name"] == "mini" and "V-PTR" in own.metadata["trained_on"]


def test_frames_of_several_sizes_or_in_some_episodes_are_one_sentence():
  one = Trajectory(*[np.ones((n, 1), np.float32) for n in (2, 1)], *np.ones((2, 1), np.float32),
                   True, np.zeros((2, 4, 4, 3), np.uint8))  # fmt: skip
  other = dataclasses.replace(one, frames=np.zeros((2, 8, 4, 3), np.uint8))
  with pytest.raises(UserError) as error:
    make_offline([one, other], OFFLINE)
  assert_one_sentence(error, "frames of one size", "4x4, 8x4", "encoder_learns")
  for some in (
    [one, dataclasses.replace(one, frames=None)],
    [dataclasses.replace(one, frames=None), one],
  ):
    with pytest.raises(UserError) as error:
      make_offline(some, OFFLINE)
    assert_one_sentence(error, "frames in all of the data or in none", "1 of 2 episodes")
