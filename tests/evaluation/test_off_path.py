"""States off the path, by hand."""

import numpy as np
import pytest

from vipjax import evaluation
from vipjax.evaluation import off_path
from vipjax.runtime.errors import UserError


def states(**potentials):
  """Two rollouts of 12 states: the first opens by 24 cm from its 7th state on, the second never."""
  hand = np.tile(np.linspace(0.5, 0.1, 12), 2)
  remaining = np.full(24, 0.24)
  remaining[6:12] = np.linspace(0.2, 0.0, 6)
  return evaluation.States(
    kind=np.repeat(["perturbed", "random"], 12),
    rollout=np.repeat([0, 1], 12),
    time=np.tile(np.arange(12) / 10, 2),
    hand=hand,
    object=remaining,
    success=np.repeat([True, False], 12),
    potentials={key: np.asarray(value, float) for key, value in potentials.items()},
  )


def test_progress_and_moved():
  made = states()
  np.testing.assert_allclose(made.progress[[0, 11, 23]], [-1 - 2.4, -0.2, -0.2 - 2.4])
  np.testing.assert_array_equal(np.flatnonzero(made.moved), np.arange(6, 12))


def test_correlations_by_hand():
  ideal = states().progress
  sees_hand = -states().hand
  made = evaluation.correlations(states(ideal=ideal, hand=sees_hand, backwards=-ideal))
  assert made["ideal"]["progress"] == pytest.approx(1.0)
  assert made["ideal"]["progress_random"] == pytest.approx(1.0)
  assert made["ideal"]["hand"] == pytest.approx(1.0)
  assert made["ideal"]["object"] is None  # six states are too few
  assert made["hand"]["hand"] == pytest.approx(1.0)
  assert made["hand"]["progress"] < 1
  # The expert's rollout alone: twelve states in order, whose first six share the object's rank.
  assert made["hand"]["progress_disturbed"] == pytest.approx(1.0)
  tied = np.corrcoef(np.arange(12), np.r_[np.full(6, 2.5), np.arange(6, 12)])[0, 1]
  assert made["ideal"]["object_disturbed"] == pytest.approx(tied)
  assert made["backwards"]["object_disturbed"] == pytest.approx(-tied)
  assert made["backwards"]["progress"] == pytest.approx(-1.0)
  # Of the two ends one succeeded: higher, equal, lower.
  assert [made[name]["success"] for name in ("ideal", "hand", "backwards")] == [1.0, 0.5, 0.0]


def test_success_needs_both():
  made = states(v=np.arange(24))
  lost = evaluation.States(**{**vars(made), "success": np.zeros(24, bool)})
  assert evaluation.correlations(lost)["v"]["success"] is None


def test_hacks_by_hand():
  progress = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
  potential = np.array([9.0, 8.0, 1.0, 2.0, 3.0])  # ranks 5, 4, 1, 2, 3
  worst, gap = evaluation.reward_hacks(potential, progress, np.array([0, 0, 0, 1, 1]), 3)
  np.testing.assert_allclose(gap, [1.0, 0.5, -0.5, -0.5, -0.5])
  # One of each rollout, and none where the reward is not too high.
  np.testing.assert_array_equal(worst, [0])
  worst, _ = evaluation.reward_hacks(potential, progress, np.array([0, 1, 1, 1, 1]), 3)
  np.testing.assert_array_equal(worst, [0, 1])
  worst, _ = evaluation.reward_hacks(potential, progress, np.arange(5), 1)
  np.testing.assert_array_equal(worst, [0])


def test_hacks_of_one_kind_are_half_at_most():
  progress = np.arange(5.0)
  kind = np.array(["policy", "policy", "random", "random", "random"])
  rollout = np.arange(5)
  potential = np.array([9.0, 8.0, 7.0, -1.0, -2.0])  # ranks 5, 4, 3, 2, 1
  worst, _ = evaluation.reward_hacks(potential, progress, rollout, 2, kind)
  np.testing.assert_array_equal(worst, [0])  # the third deserves its rank
  progress = np.array([0.0, 1.0, -1.0, 3.0, 4.0])
  worst, _ = evaluation.reward_hacks(potential, progress, rollout, 2, kind)
  np.testing.assert_array_equal(worst, [0, 2])


def test_the_policys_own_states_are_told_apart():
  made = states(v=np.arange(24))
  kind = made.kind.copy()
  kind[12:] = "policy"
  of_policy = evaluation.States(**{
    **vars(made), "kind": kind, "potentials": {"v": np.r_[made.progress[:12], -made.progress[12:]]},
  })  # fmt: skip
  found = evaluation.correlations(of_policy)["v"]
  assert found["progress"] == pytest.approx(1.0)
  assert found["progress_policy"] == pytest.approx(-1.0)
  assert found["success"] is None  # one rollout is left


def test_record_has_every_state():
  made = off_path.record(states(v=np.arange(24)))
  assert {len(made[key]) for key in ("kind", "rollout", "time", "hand", "object", "progress")} == {
    24
  }
  assert list(made["potentials"]) == ["v"]


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: evaluation.reward_hacks([1, 2], [1, 2], [0, 1], 0), "at least 1 state"),
    (lambda: evaluation.reward_hacks([1, 2], [1, 2, 3], [0, 1], 1), "one length, got 2, 3 and 2"),
    (lambda: evaluation.reward_hacks([1, np.nan], [1, 2], [0, 1], 1), "finite potential"),
  ],
)
def test_refusals(call, words):
  with pytest.raises(UserError, match=words):
    call()
