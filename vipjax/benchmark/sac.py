"""Times SAC's updates, and its loop on environments that cost nothing, against other packages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.benchmark import floor, measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import Case, SuiteResult
from vipjax.envs import Episodes, Seen, Step
from vipjax.envs.still import StillEnvs
from vipjax.sac import LoopSettings, SacSettings, init_agent, init_loop, replay, train_loop
from vipjax.sac.agent import make_update, make_update_many
from vipjax.sac.seeds import Agents
from vipjax.types import Transition

ABOUT = (
  "Updates: critics, actor, temperature and targets, each on a fresh batch of 256 from a replay of "
  "random transitions, many in one call as each package allows; 51 observations, 8 actions, hidden "
  "layers 256 x 256 (ours normalizes its critics' layers, theirs do not). Loop: nine environments "
  "that cost nothing, one update for each of their steps; the unit is an environment step."
)
OBSERVATION, ACTIONS, ENVS = 51, 8, 9
PACKAGES = {"sbx-rl": ("sbx", "stable_baselines3"), "stable-baselines3": ("stable_baselines3",)}


def run(
  bench: Bench,
  hidden: Sequence[int] = (256, 256),
  batch_size: int = 256,
  updates: int = 50,
  loop_steps: int = 8,
  replay_size: int = 20_000,
  replay_sizes: Sequence[int] = (20_000, 200_000, 2_000_000),
  agents: Sequence[int] = (1, 3),
) -> SuiteResult:
  """Measures updates and the loop.

  Args:
    bench: measures the cases.
    hidden: widths of the hidden layers.
    batch_size: transitions per update.
    updates: updates in one call.
    loop_steps: steps of all environments in a run of the loop.
    replay_size: transitions in the replay.
    replay_sizes: transitions in the table of larger replays.
    agents: numbers of agents in the table of those that learn at once.
  """
  settings = SacSettings(hidden=tuple(hidden), batch_size=batch_size)
  sizes = {
    "batch_size": batch_size, "hidden": list(hidden), "observation_size": OBSERVATION,
    "num_actions": ACTIONS, "replay_size": replay_size,
  }  # fmt: skip
  cases = [
    _update_case(bench, settings, updates, sizes),
    _loop_case(bench, settings, loop_steps, sizes),
  ]
  rows = [_replay_row(bench, settings, size, updates) for size in replay_sizes]
  tables = {
    "A larger replay": rows,
    "Agents that learn at once": [
      agents_row(bench.repeats, settings, count, updates, replay_size) for count in agents
    ],
  }
  return SuiteResult("sac", ABOUT, cases, bench.skipped, bench.peak, tables)


def agents_row(
  repeats: int, settings: SacSettings, count: int, updates: int, replay_size: int
) -> dict[str, Any]:
  """The rate of the updates of several agents in one program.

  Args:
    repeats: number of timings.
    settings: of the agents.
    count: number of agents.
    updates: updates of each in a call.
    replay_size: transitions in the replay of each.
  """
  agents = Agents(count)
  keys = [jax.random.key(seed) for seed in range(count)]
  state = agents.stack([init_agent(key, OBSERVATION, ACTIONS, settings) for key in keys])
  memory = agents.stack([_full_replay(replay_size)] * count)
  step = jax.jit(agents.each_update(make_update_many(ACTIONS, settings, updates)), donate_argnums=0)
  began = time.perf_counter()
  step = step.lower(state, memory).compile()
  compilation = time.perf_counter() - began
  ours = measure.stateful(step, state, memory)
  median = measure.median_seconds(ours, repeats, warmup=1)
  return {
    "agents": str(count),
    "us for one update of each": 1e6 * median / updates,
    "updates/s of all": count * updates / median,
    "seconds of compilation": compilation,
  }


def _update_case(bench: Bench, settings: SacSettings, updates: int, sizes: dict[str, Any]) -> Case:
  agent = init_agent(jax.random.key(0), OBSERVATION, ACTIONS, settings)
  memory = _full_replay(sizes["replay_size"])
  # The count includes a loop's body only once, so this counts one update on a batch.
  batch = replay.sample(jax.random.key(0), memory, settings.batch_size)
  cost = floor.count(jax.jit(make_update(ACTIONS, settings)), agent, batch).times(updates)
  step = jax.jit(make_update_many(ACTIONS, settings, updates), donate_argnums=0)
  return bench.compare(
    f"{updates} updates", "updates", updates, measure.stateful(step, agent, memory),
    _peers("update", {"updates": updates, **sizes}), cost,
  )  # fmt: skip


def _loop_case(bench: Bench, settings: SacSettings, steps: int, sizes: dict[str, Any]) -> Case:
  env = EmptyVectorEnv()
  agent = init_agent(jax.random.key(1), OBSERVATION, ACTIONS, settings)
  state = init_loop(jax.random.key(0), agent, sizes["replay_size"], env)
  loop = LoopSettings(updates_per_step=ENVS, warmup_steps=ENVS)
  loop_steps = train_loop(env, NoReward(), state, settings, loop, seed=0)
  ours = measure.timed(lambda: next(loop_steps).state, times=steps)
  theirs = {"num_envs": ENVS, "steps": steps, "updates": ENVS, **sizes}
  return bench.compare(
    f"loop, {ENVS} empty environments", "steps", steps * ENVS, ours, _peers("loop", theirs)
  )


def _peers(work: str, settings: dict[str, Any]) -> list[PeerSpec]:
  return [
    PeerSpec(name, f"soft_actor_critic.{work}", needs, {"package": needs[0], **settings})
    for name, needs in PACKAGES.items()
  ]


def _replay_row(bench: Bench, settings: SacSettings, size: int, updates: int) -> dict[str, Any]:
  agent = init_agent(jax.random.key(0), OBSERVATION, ACTIONS, settings)
  memory = _full_replay(size)
  step = jax.jit(make_update_many(ACTIONS, settings, updates), donate_argnums=0)
  ours = measure.stateful(step, agent, memory)
  median = measure.median_seconds(ours, bench.repeats, warmup=1)
  held = sum(leaf.nbytes for leaf in jax.tree.leaves(memory))
  return {"transitions": f"{size:,}", "MiB": held / 2**20, "updates/s": updates / median}


def _full_replay(size: int) -> replay.Replay:
  memory = replay.init(size, OBSERVATION, ACTIONS)
  filled = jax.tree.map(lambda leaf: leaf + 0.1, memory.transitions)
  return replay.Replay(Transition(*filled), memory.position, jnp.int32(size))


class EmptyVectorEnv(StillEnvs):
  """Random observations, no frames, episodes of 200 steps."""

  def __init__(self):
    observation_space = gymnasium.spaces.Box(-10, 10, (OBSERVATION,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (ACTIONS,), np.float32)
    super().__init__(ENVS, observation_space, action_space, (1, 1, 1, 3))
    rng = np.random.default_rng(0)
    self._observation = rng.normal(size=(ENVS, OBSERVATION)).astype(np.float32)
    self._steps = 0

  def step_async(self, actions: np.ndarray) -> Episodes:
    self._steps += 1
    return super().step_async(actions)

  def step_wait(self) -> Step:
    return super().step_wait()._replace(truncated=np.full(ENVS, self._steps % 200 == 0))


class NoReward:
  """Replaces EmbeddingReward: rewards of 0 and nothing to embed."""

  def observe(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    return seen.task_reward, seen.distances

  def reward(self, potential: np.ndarray, next_potential: np.ndarray) -> np.ndarray:
    return next_potential - potential
