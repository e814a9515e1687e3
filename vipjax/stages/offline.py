"""What learns by conservative Q-learning in V-PTR's phases, from which data, and how long."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import num_actions
from vipjax.runtime.errors import UserError
from vipjax.runtime.platform import on_cpu
from vipjax.runtime.settings import from_section
from vipjax.sac.agent import SacSettings, SacState, init_agent
from vipjax.sac.conservative import (
  ConservativeSettings,
  OfflineData,
  OfflineSettings,
  make_conservative_update,
  make_offline,
  make_offline_updates,
  with_statistics,
)
from vipjax.sac.sight import Sight, SightSettings, with_encoders
from vipjax.stages.agent import sac_settings
from vipjax.stages.updates import Updates, take
from vipjax.types import Trajectory

ROBOT, TARGET, ONLINE = "robot", "target", "online"
_AGENT_STREAM = 5
_PER_DISPATCH = 50  # updates
_METRICS_EVERY = 500  # updates


@dataclasses.dataclass(frozen=True)
class PhaseSettings:
  """Keys of the section `vptr` that the phases read.

  Attributes:
    robot_updates, target_updates: of each phase; without the first the second has the target's data
      alone.
    target_share: of the target's data in each batch of the second phase.
    online_share: of these and of own episodes in each batch of the third.
    state_entries: first entries of the recorded state that the agent sees.
    encoder_learns: whether actor and critics have encoders of their own, which learn.
  """

  robot_updates: int
  target_updates: int
  target_share: float
  online_share: float
  state_entries: int
  encoder_learns: bool


class Learner(NamedTuple):
  """What learns in a run, and from what.

  Attributes:
    phases, sac, settings: see there.
    tasks: the names of the one-hot vector.
    robot: the data of many tasks; None for a run without that phase.
    target: the data of the target task; None in the first phase.
    state: the agent before its first update.
    num_actions: of the environment.
    sight: how actor and critics see by encoders of their own; None where it is frozen.
  """

  phases: PhaseSettings
  sac: SacSettings
  settings: ConservativeSettings
  tasks: tuple[str, ...]
  robot: OfflineData | None
  target: OfflineData | None
  state: SacState
  num_actions: int
  sight: Sight | None


def make_learner(
  config: ml_collections.ConfigDict,
  value: ValueFunction,
  robot: list[Trajectory],
  target: list[Trajectory] | None,
) -> Learner:
  """Makes what learns; the agent sees each observation with the one-hot vector of its task.

  Args:
    config: as configs/vptr.py declares it.
    value: the encoder, of which each network gets a copy where it learns.
    robot, target: of `load_data`, for the same config and encoder.

  Raises:
    UserError: as `make_offline`; an encoder that learns, and data without frames of
      config.corpus.size.
  """
  phases = from_section(PhaseSettings, config.vptr, "vptr")
  settings = from_section(ConservativeSettings, config.vptr, "vptr")
  sac = sac_settings(config.policy)
  # Of all target tasks, so that they can share the first phase.
  tasks = tuple(sorted({str(each.task) for each in robot} | {*config.vptr.tasks}))

  of_robot, of_target = (
    offline_data(config, tasks, each) if each else None for each in (robot, target)
  )
  if phases.encoder_learns:
    _require_frames(config.corpus.size, of_robot, of_target)
  first = of_target if of_robot is None else of_robot
  actions, size = num_actions(config.env.control), first.transitions.observation.shape[1]
  key = jax.random.fold_in(jax.random.key(config.seed), _AGENT_STREAM)
  # What a learning encoder sees is bounded already.
  seen = value.config.embedding_dim if phases.encoder_learns else 0
  state = with_statistics(init_agent(key, size, actions, sac), first, len(tasks), seen)
  sight = None
  if phases.encoder_learns:
    sight = Sight.of(value, from_section(SightSettings, config.vptr, "vptr"))
    rates = sac.learning_rate, settings.actor_learning_rate
    state = with_encoders(state, value.variables, *rates)
  return Learner(phases, sac, settings, tasks, of_robot, of_target, state, actions, sight)


def _require_frames(size: int, *datasets: OfflineData | None) -> None:
  """Raises UserError where an encoder has to learn from other frames than the policy will see."""
  for data in datasets:
    if data is None or (data.frames is not None and data.frames.shape[1:3] == (size, size)):
      continue
    shown = "none" if data.frames is None else "{1}x{2}".format(*data.frames.shape)
    raise UserError(
      f"expected data with frames of config.corpus.size = {size} pixels, from which the encoder "
      f"learns and in which the policy sees, got {shown}; record them so, set config.corpus.size, "
      "or set config.vptr.encoder_learns to False."
    )


def offline_data(
  config: ml_collections.ConfigDict, tasks: Sequence[str], trajectories: Sequence[Trajectory]
) -> OfflineData:
  """Transitions of trajectories, told their task in each observation; raises as `make_offline`."""
  discount = sac_settings(config.policy).discount
  settings = from_section(OfflineSettings, config.vptr, "vptr", discount=discount)
  return make_offline([_told(each, tasks) for each in trajectories], settings)


def learn(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  name: str,
  learner: Learner,
  state: SacState,
  until: int,
) -> tuple[dict[str, Any], float, SacState]:
  """Updates the agent until its step, from the last checkpoint of this phase if there is one.

  Returns:
    "updates" and the last metrics; the seconds of earlier legs; and the agent.
  """
  datasets, counts = _mixture(learner, name)
  datasets = jax.device_put(datasets)
  options = learner.num_actions, learner.sac, learner.settings, learner.sight, counts
  # XLA runs convolutions in a loop on a CPU at a fraction of their speed.
  most = 1 if learner.sight is not None and on_cpu() else _PER_DISPATCH

  def dispatch(left: int):
    count = min(most, left)
    compiled = _compiled(*options, count)
    return count, lambda state: compiled(state, datasets)

  begun, policy = int(state.step), config.policy
  taken = take(
    workdir,
    Updates(
      name, until, dispatch, _METRICS_EVERY, policy.checkpoint_every, policy.max_skipped,
      "lower config.policy.learning_rate or raise config.vptr.conservative_weight",
      shown=("q_data", "q_pi"), keep=2,
    ),
    state,
  )  # fmt: skip
  return {"updates": until - begun, **taken.metrics}, taken.earlier, taken.state


@functools.cache
def _compiled(
  num_actions: int,
  sac: SacSettings,
  settings: ConservativeSettings,
  sight: Sight | None,
  counts: tuple[int, ...],
  updates: int,
) -> Callable:
  update = make_conservative_update(num_actions, sac, settings, sight)
  return jax.jit(make_offline_updates(update, counts, updates))


def _mixture(learner: Learner, name: str) -> tuple[tuple[OfflineData, ...], tuple[int, ...]]:
  """The data sets of a phase, and how many rows of a batch come from each."""
  size = learner.sac.batch_size
  if name == ROBOT:
    return (learner.robot,), (size,)
  if learner.robot is None:
    return (learner.target,), (size,)
  phases = learner.phases
  share = phases.online_share if name == ONLINE else phases.target_share
  of_target = min(max(round(share * size), 1), size)
  return (learner.robot, learner.target), (size - of_target, of_target)


def _told(trajectory: Trajectory, tasks: Sequence[str]) -> Trajectory:
  """The trajectory with its task in each observation."""
  task = np.broadcast_to(one_hot(tasks, str(trajectory.task)), (len(trajectory) + 1, len(tasks)))
  observations = np.concatenate([trajectory.observations, task], axis=1)
  return dataclasses.replace(trajectory, observations=observations)


def one_hot(tasks: Sequence[str], task: str) -> np.ndarray:
  return np.array([each == task for each in tasks], np.float32)
