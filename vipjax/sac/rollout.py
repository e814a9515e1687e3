"""The learning loop as a generator: act, step, embed, reward, store, update."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vipjax.envs import Episodes, FrameVectorEnv, Seen, Step
from vipjax.reward.embedding import EmbeddingReward
from vipjax.reward.interface import Reward
from vipjax.runtime import parallel, ranges
from vipjax.runtime.platform import on_cpu
from vipjax.sac import exploration
from vipjax.sac import replay as replay_lib
from vipjax.sac.agent import SacSettings, SacState, compile_acting, make_update_many
from vipjax.sac.exploration import ExplorationSettings
from vipjax.sac.seeds import Agents
from vipjax.types import Transition


@dataclasses.dataclass(frozen=True)
class LoopSettings:
  """How acting and learning alternate; the defaults are those of configs/paper.py.

  Attributes:
    updates_per_step: updates for one step of all environments together, at least 1.
    warmup_steps: environment steps with uniformly random actions before the first update, at
      least 1.
    exploration: how the noise of actions is correlated over time.

  Raises:
    UserError: one of them is below 1.
  """

  updates_per_step: int = 9
  warmup_steps: int = 5000
  exploration: ExplorationSettings = ExplorationSettings()

  def __post_init__(self):
    # Without warm-up the first update would draw from an empty replay.
    ranges.check("policy", vars(self))


class LoopState(NamedTuple):
  """What a checkpoint holds, so that a run goes on as if it had never stopped (a pytree).

  At 0 env_steps only the first four have a meaning. Of several agents key, agent and replay are
  stacked (`Agents.stack`), and all agents' environments are N.

  Attributes:
    env_steps: int32 scalar of the host, steps of all environments of an agent together.
    key: random key of acting.
    agent: the agent.
    replay: its memory.
    episodes: where the N environments are in their episodes.
    observation: float32 [N, O], on which the agent acts next.
    potential: float32 [N, *state_shape], what the reward remembers of that state: its potential,
      for most.
    returns: float64 [N], sum of the rewards in each present episode.
    succeeded: bool [N], whether each present episode was successful at some step.
  """

  env_steps: np.ndarray
  key: jax.Array
  agent: SacState
  replay: replay_lib.Replay
  episodes: Episodes
  observation: np.ndarray
  potential: np.ndarray
  returns: np.ndarray
  succeeded: np.ndarray


class LoopStep(NamedTuple):
  """One step of all environments.

  Attributes:
    state: the state after it.
    metrics: scalars of the last updates, of several agents stacked; {} before the first.
    episodes: one dict per episode that ended at this step, in the order of the environments:
      "return", "distance", "success".
    step: what the environments returned.
    first_frames: uint8 [N, C, H, W, 3], of the first states, with a run's first step; else None.
  """

  state: LoopState
  metrics: dict[str, Any]
  episodes: list[dict[str, float]]
  step: Step
  first_frames: np.ndarray | None


def init_loop(
  key: jax.Array,
  agent: SacState,
  capacity: int,
  env: FrameVectorEnv,
  state_shape: tuple[int, ...] = (),
) -> LoopState:
  """The state before the first step.

  Args:
    key: random key of acting; of several agents as many, stacked.
    agent: the agent, or several stacked.
    capacity: transitions that the replay of each agent holds.
    env: the environments in which it will act.
    state_shape: the reward's.
  """
  n, size, agents = env.num_envs, env.observation_space.shape[0], Agents(key.size)
  memory = replay_lib.init(capacity, size, env.action_space.shape[0])
  return LoopState(
    env_steps=np.asarray(0, np.int32),
    key=key,
    agent=agent,
    replay=agents.stack([memory] * agents.count),
    episodes=env.episodes(),
    observation=np.zeros((n, size), np.float32),
    potential=np.zeros((n, *state_shape), np.float32),
    returns=np.zeros(n),
    succeeded=np.zeros(n, bool),
  )


def train_loop(
  env: FrameVectorEnv,
  reward: Reward,
  state: LoopState,
  sac: SacSettings,
  loop: LoopSettings,
  seed: int | Sequence[int],
  devices: Sequence[jax.Device] | None = None,
  merged: bool | None = None,
) -> Generator[LoopStep, tuple[LoopState, Reward] | None, None]:
  """Yields one step after another without end; the caller logs, saves and stops.

  To change the reward on the way, the caller sends the new reward, and the last state with all that
  this reward changes in it: the loop goes on with these.

  While the workers step and draw, the agent embeds the frames of the step before and updates,
  because an action needs the observation alone. When a step is yielded the workers are already at
  the next one, which is not in `LoopStep.state`.

  Several agents, stacked in `state`, learn in step, each from its own environments and replay: with
  what one alone would have seen and drawn. One call computes the reward of all.

  Args:
    env: the environments; their first channels are the reward's, further ones are for the caller.
    reward: computes the rewards.
    state: where to start; its buffers are donated to the first update.
    sac: hyperparameters of the agent.
    loop: how acting and learning alternate.
    seed: of the environments' first episodes, where `state` is at its first step; of several agents
      one for each.
    devices: they share each update's batch and each hold the whole replay; None is JAX's first.
    merged: whether one program embeds the frames, pays and stores, which only an `EmbeddingReward`
      on one device can. A step is then three dispatches instead of four: act, store, update. None
      is so on accelerators, for which a dispatch is much of a small program's time; on a CPU it is
      not, and the compiler would round differently.
  """
  num_actions, agents = env.action_space.shape[0], Agents(state.key.size)
  num_envs = env.num_envs // agents.count
  act = agents.each(compile_acting(num_actions, sac, loop.exploration), (0, 0, 0, None))
  shape = num_envs, num_actions
  explore = agents.each(
    lambda key, env_steps: exploration.uniform(key, env_steps, shape, loop.exploration), (0, None)
  )
  devices = jax.local_devices()[:1] if devices is None else devices
  update_many = make_update_many(num_actions, sac, loop.updates_per_step, num_envs)
  update = parallel.compile_step(agents.each_update(update_many), devices)
  possible = len(devices) == 1 and isinstance(reward, EmbeddingReward)
  merged = possible and (not on_cpu() if merged is None else merged)
  paying = (_PayingAtOnce if merged else _Paying)(reward, agents, devices)

  def placed(state):
    agent, replay = parallel.replicate((state.agent, state.replay), devices)
    return state._replace(agent=agent, replay=replay)

  state, frames = placed(state), None
  if state.env_steps:
    env.restore(state.episodes)
  else:
    observation, seen = env.reset(seed)
    replay, potential = paying.observe(reward, state._replace(observation=observation), seen)
    state = state._replace(observation=observation, potential=potential, replay=replay)
    frames = seen.frames
  metrics, waiting = {}, None
  try:
    while True:
      observation = waiting[1].reset_observation if waiting else state.observation
      env_steps = int(state.env_steps) + (num_envs if waiting else 0)
      if env_steps < loop.warmup_steps:
        action = explore(state.key, env_steps)
      else:
        action = act(state.agent.actor, agents.by_agent(observation), state.key, env_steps)
      action = np.asarray(action).reshape(env.num_envs, num_actions)
      place = env.step_async(action)
      if waiting:
        state, ended = _account(reward, paying, state, *waiting, place)
        sent = yield LoopStep(state, metrics, ended, waiting[1], frames)
        frames = None
        if sent is not None:
          state, reward = placed(sent[0]), sent[1]
      if env_steps >= loop.warmup_steps:
        agent, metrics = update(state.agent, state.replay)
        state = state._replace(agent=agent)
      waiting = action, env.step_wait()
  finally:
    env.finish_step()


class _Paying:
  """Pays steps and stores their transitions, in a program of the reward and another that stores."""

  def __init__(self, reward: Reward, agents: Agents, devices: Sequence[jax.Device]):
    def insert(replay, new):
      return replay_lib.add(replay, new), {}

    self._agents, self._devices = agents, devices
    self._insert = parallel.compile_step(agents.each(insert), devices)

  def observe(
    self, reward: Reward, state: LoopState, seen: Seen
  ) -> tuple[replay_lib.Replay, np.ndarray]:
    """Returns the replay as it is, and what the reward remembers of first states."""
    return state.replay, reward.observe(seen)[0]

  def store(
    self, reward: Reward, state: LoopState, seen: Seen, new: Transition
  ) -> tuple[replay_lib.Replay, np.ndarray, np.ndarray, np.ndarray]:
    """Adds their rewards to the transitions that led to the seen states, and stores them.

    Returns the replay, the rewards, what the reward remembers, and distances.
    """
    potential, distances = reward.observe(seen)
    rewards = reward.reward(state.potential, potential)
    new = self._agents.by_agent(new._replace(reward=rewards))
    if len(self._devices) > 1:  # One takes them with the call.
      new = parallel.replicate(new, self._devices)
    return self._insert(state.replay, new)[0], rewards, potential, distances


class _PayingAtOnce(_Paying):
  """Does both in one program, which takes the frames and returns the numbers to log."""

  def __init__(self, reward: EmbeddingReward, agents: Agents, devices: Sequence[jax.Device]):
    insert, (observe, pay) = agents.each(replay_lib.add, (0, 0, None)), reward.in_program()

    def embed_and_insert(replay, given):
      common, frames, before, new, keep = given
      potential, distances = observe(common, frames)
      rewards = pay(common, before, potential)
      new = agents.by_agent(new._replace(reward=rewards))
      return insert(replay, new, keep), (rewards, potential, distances)

    self._compiled = parallel.compile_step(embed_and_insert, devices)

  def observe(self, reward, state, seen):
    # The same program, for compiling another one takes longer than it would save.
    observation, count = state.observation, len(state.observation)
    action = np.zeros((count, state.replay.transitions.action.shape[-1]), np.float32)
    nothing = Transition(observation, action, None, np.zeros(count, np.float32), observation)
    replay, (_, potential, _) = self._call(reward, state, seen, nothing, False)
    return replay, potential

  def store(self, reward, state, seen, new):
    replay, found = self._call(reward, state, seen, new, True)
    return replay, *found

  def _call(self, reward, state, seen, new, keep):
    frames = seen.frames[:, : reward.num_channels]
    given = reward.common, frames, state.potential, new, keep
    replay, found = self._compiled(state.replay, given)
    return replay, jax.device_get(found)


def ended_episodes(
  ended: np.ndarray, returns: np.ndarray, distances: np.ndarray, succeeded: np.ndarray
) -> list[dict[str, float]]:
  """`LoopStep.episodes` from arrays of one shape: which episodes ended, and the numbers of all."""
  found = zip(returns[ended], distances[ended], succeeded[ended], strict=True)
  return [
    {"return": float(total), "distance": float(distance), "success": float(success)}
    for total, distance, success in found
  ]


def _account(
  reward: Reward, paying: _Paying, state: LoopState, action: np.ndarray, step: Step, place: Episodes
) -> tuple[LoopState, list[dict[str, float]]]:
  """Pays a step and stores its transitions; returns the episodes that it ended."""
  transitions = Transition(
    observation=state.observation,
    action=action,
    reward=None,
    # Only termination stops bootstrapping, and these episodes end by their time limit alone.
    discount=np.ones(len(action), np.float32),
    next_observation=step.observation,
  )
  replay, rewards, potential, distances = paying.store(reward, state, step.seen, transitions)
  returns, succeeded = state.returns + rewards, state.succeeded | step.success
  ended = ended_episodes(step.truncated, returns, distances.mean(axis=1), succeeded)
  if step.truncated.any():
    state = state._replace(replay=replay)
    replay, potential = paying.observe(reward, state, step.reset_seen)
  state = state._replace(
    # On the host: as an array of the device the sum would be a program.
    env_steps=np.asarray(int(state.env_steps) + len(action) // state.key.size, np.int32),
    replay=replay,
    episodes=place,
    observation=step.reset_observation,
    potential=potential,
    returns=np.where(step.truncated, 0.0, returns),
    succeeded=succeeded & ~step.truncated,
  )
  return state, ended
