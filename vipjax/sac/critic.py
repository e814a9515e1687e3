"""The critics of SAC: their settings, their Q-values and their losses, for one update.

Both critics' leaves are stacked, [2, ...]; their variables are {"params"}, and {"batch_stats"} with
batch normalization.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from vipjax.losses.progress import expected_value, two_hot
from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError
from vipjax.sac.networks import Critic


@dataclasses.dataclass(frozen=True)
class CriticSettings:
  """What the critics are; the defaults are those of configs/paper.py.

  Attributes:
    hidden: widths of the hidden layers; () is the actor's.
    norm: "layer", "batch" or "none". Batch normalization is of the inputs, too, and takes present
      and next pairs as one batch, because their actions are distributed differently (CrossQ,
      arXiv:1902.05605).
    unit_norm: after every update each unit's incoming weights have norm 1, so that the learning
      rate means the same for all of training (arXiv:2502.07523); needs a norm, which makes their
      length meaningless.
    bins: 0 regresses the mean; else the critics' cross entropy with a two-hot of the target over
      so many bins (arXiv:2403.03950), which bounds their gradient.
    value_range: the bins go from minus this to this, in units of the reward.

  Raises:
    UserError: one of them is out of its range, or unit_norm without a norm.
  """

  hidden: tuple[int, ...] = ()
  norm: str = "layer"
  unit_norm: bool = False
  bins: int = 0
  value_range: float = 100.0

  def __post_init__(self):
    ranges.check("policy.critic", vars(self))
    if self.unit_norm and self.norm == "none":
      raise UserError(
        "expected config.policy.critic.norm 'batch' or 'layer' with unit_norm, because weights of "
        "norm 1 alone would bound the values, got 'none'; choose one, or turn unit_norm off."
      )


class Critics:
  """Two critics side by side.

  Args:
    settings: their settings.
    hidden: widths of the hidden layers where the settings do not say.
  """

  def __init__(self, settings: CriticSettings, hidden: tuple[int, ...]):
    self.settings = settings
    options = {"norm": settings.norm, "bins": settings.bins}
    self._critic = Critic(settings.hidden or hidden, **options)
    self._training = Critic(settings.hidden or hidden, **options, train=True)

  def init(self, key: jax.Array, observation: jax.Array, action: jax.Array) -> Any:
    """Returns the variables, from an observation [O] and an action [A]."""
    init = lambda key: self._critic.init(key, observation, action)  # noqa: E731
    return self.projected(jax.vmap(init)(jax.random.split(key, 2)))

  def __call__(self, variables: Any, observation: jax.Array, action: jax.Array) -> jax.Array:
    """Returns floats [2, B], the Q-values of observations [B, O] and actions [B, A]."""
    found = jax.vmap(self._critic.apply, (0, None, None))(variables, observation, action)
    return self._value(found)

  def train(
    self, variables: Any, observation: jax.Array, action: jax.Array
  ) -> tuple[jax.Array, Any]:
    """Returns the networks' outputs, [2, B] or [2, B, bins], and the variables but "params".

    Batch normalization takes the batch's own statistics, and the running ones follow.
    """
    if self.settings.norm != "batch":
      return jax.vmap(self._critic.apply, (0, None, None))(variables, observation, action), {}

    def apply(variables):
      return self._training.apply(variables, observation, action, mutable=["batch_stats"])

    return jax.vmap(apply)(variables)

  def loss(
    self,
    variables: Any,
    targets: Any,
    pair: Any,
    next_pair: Any,
    target_of: Any,
    joined: bool = False,
  ) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """The critics' loss on the target that their own next values give.

    Args:
      variables: of the critics that learn.
      targets: variables of the target critics, or None where the critics are their own targets.
      pair, next_pair: observations [B, O] and actions [B, A], now and next.
      target_of: function from the next Q-values [2, B] to the targets [B].
      joined: whether critics and targets are four networks side by side, without batch
        normalization: half of the kernels forward, twice the arithmetic backward, where what
        reaches the targets is 0.

    Returns:
      The loss, the mean over B of the sum over the two; Q-values [2, B] now, and what else of the
      variables changed.
    """
    if self.settings.norm == "batch":
      count = len(pair[0])
      joint = [jnp.concatenate(both) for both in zip(pair, next_pair, strict=True)]
      outputs, changed = self.train(variables, *joint)
      following = outputs if targets is None else self.train(targets, *joint)[0]
      outputs, following = outputs[:, :count], following[:, count:]
    elif joined and targets is not None:
      four = jax.tree.map(lambda *both: jnp.concatenate(both), variables, targets)
      inputs = [jnp.stack(both).repeat(2, axis=0) for both in zip(pair, next_pair, strict=True)]
      found, changed = jax.vmap(self._critic.apply)(four, *inputs), {}
      outputs, following = found[:2], found[2:]
    else:
      outputs, changed = self.train(variables, *pair)
      following, _ = self.train(variables if targets is None else targets, *next_pair)
    target = jax.lax.stop_gradient(target_of(self._value(following)))
    q = self._value(outputs)
    # [B] and [2, B] alone: a reward [B, 1] would be broadcast.
    chex.assert_rank(target, 1)
    chex.assert_shape(q, (2, *target.shape))
    if self.settings.bins:
      wanted = two_hot(target / self.settings.value_range, self.settings.bins)
      errors = optax.softmax_cross_entropy(outputs, wanted[None])
    else:
      errors = jnp.square(q - target[None])
    return jnp.mean(jnp.sum(errors, axis=0)), (q, changed)

  def projected(self, variables: Any) -> Any:
    """Returns the variables with each hidden unit's incoming weights of norm 1, where asked."""
    if not self.settings.unit_norm:
      return variables

    def project(path, leaf):
      names = [entry.key for entry in path]
      if "Mlp_0" not in names or names[-1] != "kernel":
        return leaf
      return leaf / jnp.maximum(jnp.linalg.norm(leaf, axis=1, keepdims=True), 1e-8)

    params = jax.tree_util.tree_map_with_path(project, variables["params"])
    return {**variables, "params": params}

  def _value(self, outputs: jax.Array) -> jax.Array:
    if not self.settings.bins:
      return outputs
    return expected_value(outputs) * self.settings.value_range
