"""The learning loop as one program: act, step, draw, embed, reward, store and update on the device.

It is `sac.rollout` for environments whose steps are JAX's (`vipjax.envs.warp`): nothing goes
through the host but the numbers to log. What a step does, and in which order, is the same, but for
one thing: an update already knows the transitions of its own step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.envs.warp import WarpEnv, WarpState
from vipjax.reward.embedding import EmbeddingReward
from vipjax.runtime.platform import on_cpu
from vipjax.sac import exploration
from vipjax.sac import replay as replay_lib
from vipjax.sac.agent import SacSettings, SacState, compile_acting, make_policy, make_update_many
from vipjax.sac.evaluation import summary
from vipjax.sac.rollout import LoopSettings, LoopStep, ended_episodes
from vipjax.types import Transition

# Steps of all environments in one call. A CPU is slow at convolutions inside a loop.
_SCANNED = 50


class DeviceLoopState(NamedTuple):
  """All that a run goes on from (a pytree).

  Attributes:
    env_steps: int32 scalar, steps of all environments together.
    key: random key of acting.
    agent: the agent.
    replay: its memory.
    env: where the N environments are in their episodes.
    observation: float32 [N, O], on which the agent acts next.
    potential: float32 [N, *state_shape], what the reward remembers of that state.
    returns: float32 [N], sum of the rewards in each present episode.
    succeeded: bool [N], whether each present episode was successful at some step.
  """

  env_steps: jax.Array
  key: jax.Array
  agent: SacState
  replay: replay_lib.Replay
  env: WarpState
  observation: jax.Array
  potential: jax.Array
  returns: jax.Array
  succeeded: jax.Array


class _Told(NamedTuple):
  """What a step says of the episodes that it ended; arrays [N]."""

  truncated: jax.Array
  returns: jax.Array
  distance: jax.Array
  success: jax.Array


def init_device_loop(
  key: jax.Array,
  agent: SacState,
  capacity: int,
  env: WarpEnv,
  reward: EmbeddingReward,
  env_key: jax.Array,
) -> DeviceLoopState:
  """The state before the first step: the environments are reset and seen.

  Args:
    key: random key of acting.
    agent: the agent.
    capacity: transitions that the replay holds.
    env: the environments in which it acts.
    reward: what looks at them.
    env_key: random key of their resets.
  """
  observe, _ = reward.in_program()

  @jax.jit
  def start(common, env_key):
    env_state, observation, frames = env.reset(env_key)
    return env_state, observation, observe(common, frames)[0]

  env_state, observation, potential = start(reward.common, env_key)
  sizes = env.observation_space.shape[0], env.action_space.shape[0]
  return DeviceLoopState(
    env_steps=jnp.int32(0),
    key=key,
    agent=agent,
    replay=replay_lib.init(capacity, *sizes),
    env=env_state,
    observation=observation,
    potential=potential,
    returns=jnp.zeros(env.num_envs),
    succeeded=jnp.zeros(env.num_envs, bool),
  )


def train_device_loop(
  env: WarpEnv,
  reward: EmbeddingReward,
  state: DeviceLoopState,
  sac: SacSettings,
  loop: LoopSettings,
  steps: int | None = None,
) -> Generator[LoopStep, None, None]:
  """Yields the state after one call after another, without end; the caller logs, saves and stops.

  Args:
    env: the environments; their pictures are the reward's.
    reward: computes the rewards, on one device.
    state: where to start; its buffers are donated.
    sac: hyperparameters of the agent.
    loop: how acting and learning alternate.
    steps: of all environments in one call; None is 50, on a CPU 1.

  Yields:
    LoopSteps without `step`; `episodes` are those that ended in the call.
  """
  steps = (1 if on_cpu() else _SCANNED) if steps is None else steps
  one = _make_step(env, *reward.in_program(), sac, loop)

  def several(common, state):
    if steps == 1:
      state, (metrics, told) = one(common, state)
      return state, metrics, jax.tree.map(lambda x: x[None], told)
    state, (metrics, told) = jax.lax.scan(lambda carry, _: one(common, carry), state, length=steps)
    return state, jax.tree.map(lambda x: x[-1], metrics), told

  run = jax.jit(several, donate_argnums=1)
  while True:
    learns = int(state.env_steps) + (steps - 1) * env.num_envs >= loop.warmup_steps
    state, metrics, told = run(reward.common, state)
    told = jax.tree.map(np.asarray, told)
    yield LoopStep(state, metrics if learns else {}, ended_episodes(*told), None, None)


def _make_step(
  env: WarpEnv, observe: Callable, pay: Callable, sac: SacSettings, loop: LoopSettings
) -> Callable:
  """(common, state) -> (state, (metrics, _Told)): one step of all environments and its updates."""
  num_actions, num_envs = env.action_space.shape[0], env.num_envs
  shape = num_envs, num_actions
  act = compile_acting(num_actions, sac, loop.exploration)
  update_many = make_update_many(num_actions, sac, loop.updates_per_step, num_envs)

  def waits(agent, replay):
    told = jax.eval_shape(update_many, agent, replay)[1]
    return agent, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), told)

  def one(common, state: DeviceLoopState):
    warm = state.env_steps < loop.warmup_steps
    action = jnp.where(
      warm,
      exploration.uniform(state.key, state.env_steps, shape, loop.exploration),
      act(state.agent.actor, state.observation, state.key, state.env_steps),
    )
    env_state, step = env.step(state.env, action)
    potential, distances = observe(common, step.frames)
    rewards = pay(common, state.potential, potential)
    replay = replay_lib.add(
      state.replay,
      Transition(
        observation=state.observation,
        action=action,
        reward=rewards,
        # Only termination stops bootstrapping, and these episodes end by their time limit alone.
        discount=jnp.ones(num_envs),
        next_observation=step.observation,
      ),
    )
    after = jax.lax.cond(
      step.truncated.any(), lambda: observe(common, step.reset_frames)[0], lambda: potential
    )
    agent, metrics = jax.lax.cond(warm, waits, update_many, state.agent, replay)
    returns, succeeded = state.returns + rewards, state.succeeded | step.success
    state = DeviceLoopState(
      env_steps=state.env_steps + num_envs,
      key=state.key,
      agent=agent,
      replay=replay,
      env=env_state,
      observation=step.reset_observation,
      potential=after,
      returns=jnp.where(step.truncated, 0.0, returns),
      succeeded=succeeded & ~step.truncated,
    )
    return state, (metrics, _Told(step.truncated, returns, distances.mean(axis=1), succeeded))

  return one


def compile_evaluation(env: WarpEnv, reward: EmbeddingReward, sac: SacSettings) -> Callable:
  """Makes (actor, key, episodes) -> what `sac.evaluation.evaluate` finds of it.

  The key is of the episodes' starts. Where the reward telescopes, pictures are drawn at the first
  and the last step only.

  Args:
    env: the environments that play.
    reward: the reward.
    sac: hyperparameters of the agent.
  """
  observe, pay = reward.in_program()
  policy = make_policy(env.action_space.shape[0], sac, deterministic=True)

  def play(common, actor, key):
    env_state, observation, frames = env.reset(key)
    first = observe(common, frames)[0]
    unknown = jnp.full(env.num_envs, jnp.nan)
    alive = jnp.ones(env.num_envs, bool)

    def one(carry, t, last=False):
      env_state, observation, when, alive, potential, total = carry
      looks = last or not reward.telescopes
      env_state, step = env.step(env_state, policy(actor, observation, key), draw=looks)
      when = jnp.where(jnp.isnan(when) & step.success & alive, t + 1.0, when)
      # What diverged has ended, and another episode has begun.
      alive = alive & ~step.diverged
      distances = None
      if looks:
        before, (potential, distances) = potential, observe(common, step.frames)
        total = total if reward.telescopes else total + pay(common, before, potential)
      return (env_state, step.reset_observation, when, alive, potential, total), (step, distances)

    carry = env_state, observation, unknown, alive, first, jnp.zeros(env.num_envs)
    ends = jnp.arange(env.horizon - 1, dtype=jnp.float32)
    carry, _ = jax.lax.scan(lambda carry, t: (one(carry, t)[0], None), carry, ends)
    carry, (step, distances) = one(carry, env.horizon - 1.0, last=True)
    *_, when, alive, potential, total = carry
    gain = reward.gain(first, potential) if reward.telescopes else total
    return step.success & alive, jnp.where(alive, gain, 0.0), distances.mean(axis=1), when

  compiled = jax.jit(play)

  def evaluate(actor: Any, key: jax.Array, episodes: int) -> dict[str, float]:
    rounds = -(-episodes // env.num_envs)
    keys = [jax.random.fold_in(key, each) for each in range(rounds)]
    rows = [compiled(reward.common, actor, each) for each in keys]
    parts = [np.concatenate(part)[:episodes] for part in zip(*rows, strict=True)]
    return summary(*parts)

  return evaluate
