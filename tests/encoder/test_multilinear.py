"""The multilinear heads against the reference's numbers, with the loss that they are made for."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vipjax.encoder.multilinear import Multilinear, init_multilinear, multilinear_values
from vipjax.losses import icvf_loss

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "icvf_heads.npz")


def tree(prefix):
  """The arrays under a prefix as nested dicts, by their paths."""
  found = {}
  for name in GOLDEN.files:
    if name.startswith(f"{prefix}/"):
      *path, leaf = name.removeprefix(f"{prefix}/").split("/")
      at = found
      for part in path:
        at = at.setdefault(part, {})
      at[leaf] = GOLDEN[name]
  assert found
  return found


def assert_close(value, wanted):
  np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("case", ["0", "1"])
def test_values_and_gradients_match_the_reference(case):
  golden = lambda name: GOLDEN[f"{case}/{name}"]  # noqa: E731
  head = Multilinear((16, 16), layer_norm=bool(golden("layer_norm")))
  latents = tuple(jnp.asarray(golden(name)) for name in ("s", "s_plus", "z"))
  target = {"params": tree(f"{case}/target")}

  def loss(params, latents):
    s, s_plus, z = latents
    values = multilinear_values(head, {"params": params}, s, s_plus, z)
    of_target = lambda *frames: multilinear_values(head, target, *frames)  # noqa: E731
    old_s, old_s_plus, old_z = (golden(name) for name in ("s", "s_plus", "z"))
    total, _ = icvf_loss(
      values,
      of_target(golden("next_s"), old_s_plus, old_z),
      of_target(golden("next_s"), old_z, old_z),
      of_target(old_s, old_z, old_z),
      golden("masks") == 0,
      golden("desired_masks") == 0,
      float(golden("discount")),
      float(golden("expectile")),
    )
    return total, values

  gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
  (total, values), (by_params, by_latents) = gradient(tree(f"{case}/params"), latents)
  assert values.dtype == jnp.float32
  assert_close(values, golden("v"))
  assert_close(total, golden("loss"))
  jax.tree.map(assert_close, by_params, tree(f"{case}/grad"))
  for latent, wanted in zip(by_latents, ("grad_s", "grad_s_plus", "grad_z"), strict=True):
    assert_close(latent, golden(wanted))


def test_the_target_moves_as_in_the_reference():
  params, target = tree("update/params"), tree("update/target")
  new = optax.incremental_update(params, target, float(GOLDEN["update/tau"]))
  jax.tree.map(assert_close, new, tree("update/new_target"))


def test_fresh_heads_differ_and_tell_the_direction():
  head = Multilinear((32,))
  heads = init_multilinear(jax.random.key(0), head, 4, count=3)
  a, b = jax.random.normal(jax.random.key(1), (2, 5, 4))
  values, back = multilinear_values(head, heads, a, b, b), multilinear_values(head, heads, b, a, a)
  assert values.shape == (3, 5)
  assert len(np.unique(np.asarray(values))) == 15
  assert not np.isclose(values, back).any()
  one = head.apply(jax.tree.map(lambda leaf: leaf[1], heads), a, b, b)
  np.testing.assert_allclose(one, values[1], rtol=1e-6)
