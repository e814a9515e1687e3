"""expectile_loss by hand, and that it finds the distances of a chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import expectile_loss
from vipjax.runtime.errors import UserError

# o_0, g, o_t, o_t+1 of a clip; distances to its goal 5, 3 and 2, and 2, 1 and 4 to the other's.
EMBEDDINGS = np.array([[5.0, 0.0, 3.0, 2.0], [8.0, 4.0, 7.0, 5.0]])[..., None]
TARGETS = np.array([[6.0, 0.0, 3.0, 1.0], [9.0, 4.0, 6.0, 6.0]])[..., None]
VIDEOS, INDICES = np.array([3, 3]), np.array([[0, 9, 1, 2], [7, 8, 7, 8]])
NONE, SWAPPED = np.zeros((0, 2), np.int32), np.array([[1, 0]])
SETTINGS = {"discount": 0.5, "expectile": 0.75}


def by_hand(rows):
  """Mean over (V, target's V and V of the next frame, steps, reached)."""
  costs, accepted = [], []
  for value, target, following, steps, reached in rows:
    wanted = 0.0 if reached else -sum(0.5**i for i in range(steps)) + 0.5**steps * following
    accepted.append(wanted >= target)
    costs.append((0.75 if accepted[-1] else 0.25) * (wanted - value) ** 2)
  return np.mean(costs), np.mean(accepted)


OWN = [
  (-3, -3, -1, 1, False), (-5, -6, -1, 2, False),  # -1.5 and -1.75: both get nearer
  (-3, -2, -2, 1, False), (-4, -5, -2, 1, False),  # -2, as well
]  # fmt: skip
OTHERS = [
  # The second clip's steps for the first goal, at 0.
  (-7, -6, -6, 1, False), (-8, -9, -6, 1, False),
  # The first clip's steps for the second goal, at 4.
  (-1, -1, -3, 1, False), (-1, -2, -3, 2, False),
]  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  def function(permutations):
    return expectile_loss(EMBEDDINGS, TARGETS, VIDEOS, INDICES, permutations, **SETTINGS)

  loss, metrics = (jax.jit(lambda: function(SWAPPED)) if compiled else lambda: function(SWAPPED))()
  own, accepted = by_hand(OWN)
  others, others_accepted = by_hand(OTHERS)
  assert accepted == 1 and others_accepted == 0.5  # both weights count
  assert metrics["expectile_own"] == pytest.approx(own)
  assert metrics["expectile_others"] == pytest.approx(others)
  assert loss == pytest.approx(own + others) and metrics["expectile_loss"] == loss
  assert metrics["expectile_accepted"] == accepted
  assert metrics["expectile_distance"] == pytest.approx((5 + 4) / 2)
  assert metrics["expectile_distance_others"] == pytest.approx((8 + 1) / 2)
  loss, metrics = function(NONE)
  assert loss == pytest.approx(own) and metrics["expectile_others"] == 0


def test_a_goal_of_another_row_that_is_the_frame_itself_is_reached():
  # The second clip's o_t is the frame 9 of the same video, the first one's goal, in another crop.
  indices = np.array([[0, 9, 1, 2], [7, 11, 9, 10]])
  reached = [(-7, -6, None, 1, True), (-8, -9, -6, 3, False), *OTHERS[2:]]
  for videos, rows in ((VIDEOS, reached), ([3, 4], [OTHERS[0], *reached[1:]])):
    _, metrics = expectile_loss(
      EMBEDDINGS, TARGETS, np.array(videos), indices, SWAPPED, **SETTINGS
    )  # fmt: skip
    assert metrics["expectile_others"] == pytest.approx(by_hand(rows)[0])


def test_the_target_gets_no_gradient_and_equal_frames_none_that_is_nan():
  same = jnp.ones((2, 4, 3))
  gradients = jax.grad(
    lambda x, t: expectile_loss(x, t, VIDEOS, INDICES, SWAPPED)[0], argnums=(0, 1)
  )
  assert all(jnp.isfinite(each).all() for each in gradients(same, same))
  assert not gradients(jnp.asarray(EMBEDDINGS), jnp.asarray(TARGETS))[1].any()


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"embeddings": np.zeros((2, 3, 1))}, r"embeddings of shape \[B, 4, D\]"),
    ({"targets": np.zeros((3, 4, 1))}, r"targets of shape \[B, 4, D\]"),
    ({"indices": np.zeros(2, int)}, r"indices of shape \[B, 4\]"),
    ({"permutations": np.array([[2, 0]])}, "indices from 0 to 1, got 0 to 2"),
  ],
)
def test_refusals(change, words):
  arguments = {
    "embeddings": EMBEDDINGS, "targets": TARGETS, "videos": VIDEOS, "indices": INDICES,
    "permutations": SWAPPED,
  }  # fmt: skip
  with pytest.raises(UserError, match=words):
    expectile_loss(**arguments | change)
