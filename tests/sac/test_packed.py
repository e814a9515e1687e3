"""Updates in few kernels, as accelerators get them: the numbers of the plain ones, fewer arrays."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from tests.sac.test_devices import EVERY_OPTION, SETTINGS, transitions
from vipjax.sac import SacSettings, init_agent, replay
from vipjax.sac.agent import make_update_many
from vipjax.sac.packed import Packed, has_packed, pack, unpack


def test_packing_by_hand():
  network = {"params": {"b": jnp.array([1.0, 2.0]), "a": jnp.array([[3.0], [4.0]])}, "mean": 5.0}
  packed = pack((network, jnp.int32(7)))
  assert has_packed(packed[0]) and not has_packed(network)
  vector = packed[0]["params"].vector
  np.testing.assert_array_equal(vector, [3, 4, 1, 2])
  # Arithmetic of trees is arithmetic of the vector.
  twice = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(packed)
  assert isinstance(twice[0]["params"], Packed) and len(jax.tree.leaves(twice)) == 3
  wanted = jax.tree.map(lambda leaf: 2 * leaf, (network, jnp.int32(7)))
  chex.assert_trees_all_equal(unpack(twice), wanted)
  assert unpack(network) is not packed and unpack(network)["mean"] == 5.0


def learnt(settings, few_kernels, broken=False):
  """State and metrics of five updates on 20 transitions, one of which may not be finite."""
  agent = init_agent(jax.random.key(3), 3, 2, settings)
  rows = transitions(20)
  if broken:
    rows.reward[4] = np.nan
  memory = replay.add(replay.init(20, 3, 2), rows)
  many = make_update_many(2, settings, 5, num_envs=2, few_kernels=few_kernels)
  state, metrics = jax.jit(many)(agent, memory)
  return state._replace(key=None), metrics


@pytest.mark.parametrize(("settings", "broken"), [(SETTINGS, True), (EVERY_OPTION, False)])
def test_the_numbers_are_those_of_plain_updates(settings, broken):
  settings = dataclasses.replace(settings, batch_size=4)
  plain, few = (learnt(settings, few_kernels, broken) for few_kernels in (False, True))
  if broken:
    assert 0 < int(plain[0].skipped[0]) < 5  # some batches have the broken row
  chex.assert_trees_all_equal_shapes_and_dtypes(few, plain)
  chex.assert_trees_all_close(few, plain, rtol=1e-3, atol=1e-5)


def operations(few_kernels):
  """How often each operation on arrays is in an update of the published agent."""
  settings = SacSettings()
  agent = init_agent(jax.random.key(0), 51, 8, settings)
  many = make_update_many(8, settings, 9, few_kernels=few_kernels)
  program = jax.make_jaxpr(many)(agent, replay.init(300, 51, 8))
  (body,) = [e.params["jaxpr"] for e in program.eqns if e.primitive.name == "scan"]
  found = {}

  def count(jaxpr):
    for equation in jaxpr.eqns:
      inner = list(jaxprs_in_params(equation.params))
      for each in inner:
        count(each)
      if not inner and any(variable.aval.size > 1 for variable in equation.outvars):
        found[equation.primitive.name] = found.get(equation.primitive.name, 0) + 1

  count(body.jaxpr)
  return found


def test_an_update_of_an_accelerator_has_few_operations():
  plain, few = operations(False), operations(True)
  # Adam's roots: one of each array, or one of actor and of critics.
  assert (plain["sqrt"], few["sqrt"]) == (18, 2)
  # All batches and noise are drawn before the first update.
  assert plain["random_bits"] == 4 and "random_bits" not in few
  assert plain["gather"] == 5 and "gather" not in few
  # Three products of critics' layers are those of the targets, too.
  assert (plain["dot_general"], few["dot_general"]) == (32, 29)
  # Of what makes a kernel each: elementwise work that is not fused into one, sums, products.
  heavy = ("mul", "add", "div", "sqrt", "select_n", "square", "reduce_sum", "dot_general")
  assert sum(few.get(name, 0) for name in heavy) < 0.5 * sum(plain.get(name, 0) for name in heavy)
