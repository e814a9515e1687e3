"""V-PTR goes on in the environment: the policy's own episodes join the target's data.

Rewards stay those of the data, by success. Own episodes and updates alternate in rounds.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import RobotEnv, Stream, episode_seed, num_actions, record_trajectories
from vipjax.runtime import run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.runtime.settings import from_section
from vipjax.sac.agent import SacState, compile_policy
from vipjax.sac.conservative import OfflineData
from vipjax.sac.sight import eye
from vipjax.stages.corpus import HOLD
from vipjax.stages.embedded_data import embedded, load_data, pack, unpacked
from vipjax.stages.offline import ONLINE, TARGET, Learner, learn, make_learner, offline_data
from vipjax.stages.stage import Resumed, stage
from vipjax.stages.vptr import Sources, counts, evaluate_actor, eyes, save_policy, target_env
from vipjax.types import Trajectory

_ACTING_STREAM = 6


@dataclasses.dataclass(frozen=True)
class OnlineSettings:
  """Keys of the section `vptr` that this phase reads.

  Attributes:
    online_episodes: own episodes of all rounds together.
    online_round: of them in a round.
    online_updates: after each round.
  """

  online_episodes: int
  online_round: int
  online_updates: int


@stage(ONLINE)
def train_online(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, value: ValueFunction, sources: Sources
) -> Resumed:
  """Goes on from `train_target` with own episodes, and evaluates the policy anew.

  An own episode ends as those of the data do, some steps after its first success, or at the time
  limit. Writes `own/`, the episodes of each round, and `policy/` over that of before.

  Args:
    config, workdir, value, sources: as for `train_target`.

  Returns:
    What `train_target` returns; "trajectories", "steps" and "successes" are those of own episodes.

  Raises:
    UserError: the phase before has not finished here, or as `train_target`.
  """
  if not run_folder.stage_done(workdir, TARGET):
    raise UserError(
      f"expected the stage '{TARGET}' to be finished in {workdir} before '{ONLINE}', got no "
      "result; run it first."
    )
  settings = from_section(OnlineSettings, config.vptr, "vptr")
  load = functools.partial(load_data, config, value, cache=sources.cache)
  robot = load(sources.robot) if config.vptr.robot_updates else []
  target = load(sources.target)
  learner = make_learner(config, value, robot, target)
  learner = learner._replace(robot=jax.device_put(learner.robot))  # once for all rounds
  with Checkpointer(workdir / "checkpoints" / TARGET) as checkpoints:
    _, state, _ = checkpoints.restore_latest(learner.state)
  begun, own, earlier = int(state.step), [], None
  most = settings.online_episodes * config.env.horizon  # steps of own episodes
  room = sum(map(len, target)) + most
  shown = room + len(target) + settings.online_episodes  # frames of as many steps
  rounds = range(0, settings.online_episodes, settings.online_round)
  with target_env(config) as env, Progress(len(rounds), "own episodes", unit="round") as progress:
    for number, first in enumerate(rounds):
      numbers = range(first, min(first + settings.online_round, settings.online_episodes))
      look = eyes(config, env, eye(value, state.actor), learner.tasks)
      act = _acting(config, learner, state, env, look)
      own += _round(config, workdir / "own" / f"{number}.npz", value, env, act, numbers)
      grown = _filled(offline_data(config, learner.tasks, [*target, *own]), room, shown, number)
      until = begun + (number + 1) * settings.online_updates
      facts, before, state = learn(
        config, workdir, ONLINE, learner._replace(target=grown), state, until
      )
      earlier = before if earlier is None else earlier
      progress.update(successes=sum(bool(each.success) for each in own))
  save_policy(workdir / "policy", value, state.actor, learner)
  played = evaluate_actor(config, workdir / "policy", value, state.actor, learner.tasks)
  return Resumed({**counts(own), **facts, "updates": until - begun, **played}, earlier)


def _acting(
  config: ml_collections.ConfigDict,
  learner: Learner,
  state: SacState,
  env: RobotEnv,
  look: Callable[[np.ndarray], np.ndarray],
) -> Callable[[int], Callable[[np.ndarray], np.ndarray]]:
  """Makes what acts in an episode, given its number, by draws from the agent's policy."""
  policy = compile_policy(num_actions(config.env.control), learner.sac, deterministic=False)
  key = jax.random.fold_in(jax.random.key(config.seed), _ACTING_STREAM)

  def in_episode(number: int) -> Callable[[np.ndarray], np.ndarray]:
    of_episode, steps = jax.random.fold_in(key, number), itertools.count()

    def act(_: np.ndarray) -> np.ndarray:
      of_step = jax.random.fold_in(of_episode, next(steps))
      return np.asarray(policy(state.actor, look(env.frame(env.view)), of_step))

    return act

  return in_episode


def _round(
  config: ml_collections.ConfigDict,
  file: pathlib.Path,
  value: ValueFunction,
  env: RobotEnv,
  act: Callable[[int], Callable[[np.ndarray], np.ndarray]],
  numbers: Sequence[int],
) -> list[Trajectory]:
  """Own episodes of these numbers, embedded; read from the file if they were played before."""
  if file.exists():
    return unpacked(file)
  made = []
  for number in numbers:
    seed = episode_seed(Stream.TRAINING, config.seed, number)
    (found,) = record_trajectories(
      env, {"own": env.view}, seed, act(number), hold=HOLD, episode=number
    )
    kept = config.vptr.encoder_learns
    made.append(embedded(value, found, config.vptr.state_entries, kept))
  pack(file, made)
  return made


def _filled(data: OfflineData, rows: int, frames: int, seed: int) -> OfflineData:
  """As many rows as fit, so that one program serves all rounds: the data again and again, shuffled.

  Draws from these are draws from the data, of which no row counts once more than another. What is
  left of as many frames as fit is black.
  """
  rng, count = np.random.default_rng(seed), len(data.returns)
  chosen = np.concatenate([rng.permutation(count) for _ in range(-(-rows // count))])[:rows]
  made = jax.tree.map(lambda leaf: leaf[chosen], data._replace(frames=None))
  if data.frames is None:
    return made
  left = ((0, frames - len(data.frames)), (0, 0), (0, 0), (0, 0))
  return made._replace(frames=np.pad(data.frames, left))
