"""Success and return of policies, over whole episodes without exploration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from vipjax.envs import FrameVectorEnv
from vipjax.reward.interface import Reward
from vipjax.sac.agent import SacSettings
from vipjax.sac.seeds import Agents


def evaluate_policies(
  env: FrameVectorEnv,
  reward: Reward,
  actors: Any,
  sac: SacSettings,
  episodes: int,
  seeds: Sequence[int],
) -> list[dict[str, float]]:
  """Success and return of one or several agents, which play at once without exploration.

  Args:
    env, reward, episodes: as for `evaluate`; the agents share the environments out.
    actors: the actor's parameters, of several agents stacked.
    sac: hyperparameters of the agents.
    seeds: of each agent's episodes.

  Returns:
    What `evaluate` returns of each.
  """
  agents = Agents(len(seeds))
  policy = agents.compile_policy(env.action_space.shape[0], sac, deterministic=True)
  key = agents.stack([jax.random.key(0)] * agents.count)

  def act(observation):
    action = np.asarray(policy(actors, agents.by_agent(observation), key))
    return action.reshape(env.num_envs, -1)

  return _play(env, reward, act, episodes, seeds)


def evaluate(
  env: FrameVectorEnv,
  reward: Reward,
  act: Callable[[np.ndarray], np.ndarray],
  episodes: int,
  seed: int,
) -> dict[str, float]:
  """Success and return of a policy, ours or another.

  Where the reward telescopes, as undiscounted differences do, frames are drawn at the first and the
  last step only. An episode whose simulation diverges ends there, with a return of 0.

  Args:
    env: environments with the reward's channels; they are reset.
    reward: the reward.
    act: takes float32 [N, O] observations and returns float32 [N, A] actions.
    episodes: how many to count; all environments play, so some may be played beyond these.
    seed: of the episodes; seeds of training are others.

  Returns:
    "success": share of episodes that were successful at some step; "final_success": at the last;
    "return": mean over the episodes, undiscounted; "distance": at the last step, in the reward's
    units, mean over its channels; "steps_to_success": mean over the successful episodes
    (NaN without any).
  """
  return _play(env, reward, act, episodes, [seed])[0]


def _play(
  env: FrameVectorEnv,
  reward: Reward,
  act: Callable[[np.ndarray], np.ndarray],
  episodes: int,
  seeds: Sequence[int],
) -> list[dict[str, float]]:
  """What `evaluate` finds of each of several policies, which share the environments out."""
  each, rows = env.num_envs // len(seeds), []
  for start in range(0, episodes, each):
    observation, seen = env.reset([seed + start for seed in seeds])
    first, distances = reward.observe(seen)
    state, total = first, np.zeros(env.num_envs, np.float32)
    when = np.full(env.num_envs, np.nan)
    diverged = np.zeros(env.num_envs, bool)  # ended before its time; another episode has begun
    for t in range(env.horizon):
      last = t == env.horizon - 1
      step = env.step(act(observation), draw=last or not reward.telescopes)
      when = np.where(np.isnan(when) & step.success & ~diverged, t + 1.0, when)
      if not last:
        diverged |= step.truncated
      if last or not reward.telescopes:
        before, (state, distances) = state, reward.observe(step.seen)
        total += np.float32(0) if reward.telescopes else reward.reward(before, state)
      observation = step.reset_observation
    gain = reward.gain(first, state) if reward.telescopes else total
    gain = np.where(diverged, np.float32(0), gain)
    final = step.success & ~diverged
    found = final, gain, distances.mean(axis=1), when
    rows.append([part.reshape(len(seeds), each) for part in found])
  # [agents, episodes] each.
  parts = [np.concatenate(part, axis=1)[:, :episodes] for part in zip(*rows, strict=True)]
  return [summary(*of_agent) for of_agent in zip(*parts, strict=True)]


def summary(
  final: np.ndarray, gain: np.ndarray, distance: np.ndarray, when: np.ndarray
) -> dict[str, float]:
  """The means over episodes that `evaluate` returns."""
  success = ~np.isnan(when)
  return {
    "success": float(success.mean()),
    "final_success": float(final.mean()),
    "return": float(gain.mean()),
    "distance": float(distance.mean()),
    "steps_to_success": float(when[success].mean()) if success.any() else float("nan"),
  }
