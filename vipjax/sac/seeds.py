"""Several agents that learn at once: functions of one agent, mapped over all in one program.

They differ in their seeds and share the reward. Arrays of N agents have a further first axis [N];
rows of all their environments, [N * n, ...], are those of the first agent, then of the next. A
single agent has no such axis: its arrays and its programs are those of an agent that is alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vipjax.sac import agent as agent_lib
from vipjax.sac.agent import SacSettings, SacState


@dataclasses.dataclass(frozen=True)
class Agents:
  """How many agents there are, with the ways from one to all and back.

  Attributes:
    count: N, at least 1.
  """

  count: int

  def each(self, function: Callable, in_axes: Any = 0) -> Callable:
    """Maps a pure function of one agent over all, compiled; for one agent it is the function."""
    return function if self.count == 1 else jax.jit(jax.vmap(function, in_axes))

  def each_update(self, update_many: Callable) -> Callable:
    """Maps what `make_update_many` makes.

    All agents have done as many updates: as one number it decides for all whether they start anew,
    which would otherwise be computed at every update.
    """
    if self.count == 1:
      return update_many
    axes = SacState(*[0] * len(SacState._fields))._replace(step=None)
    mapped = jax.vmap(update_many, (axes, 0), (axes, 0))

    def update(state: SacState, replay: Any):
      state, metrics = mapped(state._replace(step=state.step[0]), replay)
      return state._replace(step=jnp.full(self.count, state.step)), metrics

    return update

  def compile_policy(
    self, num_actions: int, settings: SacSettings, deterministic: bool
  ) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
    """(actors, observations [N, n, O], keys [N]) -> actions [N, n, A], as `make_policy`.

    The same arguments give the same function.
    """
    compiled = agent_lib.compile_policy if self.count == 1 else _compile_policies
    return compiled(num_actions, settings, deterministic)

  def stack(self, trees: Sequence[Any]) -> Any:
    """Makes one pytree of the agents'."""
    return trees[0] if self.count == 1 else jax.tree.map(lambda *each: jnp.stack(each), *trees)

  def unstack(self, tree: Any) -> list[Any]:
    """Makes a pytree for each agent of one for all."""
    if self.count == 1:
      return [tree]
    return [jax.tree.map(lambda array, i=i: array[i], tree) for i in range(self.count)]

  def by_agent(self, rows: Any) -> Any:
    """Turns a pytree of arrays [N * n, ...] into [N, n, ...]; of one agent it stays as it is."""
    if self.count == 1:
      return rows
    return jax.tree.map(lambda array: array.reshape(self.count, -1, *array.shape[1:]), rows)


@functools.cache
def _compile_policies(num_actions: int, settings: SacSettings, deterministic: bool) -> Callable:
  return jax.jit(jax.vmap(agent_lib.make_policy(num_actions, settings, deterministic)))
