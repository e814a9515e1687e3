"""distillation_loss by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import distillation_loss
from vipjax.runtime.errors import UserError

# Two clips of two frames: distances 1 and 2 within them.
EMBEDDINGS = jnp.array([[0.0, 1.0], [10.0, 12.0]])[..., None]


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  function = jax.jit(distillation_loss) if compiled else distillation_loss
  # One teacher with distances 3 and 0, one with 3 and 4: together 3 and sqrt(8) within the clips.
  teachers = [
    jnp.array([[[0.0, 0.0], [3.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]),
    jnp.array([[0.0, 3.0], [0.0, 4.0]])[..., None],
  ]
  loss, metrics = function(EMBEDDINGS, teachers)
  wanted = np.array([3.0, np.sqrt(8.0)])
  clip = np.sum((np.array([1.0, 2.0]) - wanted) ** 2) / np.sum(wanted**2)
  assert metrics["distillation_clip"] == pytest.approx(clip)
  # All pairs of the four frames; squares of the teachers' distances, then of their mean.
  squares = (
    np.array([[0, 9, 2, 2], [9, 0, 5, 5], [2, 5, 0, 0], [2, 5, 0, 0]])
    + np.array([[0, 9, 0, 16], [9, 0, 9, 1], [0, 9, 0, 16], [16, 1, 16, 0]])
  ) / 2  # fmt: skip
  mine = np.abs(np.array([0.0, 1, 10, 12])[:, None] - np.array([0.0, 1, 10, 12]))
  batch = np.sum((mine - np.sqrt(squares)) ** 2) / np.sum(squares)
  assert metrics["distillation_batch"] == pytest.approx(batch)
  assert loss == pytest.approx(clip + batch) and metrics["distillation_loss"] == loss


def test_a_student_with_the_teachers_distances_costs_nothing_and_rests():
  key = jax.random.key(0)
  teacher = jax.random.normal(key, (3, 4, 5))
  turned = jnp.linalg.qr(jax.random.normal(key, (5, 5)))[0]
  cost, gradient = jax.value_and_grad(lambda x: distillation_loss(x, [teacher])[0])(
    teacher @ turned + 7.0
  )
  assert cost < 1e-10 and jnp.abs(gradient).max() < 1e-4
  # A teacher given twice is that teacher.
  loss = distillation_loss(2.0 * teacher, [teacher, teacher])[0]
  assert loss == pytest.approx(2.0)


def test_teachers_get_no_gradient_and_equal_frames_no_nan():
  gradients = jax.grad(lambda x, t: distillation_loss(x, [t])[0], argnums=(0, 1))
  mine, taught = gradients(EMBEDDINGS, 3.0 * EMBEDDINGS)
  assert jnp.abs(mine).max() > 0 and (taught == 0).all()
  same = jnp.ones((2, 4, 3))
  assert jnp.isfinite(jnp.stack(gradients(same, same))).all()


@pytest.mark.parametrize(
  ("teachers", "words"),
  [
    ([], "at least one teacher"),
    ([jnp.zeros((2, 3, 1))], r"\[B, F, D\]"),
    ([jnp.zeros((4, 1))], r"\[B, F, D\]"),
  ],
)
def test_refusal(teachers, words):
  with pytest.raises(UserError, match=words):
    distillation_loss(EMBEDDINGS, teachers)
