"""Conservative Q-learning on recorded transitions, with SAC's networks and state.

The form is V-PTR's (arXiv:2309.13041): samples of the uniform distribution and of the policy, a
maximal backup without entropy, and the data's returns as the floor of the policy's samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vipjax.losses import conservative_loss, monte_carlo_returns, td_target
from vipjax.runtime import ranges, skips
from vipjax.runtime.errors import UserError
from vipjax.sac.agent import SacSettings, SacState, network, normalized, squash
from vipjax.sac.critic import Critics
from vipjax.sac.networks import Actor
from vipjax.sac.sight import Sight, learnt, with_learnt
from vipjax.types import Trajectory, Transition

# Settings of SAC that have no meaning here, with the values that leave them out.
_LEFT_OUT = {"n_step": 1, "reset_every": 0, "normalize_rewards": False, "min_temperature": 0.0}


@dataclasses.dataclass(frozen=True)
class ConservativeSettings:
  """Hyperparameters beside those of SAC.

  Attributes:
    samples: K, actions drawn of the uniform distribution, of pi(s), and of pi(s') for the backup.
    conservative_weight: alpha, of the conservative loss beside the Bellman error; 0: SAC on data.
    bound: whether returns of the data bound the Q-values of the policy's samples from below.
    max_backup: whether the greatest of K next actions counts; else one is drawn.
    actor_learning_rate: Adam's for the actor; critics and temperature have SAC's.
    clone_updates: first updates in which the actor clones the data's actions instead of following
      the critics; as many as all: behaviour cloning.

  Raises:
    UserError: one of them is out of its range.
  """

  samples: int
  conservative_weight: float
  bound: bool
  max_backup: bool
  actor_learning_rate: float
  clone_updates: int

  def __post_init__(self):
    ranges.check("vptr", vars(self))


@dataclasses.dataclass(frozen=True)
class OfflineSettings:
  """How recorded steps become transitions.

  Attributes:
    reward_scale, reward_shift: a step is paid scale x reward + shift.
    action_limit: actions are clipped to +-this, because the log density of +-1 under a policy that
      ends in a tanh is infinite.
    discount: gamma of the returns.
  """

  reward_scale: float
  reward_shift: float
  action_limit: float
  discount: float

  def __post_init__(self):
    values = {name: value for name, value in vars(self).items() if name != "discount"}
    ranges.check("vptr", values)


class OfflineData(NamedTuple):
  """Recorded transitions (a pytree).

  Attributes:
    transitions: leaves [N, ...]; discount is 0 where a reward was earned or the episode ended for
      good.
    returns: float32 [N], discounted, of the episode from there on.
    numbers: int32 [N], which of the frames the observation is of; the next observation's follows
      it. None in a batch, and where no encoder learns.
    frames: uint8 [M, H, W, 3], of all observations; in a batch [B, 2, H, W, 3], before and after
      each step. None where no encoder learns.
  """

  transitions: Transition
  returns: Any
  numbers: Any = None
  frames: Any = None


def make_offline(trajectories: Sequence[Trajectory], settings: OfflineSettings) -> OfflineData:
  """Makes transitions of trajectories, with returns.

  A step with a reward above 0 is terminal, as V-PTR has it. An episode that was cut off earns the
  reward of a step without one for ever.

  Args:
    trajectories: at least one; their observations are what the agent sees. If they have frames, so
      has what is made of them.
    settings: see there.

  Raises:
    UserError: no trajectories, frames in some of them or of several sizes, or not one reward but 0.
  """
  if not any(np.any(each.rewards) for each in trajectories):
    raise UserError(
      f"expected rewards other than 0 in the data, got {len(trajectories)} episodes without; give "
      "data of which some episodes succeed."
    )
  earned = [settings.reward_scale * each.rewards + settings.reward_shift for each in trajectories]
  masks = [each.discounts * (each.rewards <= 0) for each in trajectories]
  # All episodes in one row, each with a last step more that stands for what follows a cut.
  following = settings.reward_shift / max(1.0 - settings.discount, 1e-6)
  returns = monte_carlo_returns(
    np.concatenate([np.append(each, following) for each in earned]).astype(np.float32),
    np.concatenate([np.append(each, 0.0) for each in masks]).astype(np.float32),
    settings.discount,
  )
  is_step = np.concatenate([np.append(np.ones(len(each), bool), False) for each in earned])
  limit = settings.action_limit
  transitions = Transition(
    np.concatenate([each.observations[:-1] for each in trajectories]),
    np.clip(np.concatenate([each.actions for each in trajectories]), -limit, limit),
    np.concatenate(earned),
    np.concatenate(masks),
    np.concatenate([each.observations[1:] for each in trajectories]),
  )
  as_float = [np.asarray(leaf, np.float32) for leaf in transitions]
  made = OfflineData(Transition(*as_float), np.asarray(returns)[is_step])
  shown = [each.frames is not None for each in trajectories]
  if not any(shown):
    return made
  if not all(shown):
    raise UserError(
      f"expected frames in all of the data or in none, got {sum(shown)} of {len(shown)} episodes "
      "with frames; record the others, too."
    )
  sizes = sorted({each.frames.shape[1:3] for each in trajectories})
  if len(sizes) > 1:
    raise UserError(
      "expected frames of one size in the data from which an encoder learns, got "
      f"{', '.join(f'{height}x{width}' for height, width in sizes)} (height x width); record them "
      "alike, or set config.vptr.encoder_learns to False."
    )
  frames = np.concatenate([each.frames for each in trajectories])
  return made._replace(numbers=np.flatnonzero(is_step).astype(np.int32), frames=frames)


def with_statistics(state: SacState, data: OfflineData, plain: int, seen: int = 0) -> SacState:
  """Returns the agent that sees observations by the data's mean and deviation, once for all.

  Args:
    state: of an agent with `normalize_observations`.
    data: what it will learn from.
    plain: so many last entries stay as they are.
    seen: so many first ones, which an encoder that learns gives, too.
  """
  recorded = data.transitions.observation
  mean, variance = recorded.mean(axis=0), recorded.var(axis=0)
  number = np.arange(recorded.shape[1])
  kept = (number < seen) | (number >= len(number) - plain)
  statistics = {
    "mean": jnp.asarray(np.where(kept, np.float32(0), mean)),
    "variance": jnp.asarray(np.where(kept, np.float32(1), variance)),
  }
  return state._replace(actor={**state.actor, "statistics": statistics})


def log_density(actions: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
  """The log density [...] of actions within (-1, 1), [..., A], under a tanh-Gaussian policy."""
  return squash((jnp.arctanh(actions) - mean) / jnp.exp(log_std), mean, log_std)[1]


def make_conservative_update(
  num_actions: int, sac: SacSettings, settings: ConservativeSettings, sight: Sight | None = None
) -> Callable[[SacState, OfflineData], tuple[SacState, dict[str, jax.Array]]]:
  """The pure update (state, batch) -> (state, metrics): critics, then actor, then temperature.

  As SAC's, an update that is not finite changes nothing but the step and the count. Metrics of
  health: "q_data", "q_pi" and "q_random", mean Q-values of the data's, the policy's and uniform
  actions; "bounded", the share of the policy's samples that returns bound; "return", the mean of
  the returns, "q_above_return", by how much the Q-values of the data's actions are above them, and
  "q_return_correlation" of the two.

  Args:
    num_actions: A.
    sac, settings: see there.
    sight: how actor and critics see by encoders of their own, which learn (`with_encoders` adds
      them to the agent); None takes the embeddings of the data.

  Raises:
    UserError: settings of SAC that conservative Q-learning does not have.
  """
  wrong = [name for name, value in _LEFT_OUT.items() if getattr(sac, name) != value]
  if wrong or sac.critic.bins or sac.critic.norm == "batch":
    raise UserError(
      "expected config.policy without n_step, reset_every, normalize_rewards and min_temperature, "
      "and a critic of norm 'layer' or 'none' with bins = 0, for conservative Q-learning, got "
      f"{', '.join(wrong) or sac.critic}; set them back to the values of configs/vptr.py."
    )
  actor, critics = Actor(num_actions, sac.hidden), Critics(sac.critic, sac.hidden)
  adam, actor_adam = optax.adam(sac.learning_rate), optax.adam(settings.actor_learning_rate)
  target_entropy = -num_actions / 2 if sac.target_entropy is None else sac.target_entropy
  count = settings.samples

  def seen(variables, actor, observation, frames):
    """Observations as a network sees them, by its own encoder if it has one."""
    if sight is not None:
      observation = sight.seen(variables["encoder"], observation, frames)
    return normalized(actor, observation)

  def draw(variables, observation, noise):
    """Actions of the policy [B, K, A] with their log densities [B, K]."""
    mean, log_std = actor.apply(network(variables), observation)
    spread = [jnp.broadcast_to(each[:, None], noise.shape) for each in (mean, log_std)]
    return squash(noise, *spread)

  def q_of(variables, observation, actions):
    """Q-values [2, B, K] of K actions for each observation."""
    shape = (*actions.shape[:2], observation.shape[-1])
    return critics(network(variables), jnp.broadcast_to(observation[:, None], shape), actions)

  def critic_loss(changed, state, batch, returns, frames, noise, next_noise, uniform):
    variables, policy = with_learnt(state.critic, changed), state.actor
    now, following = (batch.observation, frames[0]), (batch.next_observation, frames[1])
    next_actions, _ = draw(policy, seen(policy, policy, *following), next_noise)
    next_q = q_of(state.target_critic, seen(state.target_critic, policy, *following), next_actions)
    target = td_target(batch.reward, batch.discount, next_q, sac.discount)
    actions, log_probs = jax.lax.stop_gradient(draw(policy, seen(policy, policy, *now), noise))
    every = jnp.concatenate([batch.action[:, None], actions, uniform], axis=1)
    q_every = q_of(variables, seen(variables, policy, *now), every)
    q_data, q_samples = q_every[..., 0], q_every[..., 1:]
    q_pi, q_random = jnp.split(q_samples, 2, axis=-1)
    densities = jnp.full(log_probs.shape, -num_actions * math.log(2.0))
    difference = conservative_loss(
      q_data,
      q_samples,
      jnp.concatenate([log_probs, densities], axis=-1),
      floor=returns if settings.bound else None,
      from_policy=np.arange(2 * count) < count,
    )
    bellman = jnp.mean(jnp.square(q_data - target[None]))
    loss = bellman + settings.conservative_weight * jnp.mean(difference)
    bounded = (q_pi < returns[None, :, None]) if settings.bound else jnp.zeros(1)
    q = q_data.mean(axis=0)
    spread = jnp.std(q) * jnp.std(returns)
    together = jnp.mean((q - q.mean()) * (returns - returns.mean())) / jnp.maximum(spread, 1e-6)
    return loss, {
      "critic_loss": loss, "bellman_error": bellman, "conservative": jnp.mean(difference),
      "q_data": jnp.mean(q), "q_pi": jnp.mean(q_pi), "q_random": jnp.mean(q_random),
      "bounded": jnp.mean(bounded), "return": jnp.mean(returns),
      "q_above_return": jnp.mean(q - returns), "q_return_correlation": together,
    }  # fmt: skip

  def actor_loss(changed, state, batch, frames, noise, temperature):
    variables, now = with_learnt(state.actor, changed), (batch.observation, frames[0])
    mean, log_std = actor.apply(network(variables), seen(variables, state.actor, *now))
    action, log_prob = squash(noise, mean, log_std)
    q = critics(network(state.critic), seen(state.critic, state.actor, *now), action).min(axis=0)
    cloned = log_density(batch.action, mean, log_std)
    sought = jnp.where(state.step < settings.clone_updates, cloned, q)
    loss = jnp.mean(temperature * log_prob - sought)
    return loss, {
      "actor_loss": loss, "entropy": -jnp.mean(log_prob), "log_density": jnp.mean(cloned),
    }  # fmt: skip

  def descended(optimizer, grads, opt_state, params):
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state

  def update(state: SacState, data: OfflineData):
    before, batch, returns = state, data.transitions, data.returns
    key = jax.random.fold_in(state.key, state.step)
    keys, frames = jax.random.split(key), (None, None)
    if sight is not None:
      # Numbers 0 and 1 are `keys`, 2 draws the batch.
      both = sight.changed(jax.random.fold_in(key, 3), data.frames)
      frames = both[:, 0], both[:, 1]
    rows, next_count = len(batch.action), count if settings.max_backup else 1
    # One draw for all: each is slow to compile.
    drawn = jax.random.normal(keys[0], (rows, count + next_count + 1, num_actions))
    noise, next_noise, actor_noise = jnp.split(drawn, [count, count + next_count], axis=1)
    uniform = jax.random.uniform(keys[1], (rows, count, num_actions), minval=-1.0, maxval=1.0)
    critic_grads, metrics = jax.grad(critic_loss, has_aux=True)(
      learnt(state.critic), state, batch, returns, frames, noise, next_noise, uniform
    )
    changed, critic_opt = descended(adam, critic_grads, state.critic_opt, learnt(state.critic))
    critic = critics.projected(with_learnt(state.critic, changed))
    state = state._replace(critic=critic, critic_opt=critic_opt)

    temperature = jnp.exp(state.log_temperature)
    changed = learnt(state.actor)
    actor_grads, actor_metrics = jax.grad(actor_loss, has_aux=True)(
      changed, state, batch, frames, actor_noise[:, 0], temperature
    )
    changed, actor_opt = descended(actor_adam, actor_grads, state.actor_opt, changed)
    # Of T (entropy - target), whose gradient to log T is taken as in SAC.
    grad = actor_metrics["entropy"] - target_entropy
    log_temperature, temperature_opt = descended(
      adam, grad, state.temperature_opt, state.log_temperature
    )
    state = state._replace(
      actor=with_learnt(state.actor, changed),
      actor_opt=actor_opt,
      target_critic=optax.incremental_update(critic, state.target_critic, sac.target_rate),
      log_temperature=log_temperature,
      temperature_opt=temperature_opt,
    )
    metrics = {**metrics, **actor_metrics, "temperature": temperature}
    norms = optax.tree.norm(critic_grads), optax.tree.norm(actor_grads)
    losses = metrics["critic_loss"], metrics["actor_loss"]
    finite = jnp.isfinite(jnp.stack([*norms, *losses])).all()
    return skips.keep_finite(finite, state, before), metrics

  return update


def make_offline_updates(
  update: Callable, counts: Sequence[int], updates: int
) -> Callable[[SacState, Sequence[OfflineData]], tuple[SacState, dict[str, jax.Array]]]:
  """(state, data sets) -> (state, mean metrics): several updates in one dispatch; jit it.

  Args:
    update: of `make_conservative_update`.
    counts: rows of each batch that come from each data set, drawn uniformly.
    updates: how many.
  """

  starts = np.cumsum([0, *counts[:-1]])

  def one(state, _, datasets):
    # The update's own keys are numbers 0 and 1 of the same parent.
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2)
    sizes = np.repeat([len(data.returns) for data in datasets], counts)
    rows = jax.random.randint(key, sizes.shape, 0, sizes)
    parts = [
      _rows(data, rows[start : start + count])
      for data, start, count in zip(datasets, starts, counts, strict=True)
    ]
    batch = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return update(state, batch)

  def update_many(state: SacState, datasets: Sequence[OfflineData]):
    if updates == 1:
      return one(state, None, datasets)
    state, metrics = jax.lax.scan(lambda carry, x: one(carry, x, datasets), state, length=updates)
    return state, jax.tree.map(jnp.mean, metrics)

  return update_many


def _rows(data: OfflineData, rows: jax.Array) -> OfflineData:
  """A batch of these rows, with both frames of each."""
  transitions, returns = jax.tree.map(lambda leaf: leaf[rows], (data.transitions, data.returns))
  if data.frames is None:
    return OfflineData(transitions, returns)
  numbers = data.numbers[rows]
  frames = data.frames[jnp.stack([numbers, numbers + 1], axis=1)]
  return OfflineData(transitions, returns, frames=frames)
