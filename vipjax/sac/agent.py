"""Soft actor-critic (Haarnoja et al., arXiv:1812.05905): one state, one pure update.

There are two critics, whose lesser target counts; the temperature follows a target entropy. The
actor is a Gaussian squashed by tanh; its log probability is written out here.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from vipjax.runtime import parallel, ranges, skips
from vipjax.sac import replay as replay_lib
from vipjax.sac.networks import Actor, Critic
from vipjax.types import Transition


@dataclasses.dataclass(frozen=True)
class SacSettings:
  """Hyperparameters; the defaults are those of configs/paper.py.

  Attributes:
    hidden: widths of the hidden layers of actor and critics.
    batch_size: transitions per update.
    discount: gamma.
    target_rate: how far the target critics move towards the critics at each update, 0 to 1.
    learning_rate: Adam's, for actor, critics and temperature.
    init_temperature: entropy temperature at the start.
    min_temperature: the temperature never falls below it; 0 is the published algorithm. Where the
      temperature dies early, exploration ends before the object has ever moved.
    target_entropy: nats; None is minus half the number of actions.

  Raises:
    UserError: one of them is out of its range.
  """

  hidden: tuple[int, ...] = (256, 256)
  batch_size: int = 256
  discount: float = 0.99
  target_rate: float = 0.005
  learning_rate: float = 3e-4
  init_temperature: float = 0.1
  min_temperature: float = 0.0
  target_entropy: float | None = None

  def __post_init__(self):
    ranges.check("policy", vars(self))


class SacState(NamedTuple):
  """Everything of the agent that learning changes (a pytree).

  Attributes:
    step: int32 scalar, updates done.
    key: random key; update i uses fold_in(key, i).
    actor, critic, target_critic: parameters; both critics' leaves are stacked, [2, ...].
    log_temperature: float32 scalar.
    actor_opt, critic_opt, temperature_opt: Adam's states.
    skipped: int32 [2], updates that were not finite and changed nothing: in all, and in a row up
      to now.
  """

  step: jax.Array
  key: jax.Array
  actor: Any
  critic: Any
  target_critic: Any
  log_temperature: jax.Array
  actor_opt: Any
  critic_opt: Any
  temperature_opt: Any
  skipped: jax.Array


def init_agent(
  key: jax.Array, observation_size: int, num_actions: int, settings: SacSettings
) -> SacState:
  """The agent before its first update; `key` gives its weights and its own random key."""
  actor_key, critic_key, own_key = jax.random.split(key, 3)
  observation, action = jnp.zeros(observation_size), jnp.zeros(num_actions)
  actor = Actor(num_actions, settings.hidden).init(actor_key, observation)
  critic = jax.vmap(lambda k: Critic(settings.hidden).init(k, observation, action))(
    jax.random.split(critic_key, 2)
  )
  log_temperature = jnp.log(jnp.float32(settings.init_temperature))
  adam = optax.adam(settings.learning_rate)
  return SacState(
    step=jnp.int32(0),
    key=own_key,
    actor=actor,
    critic=critic,
    target_critic=jax.tree.map(jnp.array, critic),
    log_temperature=log_temperature,
    actor_opt=adam.init(actor),
    critic_opt=adam.init(critic),
    temperature_opt=adam.init(log_temperature),
    skipped=jnp.zeros(2, jnp.int32),
  )


def squash(noise: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The tanh-Gaussian action in [-1, 1] of standard normal noise, and its log probability density.

  Args:
    noise, mean, log_std: [..., A].

  Returns:
    The action [..., A] and the density's logarithm [...].
  """
  chex.assert_equal_shape([noise, mean, log_std])
  raw = mean + jnp.exp(log_std) * noise
  gaussian = -0.5 * jnp.square(noise) - log_std - 0.5 * math.log(2.0 * math.pi)
  # log(1 - tanh(x)^2), in the form that does not cancel for large |x|.
  log_slope = 2.0 * (math.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
  return jnp.tanh(raw), jnp.sum(gaussian - log_slope, axis=-1)


def make_policy(num_actions: int, settings: SacSettings, deterministic: bool) -> Callable:
  """(actor parameters, observations [..., O], key) -> actions [..., A].

  A deterministic policy acts by the tanh of the mean and ignores the key.
  """
  actor = Actor(num_actions, settings.hidden)

  def policy(params, observation, key):
    mean, log_std = actor.apply(params, observation)
    if deterministic:
      return jnp.tanh(mean)
    return squash(jax.random.normal(key, mean.shape), mean, log_std)[0]

  return policy


@functools.cache
def compile_policy(num_actions: int, settings: SacSettings, deterministic: bool) -> Callable:
  """`make_policy`, compiled; the same arguments give the same function."""
  return jax.jit(make_policy(num_actions, settings, deterministic))


def make_update(
  num_actions: int, settings: SacSettings
) -> Callable[[SacState, Transition], tuple[SacState, dict[str, jax.Array]]]:
  """The pure update (state, batch) -> (state, metrics): critics, then actor, then temperature.

  An update whose losses or gradients are not finite counts in `skipped` and changes nothing else
  but the step, so that the next one draws another batch.
  """
  actor = Actor(num_actions, settings.hidden)
  critics = jax.vmap(Critic(settings.hidden).apply, in_axes=(0, None, None))
  adam = optax.adam(settings.learning_rate)
  target_entropy = settings.target_entropy
  if target_entropy is None:
    target_entropy = -num_actions / 2

  def critic_loss(params, items, state, temperature):
    batch, noise = items
    next_action, log_prob = squash(noise, *actor.apply(state.actor, batch.next_observation))
    next_q = critics(state.target_critic, batch.next_observation, next_action).min(axis=0)
    next_value = next_q - temperature * log_prob
    target = batch.reward + settings.discount * batch.discount * next_value
    q = critics(params, batch.observation, batch.action)
    # [B] and [2, B] alone: a reward [B, 1] would be broadcast.
    chex.assert_rank(target, 1)
    chex.assert_shape(q, (2, *target.shape))
    loss = jnp.mean(jnp.sum(jnp.square(q - jax.lax.stop_gradient(target)[None]), axis=0))
    return loss, {"critic_loss": loss, "q": jnp.mean(q), "q_max": parallel.pmax(jnp.max(q))}

  def actor_loss(params, items, state, temperature):
    batch, noise = items
    action, log_prob = squash(noise, *actor.apply(params, batch.observation))
    q = critics(state.critic, batch.observation, action).min(axis=0)
    loss = jnp.mean(temperature * log_prob - q)
    return loss, {"actor_loss": loss, "entropy": -jnp.mean(log_prob)}

  def temperature_loss(log_temperature, entropy):
    return log_temperature * jax.lax.stop_gradient(entropy - target_entropy)

  def descended(grads, opt_state, params):
    updates, opt_state = adam.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state

  def update(state: SacState, batch: Transition):
    before = state
    keys = jax.random.split(jax.random.fold_in(state.key, state.step))
    critic_noise, actor_noise = (jax.random.normal(key, batch.action.shape) for key in keys)
    temperature = jnp.exp(state.log_temperature)
    critic_grads, metrics = parallel.grad(critic_loss)(
      state.critic, (batch, critic_noise), state, temperature
    )
    critic, critic_opt = descended(critic_grads, state.critic_opt, state.critic)
    state = state._replace(critic=critic, critic_opt=critic_opt)

    actor_grads, actor_metrics = parallel.grad(actor_loss)(
      state.actor, (batch, actor_noise), state, temperature
    )
    new_actor, actor_opt = descended(actor_grads, state.actor_opt, state.actor)

    grad = jax.grad(temperature_loss)(state.log_temperature, actor_metrics["entropy"])
    log_temperature, temperature_opt = descended(grad, state.temperature_opt, state.log_temperature)
    if settings.min_temperature:
      log_temperature = jnp.maximum(log_temperature, math.log(settings.min_temperature))
    state = state._replace(
      actor=new_actor,
      actor_opt=actor_opt,
      target_critic=optax.incremental_update(critic, state.target_critic, settings.target_rate),
      log_temperature=log_temperature,
      temperature_opt=temperature_opt,
    )
    metrics = {**metrics, **actor_metrics, "temperature": temperature}
    norms = optax.tree.norm(critic_grads), optax.tree.norm(actor_grads)
    finite = jnp.isfinite(jnp.stack([*norms, metrics["critic_loss"], metrics["actor_loss"]])).all()
    return skips.keep_finite(finite, state, before), metrics

  return update


def make_update_many(num_actions: int, settings: SacSettings, count: int) -> Callable:
  """(state, replay) -> (state, mean metrics): `count` updates in one dispatch.

  Each draws its own batch from the replay inside the scan; nothing goes through the host.
  `runtime.parallel.compile_step` compiles it for one device, or for many that share each batch.
  """
  update = make_update(num_actions, settings)

  def one(state, _, replay):
    # The update's own keys are numbers 0 and 1 of the same parent.
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2)
    return update(state, replay_lib.sample(key, replay, settings.batch_size))

  def update_many(state: SacState, replay: replay_lib.Replay):
    state, metrics = jax.lax.scan(lambda carry, x: one(carry, x, replay), state, length=count)
    return state, jax.tree.map(jnp.mean, metrics)

  return update_many
