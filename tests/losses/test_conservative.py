"""Conservative losses, targets and returns against the references' numbers and by hand."""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.losses import conservative_loss, lagrange_penalty, monte_carlo_returns, td_target
from vipjax.runtime.errors import UserError

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "testdata" / "conservative.npz")
CASES = sorted({name.split("/")[0] for name in GOLDEN.files})


def load(case):
  names = (name for name in GOLDEN.files if name.startswith(f"{case}/"))
  return {name.split("/")[1]: GOLDEN[name] for name in names}


def assert_close(value, wanted, rtol=1e-5):
  # Small entries of an array are differences of large ones.
  np.testing.assert_allclose(value, wanted, rtol=rtol, atol=1e-6 * np.abs(wanted).max())
  assert jnp.asarray(value).dtype == jnp.float32


def test_goldens_are_all_there():
  assert len(CASES) == 2 + 7 + 6 + 2


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("sac", "cql"))])
def test_matches_jaxcql_and_calql(case):
  golden = load(case)
  entropy = golden["next_log_pi_backup"] if golden["backup_entropy"] else None
  target = td_target(
    golden["rewards"], 1 - golden["dones"], golden["target_q_next"], float(golden["discount"]),
    entropy, math.exp(golden["log_alpha"]),
  )  # fmt: skip
  assert_close(target, golden["td_target"])

  def losses(q):
    bellman = jnp.mean(jnp.square(q["q_data"] - target[None]), axis=1)
    if case.startswith("sac"):
      return jnp.sum(bellman), (bellman, bellman, None)
    names = ("q_random", "q_next", "q_current")
    samples = [q[name] for name in names]
    uniform = np.full_like(golden["next_log_pi"], golden["num_actions"] * math.log(0.5))
    densities = [uniform, golden["next_log_pi"], golden["current_log_pi"]]
    if not golden["importance_sample"]:
      samples.append(q["q_data"][..., None])
      densities = [np.zeros_like(uniform)] * 3 + [np.zeros((len(uniform), 1))]
    count = uniform.shape[1]
    from_policy = np.arange(sum(each.shape[-1] for each in samples)) // count % 3 > 0
    difference = conservative_loss(
      q["q_data"],
      jnp.concatenate(samples, axis=-1),
      np.concatenate(densities, axis=-1),
      floor=golden["mc_returns"] if golden["calql"] else None,
      temperature=float(golden["temperature"]),
      from_policy=from_policy,
      limits=(float(golden["clip_min"]), float(golden["clip_max"])),
    )
    weight = float(golden["min_q_weight"])
    penalty = weight * difference
    if golden["lagrange"]:
      gap = float(golden["target_action_gap"])
      penalty, _ = lagrange_penalty(
        difference, jnp.float32(golden["log_alpha_prime"]), gap, weight
      )  # fmt: skip
    return jnp.sum(bellman + penalty), (bellman, bellman + penalty, difference)

  q = {name: jnp.asarray(golden[name]) for name in golden if name.startswith("q_")}
  (_, (bellman, loss, difference)), gradients = jax.jit(jax.value_and_grad(losses, has_aux=True))(q)
  assert_close(bellman, golden["bellman_loss"])
  assert_close(loss, golden["critic_loss"])
  if difference is not None:
    assert_close(difference, golden["cql_difference"])
  for name, gradient in gradients.items():
    assert_close(gradient, golden[f"grad_{name}"], rtol=1e-4)


def test_the_multiplier_matches_jaxcql():
  golden = load("cql_6")

  def loss(differences, log_multiplier):
    settings = float(golden["target_action_gap"]), float(golden["min_q_weight"])
    penalty, own = lagrange_penalty(differences, log_multiplier, *settings)
    return own, penalty

  arguments = jnp.asarray(golden["cql_difference"]), jnp.float32(golden["log_alpha_prime"])
  (own, penalty), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(*arguments)
  assert_close(penalty, golden["cql_loss"])
  assert_close(own, golden["alpha_prime_loss"])
  assert_close(gradients[1], golden["grad_log_alpha_prime"])
  # Each loss has a gradient to its own side alone.
  assert not gradients[0].any()
  assert jax.grad(lambda log: loss(arguments[0], log)[1].sum())(arguments[1]) == 0


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("vptr_critic")])
def test_matches_vptr(case):
  golden = load(case)
  heads = golden["target_q_next"]
  target = td_target(
    golden["rewards"],
    golden["masks"],
    heads if golden["reduction_is_min"] else heads.mean(axis=0, keepdims=True),
    float(golden["discount"]),
    golden["next_log_pi"] if golden["backup_entropy"] else None,
    float(golden["entropy_temperature"]),
  )
  version = int(golden["min_q_version"])

  def loss(q):
    uniform = np.full_like(golden["log_pi"], golden["num_actions"] * math.log(0.5))
    densities = np.concatenate([golden["log_pi"], uniform], axis=-1) * (version == 3)
    samples = jnp.concatenate([q["q_pi"], q["q_random"]], axis=-1)
    if version == 1:
      samples = q["q_pi"].mean(axis=-1, keepdims=True)
      densities = np.zeros((len(target), 1))
    conservative = conservative_loss(
      q["q_data"],
      samples,
      densities,
      golden["mc_returns"] if golden["bound_q_with_mc"] else None,
      from_policy=np.arange(samples.shape[-1]) < uniform.shape[1],
    )
    bellman = jnp.square(q["q_data"] - target[None]).mean()
    conservative = conservative.mean()
    return bellman + float(golden["cql_alpha"]) * conservative, (bellman, conservative)

  q = {name: jnp.asarray(golden[name]) for name in ("q_data", "q_pi", "q_random")}
  (total, (bellman, conservative)), gradients = jax.value_and_grad(loss, has_aux=True)(q)
  assert_close(total, golden["critic_loss"])
  assert_close(bellman, golden["bellman_loss"])
  assert_close(conservative, golden["cql_loss"])
  for name, gradient in gradients.items():
    assert_close(gradient, golden[f"grad_{name}"], rtol=1e-4)


@pytest.mark.parametrize("case", ["vptr_returns_0", "vptr_returns_1"])
def test_returns_match_vptr(case):
  golden = load(case)
  returns = jax.jit(monte_carlo_returns)(golden["rewards"], golden["masks"], golden["discount"])
  assert_close(returns, golden["mc_returns"])


def test_returns_by_hand():
  returns = monte_carlo_returns(np.array([1, 2, 4]), np.array([1, 1, 0]), 0.5, after=100.0)
  np.testing.assert_array_equal(returns, [3.0, 4.0, 4.0])
  # Cut off, with -1 a step for ever: always the same.
  returns = monte_carlo_returns(-np.ones(3), np.ones(3), 0.5, after=-2.0)
  np.testing.assert_array_equal(returns, [-2.0, -2.0, -2.0])


# One head, two rows, two samples each, of densities 1/2 and 1/4.
Q, SAMPLES = jnp.array([[1.0, -2.0]]), jnp.array([[[0.0, -1.0], [3.0, 2.0]]])
DENSITIES = np.log([[0.5, 0.25]] * 2)


@pytest.mark.parametrize("compiled", [False, True])
def test_by_hand(compiled):
  function = jax.jit(conservative_loss) if compiled else conservative_loss
  sums = [2 + 4 * math.exp(-1), 2 * math.exp(3) + 4 * math.exp(2)]
  assert float(function(Q, SAMPLES, DENSITIES)[0]) == pytest.approx(
    (math.log(sums[0]) - 1 + math.log(sums[1]) + 2) / 2
  )
  # The floor of .5 lifts both samples of the first row; or the second alone.
  floor = np.array([0.5, 0.5])
  for policy, first in ((None, 6 * math.exp(0.5)), (np.array([0, 1]) > 0, 2 + 4 * math.exp(0.5))):
    assert float(function(Q, SAMPLES, DENSITIES, floor, from_policy=policy)[0]) == pytest.approx(
      (math.log(first) - 1 + math.log(sums[1]) + 2) / 2
    )


def test_large_values_stay_finite_and_samples_under_the_floor_have_no_gradient():
  def loss(samples, floor):
    return conservative_loss(Q, samples, DENSITIES, floor)[0]

  assert loss(SAMPLES * 1e4, None) == pytest.approx((-1 + 3e4 + 2) / 2, rel=1e-3)
  by_samples, by_floor = jax.grad(loss, argnums=(0, 1))(SAMPLES, jnp.array([0.5, 2.5]))
  assert not by_floor.any()
  np.testing.assert_array_equal(by_samples != 0, [[[False, False], [True, False]]])


def test_the_target_takes_the_action_whose_least_value_is_greatest():
  next_q = np.array([[[5.0, 2.0]], [[-1.0, 3.0]]])
  target = td_target([1.0], [1], next_q, 0.5, np.array([[7.0, 4.0]]), 0.25)
  np.testing.assert_array_equal(target, [1 + 0.5 * (2 - 0.25 * 4)])
  np.testing.assert_array_equal(td_target([1.0], [0], next_q, 0.5), [1.0])


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: conservative_loss(Q[0], SAMPLES, DENSITIES), r"q_data of shape \[H, B\]"),
    (lambda: conservative_loss(Q, SAMPLES[0], DENSITIES), r"q_samples of shape \[H, B, M\]"),
    (lambda: conservative_loss(Q, SAMPLES, DENSITIES[0]), r"log_densities of shape \[B, M\]"),
    (lambda: conservative_loss(Q, SAMPLES, DENSITIES, np.ones((2, 2))), r"floor of shape \[B\]"),
    (
      lambda: conservative_loss(Q, SAMPLES, DENSITIES, np.ones(2), from_policy=[True]),
      r"from_policy of shape \[M\]",
    ),
    (
      lambda: conservative_loss(Q, SAMPLES, DENSITIES, temperature=0.0),
      "a temperature above 0, got 0.0",
    ),
    (lambda: lagrange_penalty(jnp.float32(1), jnp.float32(0), 1.0), r"differences of shape \[H\]"),
    (lambda: td_target(np.ones((2, 1)), np.ones(2), Q), r"rewards of shape \[B\]"),
    (lambda: td_target(np.ones(2), np.ones(2), Q[0]), r"next_q of shape \[H, B\]"),
    (
      lambda: td_target(np.ones(2), np.ones(2), Q, next_log_probs=np.ones((2, 2))),
      r"next_log_probs of shape \[B\]",
    ),
    (lambda: monte_carlo_returns(np.ones(3), np.ones(2)), r"masks of shape \[T\]"),
  ],
)
def test_refusals(call, words):
  with pytest.raises(UserError, match=words):
    call()
