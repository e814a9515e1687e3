"""Whether the value follows the simulator's true progress off the expert's path.

A policy reaches states that no video shows. If the value is high and the progress low in such a
state, the reward pays for nothing; `reward_hacks` finds such states in rollouts.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vipjax.evaluation import statistics
from vipjax.runtime.errors import UserError
from vipjax.types import Video

# Weights of progress: with -(2 x hand + 10 x object) as the reward SAC opens the window.
_HAND_WEIGHT, _OBJECT_WEIGHT = 2.0, 10.0
# Metres from which an object counts as moved.
_MOVED = 0.01
# Least number of states for a correlation.
_FEWEST = 10
POLICY = "policy"
# Kinds of rollouts that an expert begins.
_DISTURBED = ("perturbed", "abandoned")


class Rollout(NamedTuple):
  """The films of one rollout and its progress.

  Attributes:
    kind: as in `States`.
    films: a film of T frames from each view, with the robot and, if needed, without it.
    hand: float [T], distance from the hand to the object in metres.
    object: float [T], distance from the object to its target in metres.
  """

  kind: str
  films: list[Video]
  hand: np.ndarray
  object: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class States:
  """S states of rollouts and their progress.

  Attributes:
    kind: str [S], the kind of rollout: "perturbed", "abandoned", "random", "policy".
    rollout: int [S], number of the rollout.
    time: float [S], s since its start.
    hand: float [S], distance from the hand to the object in metres.
    object: float [S], distance from the object to its target in metres.
    success: bool [S], whether the rollout ends in success.
    potentials: float [S] by name: the value in each view, with and without the robot, and
      "reward", the potential of the run's reward, or without one what it has paid up to the state.
      Higher should be better.
  """

  kind: np.ndarray
  rollout: np.ndarray
  time: np.ndarray
  hand: np.ndarray
  object: np.ndarray
  success: np.ndarray
  potentials: Mapping[str, np.ndarray]

  @property
  def progress(self) -> np.ndarray:
    """float [S], the simulator's progress, <= 0."""
    return -(_HAND_WEIGHT * self.hand + _OBJECT_WEIGHT * self.object)

  @property
  def shared(self) -> np.ndarray:
    """bool [S], whether other runs have the same rollout: all but those of the run's policy."""
    return self.kind != POLICY

  @property
  def moved(self) -> np.ndarray:
    """bool [S], whether the object has moved since the rollout's start."""
    first = {which: np.argmax(self.rollout == which) for which in np.unique(self.rollout)}
    start = np.array([self.object[first[which]] for which in self.rollout])
    return np.abs(self.object - start) > _MOVED


def correlations(states: States) -> dict[str, dict[str, float | None]]:
  """Returns Spearman correlations of each potential with progress.

  Returns:
    By potential: "progress", and "progress_<kind>" over the states of a kind; "hand", with the
    hand's nearness to the object before the object has moved; "object", with the object's nearness
    to its target after that; "progress_disturbed" and "object_disturbed", with progress and with
    the object's nearness over all states of rollouts that an expert begins; "success", the share
    of pairs of a rollout that succeeds and one that fails in which the first ends higher (0.5 by
    chance). All but "progress_policy" exclude the policy's states, which differ between runs. None
    for fewer than 10 states, or without such a pair.
  """
  moved, shared = states.moved, states.shared
  aims = {"progress": (states.progress, shared)}
  for kind in dict.fromkeys(states.kind.tolist()):
    aims[f"progress_{kind}"] = (states.progress, states.kind == kind)
  disturbed = np.isin(states.kind, _DISTURBED)
  aims |= {
    "hand": (-states.hand, shared & ~moved),
    "object": (-states.object, shared & moved),
    "progress_disturbed": (states.progress, disturbed),
    "object_disturbed": (-states.object, disturbed),
  }
  return {
    name: {
      aim: statistics.spearman(potential[where], wanted[where]) if where.sum() >= _FEWEST else None
      for aim, (wanted, where) in aims.items()
    }
    | {"success": _separation(states, potential)}
    for name, potential in states.potentials.items()
  }


def rank_gap(potential: np.ndarray, progress: np.ndarray) -> np.ndarray:
  """Returns the difference of each state's ranks by potential and by progress.

  Args:
    potential: float [S], S >= 2, higher should be better.
    progress: float [S], the simulator's progress.

  Returns:
    float64 [S], the rank by potential minus the rank by progress, in [-1, 1] (ranks from 0 to 1;
    ties share their mean).
  """
  from scipy.stats import rankdata  # here, because scipy.stats takes a second to import

  return (rankdata(potential) - rankdata(progress)) / (len(potential) - 1)


def reward_hacks(
  potential: np.ndarray,
  progress: np.ndarray,
  rollout: np.ndarray,
  count: int,
  kind: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the states whose rank by potential exceeds that by progress most, one per rollout.

  Args:
    potential: float [S], S >= 2, higher should be better.
    progress: float [S], the simulator's progress.
    rollout: int [S], number of each state's rollout.
    count: greatest number of states to return.
    kind: str [S], kind of each rollout; at most half of the states, rounded up, are then of one
      kind, because a policy that rests on such a state does so in every episode.

  Returns:
    int64 [K], indices of states with a gap above 0, the worst first, K <= count; and float64 [S],
    the gap of every state (`rank_gap`).

  Raises:
    UserError: fewer than two states, different lengths, values that are not finite, a count < 1.
  """
  if count < 1:
    raise UserError(f"expected to look for at least 1 state, got {count}; raise it.")
  potential = statistics.check_curve("potential", potential)
  progress = statistics.check_curve("progress", progress)
  if not len(potential) == len(progress) == len(rollout):
    raise UserError(
      f"expected arrays of one length, got {len(potential)}, {len(progress)} and {len(rollout)}; "
      "pass one value for each state."
    )
  gap = rank_gap(potential, progress)
  kinds = np.asarray(rollout if kind is None else kind).tolist()
  worst, seen, found = [], set(), collections.Counter()
  for index in np.argsort(-gap, kind="stable"):
    if len(worst) == count or gap[index] <= 0:
      break
    if rollout[index] not in seen and found[kinds[index]] < (count + 1) // 2:
      seen.add(rollout[index])
      found[kinds[index]] += 1
      worst.append(index)
  return np.array(worst, np.int64), gap


def record(states: States) -> dict[str, Any]:
  """Returns the states by name, for a plot; `files.jsonable` converts them."""
  fields = ("kind", "rollout", "time", "hand", "object", "success")
  return {name: getattr(states, name) for name in fields} | {
    "progress": states.progress,
    "potentials": dict(states.potentials),
  }


def _separation(states: States, potential: np.ndarray) -> float | None:
  last = np.append(np.flatnonzero(np.diff(states.rollout)), len(states.rollout) - 1)
  last = last[states.shared[last]]
  won, lost = (potential[last[states.success[last] == which]] for which in (True, False))
  if not (len(won) and len(lost)):
    return None
  return float(np.mean((np.sign(won[:, None] - lost[None]) + 1) / 2))
