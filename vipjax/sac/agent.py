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
from vipjax.runtime.platform import on_cpu
from vipjax.sac import exploration
from vipjax.sac import replay as replay_lib
from vipjax.sac.critic import Critics, CriticSettings
from vipjax.sac.networks import Actor
from vipjax.sac.packed import has_packed, pack, unpack
from vipjax.types import Transition

# Above it arithmetic counts on an accelerator, and joined critics have more of it.
_JOINED_BATCH = 1024


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
    n_step: rewards that are summed before the target critics' value, at least 1; what the policy
      would have added in entropy on the way is left out.
    reset_every: updates after which networks, temperature and optimizers start anew, while the
      replay stays (arXiv:2205.07802); 0 is never.
    normalize_observations: whether actor and critics see observations less their running mean, over
      their running deviation.
    normalize_rewards: whether critics see rewards over their running root mean square, times
      sqrt(1 - discount^2): returns of independent rewards would have a deviation of 1.
    critic: what the critics are.

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
  n_step: int = 1
  reset_every: int = 0
  normalize_observations: bool = False
  normalize_rewards: bool = False
  critic: CriticSettings = CriticSettings()

  def __post_init__(self):
    ranges.check("policy", vars(self))


class SacState(NamedTuple):
  """Everything of the agent that learning changes (a pytree).

  Attributes:
    step: int32 scalar, updates done.
    key: random key; update i uses fold_in(key, i).
    actor, critic, target_critic: variables; both critics' leaves are stacked, [2, ...]. The actor's
      may have running "statistics" of observations, the critic's such of rewards.
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
  critics = Critics(settings.critic, settings.hidden)
  critic = critics.init(critic_key, observation, action)
  log_temperature = jnp.log(jnp.float32(settings.init_temperature))
  adam = optax.adam(settings.learning_rate)
  actor_opt, critic_opt = (adam.init(network(variables)) for variables in (actor, critic))
  if settings.normalize_observations:
    statistics = {"mean": observation, "variance": jnp.ones_like(observation)}
    actor = {**actor, "statistics": statistics}
  if settings.normalize_rewards:
    critic = {**critic, "statistics": {"mean_square": jnp.ones(2)}}
  return SacState(
    step=jnp.int32(0),
    key=own_key,
    actor=actor,
    critic=critic,
    target_critic=jax.tree.map(jnp.array, critic),
    log_temperature=log_temperature,
    actor_opt=actor_opt,
    critic_opt=critic_opt,
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


@functools.cache
def compile_acting(
  num_actions: int, settings: SacSettings, noise: exploration.ExplorationSettings
) -> Callable:
  """(actor, observations [N, O], the run's key, steps so far) -> actions [N, A], compiled.

  The actions are drawn by the policy, from noise that is correlated over time as `noise` says.
  """
  actor = Actor(num_actions, settings.hidden)

  def act(variables, observation, key, env_steps):
    drawn = exploration.normal(key, env_steps, (len(observation), num_actions), noise)
    return squash(drawn, *actor.apply(network(variables), normalized(variables, observation)))[0]

  return jax.jit(act)


def network(variables: Any) -> Any:
  """What the network itself is of an agent's variables; it is all that SAC's optimizer changes."""
  return {"params": variables["params"]}


def normalized(actor: Any, observation: jax.Array) -> jax.Array:
  """Returns observations [..., O] as the networks see them, by the statistics that an actor has.

  A coordinate that hardly varied keeps a deviation of .01, so that an object that has never moved
  and then moves by a centimetre is seen, and one by far more is not taken for anything else.
  """
  if "statistics" not in actor:
    return observation
  known = jax.tree.map(lambda x: jnp.broadcast_to(x, observation.shape), actor["statistics"])
  scaled = (observation - known["mean"]) / jnp.sqrt(known["variance"] + 1e-4)
  return jnp.clip(scaled, -10.0, 10.0)


def make_policy(num_actions: int, settings: SacSettings, deterministic: bool) -> Callable:
  """(actor parameters, observations [..., O], key) -> actions [..., A].

  A deterministic policy acts by the tanh of the mean and ignores the key.
  """
  actor = Actor(num_actions, settings.hidden)

  def policy(variables, observation, key):
    mean, log_std = actor.apply(network(variables), normalized(variables, observation))
    if deterministic:
      return jnp.tanh(mean)
    return squash(jax.random.normal(key, mean.shape), mean, log_std)[0]

  return policy


@functools.cache
def compile_policy(num_actions: int, settings: SacSettings, deterministic: bool) -> Callable:
  """`make_policy`, compiled; the same arguments give the same function."""
  return jax.jit(make_policy(num_actions, settings, deterministic))


def make_update(
  num_actions: int, settings: SacSettings, joined: bool = False
) -> Callable[[SacState, Transition], tuple[SacState, dict[str, jax.Array]]]:
  """The pure update (state, batch) -> (state, metrics): critics, then actor, then temperature.

  An update whose losses or gradients are not finite counts in `skipped` and changes nothing else
  but the step, so that the next one draws another batch. The networks of the state may be packed
  (`sac.packed`). A third argument is the result of `draw_noise`, if drawn before. With `joined` the
  critics and their targets are computed as one (`Critics.loss`).
  """
  actor = Actor(num_actions, settings.hidden)
  critics = Critics(settings.critic, settings.hidden)
  adam = optax.adam(settings.learning_rate)
  target_entropy = settings.target_entropy
  if target_entropy is None:
    target_entropy = -num_actions / 2

  def critic_loss(params, items, state, temperature):
    batch, noise = items
    next_action, log_prob = squash(noise, *actor.apply(state.actor, batch.next_observation))

    def target_of(next_q):
      next_value = next_q.min(axis=0) - temperature * log_prob
      return batch.reward + settings.discount * batch.discount * next_value

    loss, (q, changed) = critics.loss(
      {**state.critic, **params},
      None if settings.target_rate == 1 else state.target_critic,
      (batch.observation, batch.action), (batch.next_observation, next_action), target_of,
      joined,
    )  # fmt: skip
    metrics = {"critic_loss": loss, "q": jnp.mean(q), "q_max": parallel.pmax(jnp.max(q))}
    return loss, (metrics, changed)

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

  def update(state: SacState, batch: Transition, noise: tuple[jax.Array, jax.Array] | None = None):
    packed = pack if has_packed(state.actor) else lambda tree: tree

    def gradients(loss, name, noise):
      trees = state._replace(
        actor=unpack(state.actor), critic=unpack(state.critic),
        target_critic=unpack(state.target_critic),
      )  # fmt: skip
      learnt = network(getattr(trees, name))
      grads, found = parallel.grad(loss)(learnt, (batch, noise), trees, temperature)
      return packed(grads), found

    if settings.reset_every:
      due = (state.step > 0) & (state.step % settings.reset_every == 0)
      restarted = lambda state, batch: packed(_restarted(unpack(state), batch, settings))  # noqa: E731
      state = jax.lax.cond(due, restarted, lambda state, batch: state, state, batch)
    before = state
    state, batch = _normalize(state, batch, settings)
    if noise is None:
      noise = draw_noise(state.key, state.step, batch.action.shape)
    critic_noise, actor_noise = noise
    temperature = jnp.exp(state.log_temperature)
    critic_grads, (metrics, changed) = gradients(critic_loss, "critic", critic_noise)
    critic, critic_opt = descended(critic_grads, state.critic_opt, network(state.critic))
    critic = {**state.critic, **critic, **changed}
    if settings.critic.unit_norm:
      critic = packed(critics.projected(unpack(critic)))
    state = state._replace(critic=critic, critic_opt=critic_opt)

    actor_grads, actor_metrics = gradients(actor_loss, "actor", actor_noise)
    new_actor, actor_opt = descended(actor_grads, state.actor_opt, network(state.actor))

    grad = jax.grad(temperature_loss)(state.log_temperature, actor_metrics["entropy"])
    log_temperature, temperature_opt = descended(grad, state.temperature_opt, state.log_temperature)
    if settings.min_temperature:
      log_temperature = jnp.maximum(log_temperature, math.log(settings.min_temperature))
    state = state._replace(
      actor={**state.actor, **new_actor},
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


def draw_noise(
  key: jax.Array, step: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
  """Standard normal noise of the actions of an update's critic and actor losses, [B, A] each."""
  keys = jax.random.split(jax.random.fold_in(key, step))
  critic_noise, actor_noise = (jax.random.normal(each, shape) for each in keys)
  return critic_noise, actor_noise


def _restarted(state: SacState, batch: Transition, settings: SacSettings) -> SacState:
  """Returns a new agent of a batch's sizes; step, key, counts and statistics go on."""
  key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 3)
  fresh = init_agent(key, batch.observation.shape[-1], batch.action.shape[-1], settings)
  return fresh._replace(
    step=state.step,
    key=state.key,
    actor={**state.actor, **network(fresh.actor)},
    critic={**state.critic, **network(fresh.critic)},
    target_critic={**state.target_critic, **network(fresh.target_critic)},
    skipped=state.skipped,
  )


def _normalize(
  state: SacState, batch: Transition, settings: SacSettings
) -> tuple[SacState, Transition]:
  """Returns the state with the statistics that follow a batch, and the batch by them."""
  # The plain mean of the first batches; later ones count for more than the first.
  rate = 1.0 / jnp.minimum(state.step + 1.0, 1000.0)
  if settings.normalize_observations:
    known = state.actor["statistics"]
    mean = known["mean"] + rate * (batch.observation.mean(axis=0) - known["mean"])
    square = jnp.square(batch.observation - mean[None]).mean(axis=0)
    variance = known["variance"] + rate * (square - known["variance"])
    actor = {**state.actor, "statistics": {"mean": mean, "variance": variance}}
    state = state._replace(actor=actor)
    batch = batch._replace(
      observation=normalized(actor, batch.observation),
      next_observation=normalized(actor, batch.next_observation),
    )
  if settings.normalize_rewards:
    known = state.critic["statistics"]["mean_square"]
    mean_square = known + rate * (jnp.square(batch.reward).mean() - known)  # of both critics
    critic = {**state.critic, "statistics": {"mean_square": mean_square}}
    state = state._replace(critic=critic)
    factor = math.sqrt(1.0 - settings.discount**2)
    batch = batch._replace(reward=batch.reward * factor / jnp.sqrt(mean_square[0] + 1e-8))
  return state, batch


def make_update_many(
  num_actions: int,
  settings: SacSettings,
  count: int,
  num_envs: int = 1,
  few_kernels: bool | None = None,
) -> Callable:
  """(state, replay) -> (state, mean metrics): `count` updates in one dispatch.

  Each has its own batch from the replay; nothing goes through the host. The replay's next state of
  a row is `num_envs` rows further. `runtime.parallel.compile_step` compiles it for one device, or
  for many that share each batch.

  Args:
    num_actions, settings: as for `make_update`.
    count: how many updates.
    num_envs: transitions of a step.
    few_kernels: whether the scan carries packed networks (`sac.packed`), all batches and noise are
      drawn before it, and small batches go through critics and targets at once. The numbers are
      the same but for how sums are rounded. None is no on a CPU, where the launching of kernels
      costs nothing, and yes elsewhere.
  """
  few_kernels = not on_cpu() if few_kernels is None else few_kernels
  update = make_update(
    num_actions, settings, joined=few_kernels and settings.batch_size <= _JOINED_BATCH
  )

  def drawn(key, step, replay):
    # The update's own keys are numbers 0 and 1 of the same parent.
    key = jax.random.fold_in(jax.random.fold_in(key, step), 2)
    return replay_lib.sample(
      key, replay, settings.batch_size, settings.n_step, settings.discount, num_envs
    )

  def update_many(state: SacState, replay: replay_lib.Replay):
    if few_kernels:
      steps, shape = state.step + jnp.arange(count), (settings.batch_size, num_actions)
      batches = jax.vmap(lambda step: drawn(state.key, step, replay))(steps)
      noise = jax.vmap(lambda step: draw_noise(state.key, step, shape))(steps)
      state, metrics = jax.lax.scan(
        lambda state, items: update(state, *items), pack(state), (batches, noise)
      )
      state = unpack(state)
    else:
      state, metrics = jax.lax.scan(
        lambda state, _: update(state, drawn(state.key, state.step, replay)), state, length=count
      )
    return state, jax.tree.map(jnp.mean, metrics)

  return update_many
