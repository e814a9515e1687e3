"""A contest of agents: all learn in the same environments, from the same reward, on one clock.

The clock counts acting and learning. Evaluations stand outside it, and so does compilation, which
is counted for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from vipjax.benchmark.peers import Peer
from vipjax.benchmark.workers.exchange import compile_clock, pack, unpack
from vipjax.envs import FrameVectorEnv, Stream, episode_seed
from vipjax.experiments.ceiling import Contest
from vipjax.reward.interface import Reward
from vipjax.sac import evaluate, train_loop
from vipjax.sac.agent import compile_policy
from vipjax.stages.training import first_state


class Contender(Protocol):
  """An agent that learns in steps."""

  def learn(self, actions: int) -> dict[str, float]:
    """Acts and learns until `actions` have been taken in all, or a few more.

    Returns:
      "actions": those taken in all; of this call alone "updates", "seconds" without compilation,
      and "compile_seconds".
    """

  def act(self, observation: np.ndarray) -> np.ndarray:
    """Returns float32 [N, A], what it does by now, without noise, at float32 [N, O]."""


def make_envs(contest: Contest, count: int) -> FrameVectorEnv:
  """Returns environments of a contest, stepped in this process, which draw nothing."""
  return FrameVectorEnv(contest.env_options, count, num_workers=0)


def compete(
  contest: Contest, contender: Contender, after: Callable[[dict[str, Any]], object] = print
) -> list[dict[str, Any]]:
  """Lets a contender learn, and evaluates it as often as launch.ceiling does, in the same episodes.

  Args:
    contest: what it learns, and how long.
    contender: it has acted for nothing yet.
    after: is called with each row.

  Returns:
    A row for each evaluation: what `evaluate` returns; "step", the actions up to it; "updates",
    "seconds" and "compile_seconds" up to it.
  """
  targets = [*range(contest.eval_every, contest.steps, contest.eval_every), contest.steps]
  seed = episode_seed(Stream.EVALUATION, contest.seed)
  total = {"updates": 0, "seconds": 0.0, "compile_seconds": 0.0}
  rows = []
  with make_envs(contest, min(contest.eval_episodes, 10)) as env:
    for target in targets:
      took = contender.learn(target)
      total = {name: total[name] + took[name] for name in total}
      found = evaluate(env, contest.reward, contender.act, contest.eval_episodes, seed)
      rows.append({"step": took["actions"], **total, **found})
      after(rows[-1])
  return rows


class Ours:
  """Our agent, which learns exactly as in the policy stage of launch.ceiling."""

  def __init__(self, contest: Contest, env: FrameVectorEnv):
    """Starts an agent in the environments of a contest."""
    compile_clock()
    capacity = max(min(contest.replay_capacity, contest.steps), env.num_envs)
    state = first_state([contest.seed], env, contest.sac, capacity, contest.reward.state_shape)
    seed = episode_seed(Stream.TRAINING, contest.seed)
    self._loop = train_loop(env, contest.reward, state, contest.sac, contest.loop, seed)
    self._policy = compile_policy(env.action_space.shape[0], contest.sac, deterministic=True)
    self._agent, self._actions = state.agent, 0

  def learn(self, actions: int) -> dict[str, float]:
    before, compiled = int(self._agent.step), compile_clock()()
    start = time.perf_counter()
    while self._actions < actions:
      state = next(self._loop).state
      self._agent, self._actions = state.agent, int(state.env_steps)
    jax.block_until_ready(self._agent)
    seconds, compilation = time.perf_counter() - start, compile_clock()() - compiled
    return {
      "actions": self._actions, "updates": int(self._agent.step) - before,
      "seconds": seconds - compilation, "compile_seconds": compilation,
    }  # fmt: skip

  def act(self, observation: np.ndarray) -> np.ndarray:
    return np.asarray(self._policy(self._agent.actor, observation, jax.random.key(0)))


class Remote:
  """A peer as a contender."""

  def __init__(self, peer: Peer):
    self._peer = peer

  def learn(self, actions: int) -> dict[str, float]:
    return self._peer.call("learn", actions=actions)

  def act(self, observation: np.ndarray) -> np.ndarray:
    return unpack(self._peer.call("act", observation=pack(observation)))


class PaidEnvs:
  """Environments that pay a reward for each action, for a peer on the other side of a pipe."""

  def __init__(self, env: FrameVectorEnv, reward: Reward, seed: int):
    """Takes environments that have not been reset.

    Args:
      env: the environments.
      reward: what pays their steps.
      seed: of the first episodes.
    """
    self._env, self._reward, self._seed = env, reward, seed
    self._state: np.ndarray | None = None

  def __call__(self, question: Any) -> Any:
    """Answers "reset" with the packed observations [N, O], and packed actions with their step.

    A step is a dict of packed arrays: "observation" [N, O], that of the next episode where one has
    "ended" (a list of N bools), "last_observation" [N, O], before that, and "reward" [N].
    """
    if question == "reset":
      observation, seen = self._env.reset(self._seed)
      self._state, _ = self._reward.observe(seen)
      return pack(observation)
    step = self._env.step(unpack(question))
    before, (state, _) = self._state, self._reward.observe(step.seen)
    self._state, _ = self._reward.observe(step.reset_seen)
    return {
      "observation": pack(step.reset_observation),
      "last_observation": pack(step.observation),
      "reward": pack(self._reward.reward(before, state)),
      "ended": step.truncated.tolist(),
    }
