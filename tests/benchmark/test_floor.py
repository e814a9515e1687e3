"""Counts of programs whose operations and bytes are known by hand."""

import jax
import jax.numpy as jnp
import pytest

from vipjax.benchmark import floor


def test_a_matrix_product_is_counted():
  a, b = jnp.ones((8, 16)), jnp.ones((16, 4))
  cost = floor.count(jax.jit(lambda a, b: a @ b), a, b)
  assert cost.operations == 2 * 8 * 16 * 4
  assert cost.bytes == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_what_a_compiler_does_not_say_is_not_counted(monkeypatch):
  x = jnp.ones((8, 8), jnp.bfloat16)
  product = jax.jit(lambda x: x @ x)
  assert floor.count(product, x).operations == 2 * 8**3
  # As where JAX_PLATFORMS names a GPU alone, whose compiler has no such analysis.
  monkeypatch.setattr(jax, "local_devices", lambda backend: jax.devices(f"no {backend}"))

  def unsaid(self):
    raise NotImplementedError

  monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", unsaid)
  cost = floor.count(product, x).times(3)
  assert cost == floor.Cost(None, 3 * 2 * 2 * 64)
  assert cost.floor_seconds(floor.Peak(1.0, 1.0, "float32")) is None


def test_donated_arguments_are_moved_twice_and_held_once():
  x = jnp.ones(1000)
  increment = jax.jit(lambda x, key: (x + 1, key), donate_argnums=0)
  key = jax.random.key(0)
  assert floor.count(increment, x, key).bytes == 2 * (4000 + 8)
  assert floor.held_bytes(jax.jit(lambda x: x + 1, donate_argnums=0), x) == 4000


@pytest.mark.parametrize(("operations", "moved", "seconds"), [(600, 10, 6.0), (100, 90, 9.0)])
def test_the_floor_is_the_slower_of_arithmetic_and_memory(operations, moved, seconds):
  peak = floor.Peak(operations=100.0, bytes=10.0, dtype="float32")
  cost = floor.Cost(operations, moved)
  assert cost.floor_seconds(peak) == seconds
  assert cost.times(3).floor_seconds(peak) == 3 * seconds


def test_the_peak_is_measured():
  peak = floor.measure_peak(jnp.float32, size=64, repeats=2)
  assert peak.operations > 0 and peak.bytes > 0 and peak.dtype == "float32"
