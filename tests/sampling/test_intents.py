"""Draws of outcomes and intents against the reference's frequencies, at bounds, and under jit."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax import sampling
from vipjax.runtime.errors import UserError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "icvf_intents.npz")
SHARES = {
  "default": {"current": 0.2, "future": 0.5, "same": 0.5, "intent_in_video": False},
  "video": {},
}
COUNT = 200_000


def flat(video, index, lengths):
  """Numbers of frames in all videos one after the other."""
  return np.asarray((np.cumsum(lengths) - lengths)[video] + index)


@pytest.mark.parametrize("frame", [3, 20, 35])
@pytest.mark.parametrize("case", list(SHARES))
def test_frequencies_are_the_reference_s(case, frame):
  lengths = GOLDEN[f"{case}/lengths"]
  video = int(np.searchsorted(np.cumsum(lengths), frame, side="right"))
  index = frame - int(lengths[:video].sum())
  frames = np.full(COUNT, video), np.full(COUNT, index)
  drawn = sampling.intent_indices(
    jax.random.key(frame), lengths, COUNT, **SHARES[case], frames=frames
  )  # fmt: skip
  assert drawn.video.shape == drawn.index.shape == (COUNT, 4)
  assert drawn.video.dtype == drawn.index.dtype == np.int32
  numbers = flat(drawn.video, drawn.index, lengths)
  last = int(lengths[: video + 1].sum()) - 1
  np.testing.assert_array_equal(numbers[:, 0], frame)
  np.testing.assert_array_equal(numbers[:, 1], min(frame + 1, last))

  def check(shares, wanted):
    wanted = np.asarray(wanted)
    deviation = np.sqrt(wanted * (1 - wanted) * (1 / COUNT + 1 / int(GOLDEN[f"{case}/draws"])))
    assert (np.abs(np.asarray(shares) - wanted) <= 4.5 * deviation + 2e-5).all()

  for place, name in ((2, "outcome"), (3, "intent")):
    wanted = GOLDEN[f"{case}/{name}_counts_{frame}"]
    check(np.bincount(numbers[:, place], minlength=36) / COUNT, wanted / wanted.sum())
  check(np.mean(numbers[:, 2] == numbers[:, 3]), GOLDEN[f"{case}/same_{frame}"])
  check(np.mean(drawn.is_outcome), GOLDEN[f"{case}/success_{frame}"])
  check(np.mean(drawn.is_intent), GOLDEN[f"{case}/intent_success_{frame}"])
  np.testing.assert_array_equal(drawn.is_outcome, numbers[:, 2] == frame)
  np.testing.assert_array_equal(drawn.is_intent, numbers[:, 3] == frame)


def test_steps_are_drawn_uniformly_and_stay_in_their_videos():
  lengths = np.array([2, 5, 3])
  drawn = sampling.intent_indices(jax.random.key(0), lengths, 70_000)
  steps = flat(drawn.video[:, 0], drawn.index[:, 0], lengths)
  # All but the last frames of the videos.
  share = np.bincount(steps, minlength=10) / 70_000
  np.testing.assert_allclose(share, np.array([1, 0, 1, 1, 1, 1, 0, 1, 1, 0]) / 7, atol=0.006)
  np.testing.assert_array_equal(drawn.video[:, 1], drawn.video[:, 0])
  np.testing.assert_array_equal(drawn.index[:, 1], drawn.index[:, 0] + 1)
  assert (drawn.index < lengths[drawn.video]).all() and (drawn.index >= 0).all()
  # Intents are of the video, and neither they nor its outcomes lie before s there.
  np.testing.assert_array_equal(drawn.video[:, 3], drawn.video[:, 0])
  assert (drawn.index[:, 3] >= drawn.index[:, 0]).all()
  assert (drawn.video[:, 2] != drawn.video[:, 0]).any()


@pytest.mark.parametrize(
  ("shares", "outcome_at", "intent_at"),
  [
    ({"current": 1.0, "future": 0.0}, (0,), (0,)),
    ({"current": 0.0, "future": 1.0}, (0, 1), (0, 1)),
    ({"current": 0.0, "future": 0.0, "same": 1.0}, (0, 1), (0, 1)),
  ],
)
def test_shares_at_their_bounds(shares, outcome_at, intent_at):
  zeros = np.zeros(200, int)
  drawn = sampling.intent_indices(
    jax.random.key(1), np.array([2, 9]), 200, **shares, frames=(zeros, zeros)
  )
  np.testing.assert_array_equal(drawn.video, 0)
  assert set(np.asarray(drawn.index[:, 2]).tolist()) == set(outcome_at)
  assert set(np.asarray(drawn.index[:, 3]).tolist()) == set(intent_at)
  if shares.get("same") == 1:
    np.testing.assert_array_equal(drawn.index[:, 2], drawn.index[:, 3])


def test_jit_equals_eager():
  def function(key, lengths):
    return sampling.intent_indices(key, lengths, 50, intent_in_video=False)

  arguments = jax.random.key(2), jnp.array([4, 2, 7])
  jax.tree.map(np.testing.assert_array_equal, jax.jit(function)(*arguments), function(*arguments))


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"lengths": np.array([3, 1])}, "of 2 to any.*got 1 to 3"),
    ({"current": -0.1}, r"current from 0 to 1, got -0\.1"),
    ({"future": 0.9}, r"current \+ future from 0 to 1, got 1\.1"),
    ({"same": float("nan")}, "same from 0 to 1, got nan"),
    ({"batch": 0}, "batch of at least 1, got 0"),
  ],
)
def test_bad_input_is_named(change, sentence):
  with pytest.raises(UserError, match=sentence):
    sampling.intent_indices(jax.random.key(0), **{"lengths": np.array([3]), "batch": 4} | change)
