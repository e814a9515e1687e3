"""Off the expert's path: does the value still follow the simulator's true progress?

A policy meets states that no video shows. Where the value is high and the progress low there, it
will be paid for nothing: such states are searched for among rollouts.
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

# Progress as one number: with -(2 x hand + 10 x object) as the reward SAC opens the window.
_HAND_WEIGHT, _OBJECT_WEIGHT = 2.0, 10.0
# Metres by which an object counts as moved.
_MOVED = 0.01
# Fewer states make no correlation worth the name.
_FEWEST = 10
POLICY = "policy"
# Kinds of rollouts that an expert begins; the others never had the task in mind.
_DISTURBED = ("perturbed", "abandoned")


class Rollout(NamedTuple):
  """Frames that some policy led to, and how far along they are.

  Attributes:
    kind: as in `States`.
    films: what each view shows of it, with and, if need be, without the robot; T frames each.
    hand: float [T], metres from the hand to the object.
    object: float [T], metres of the object to its target.
  """

  kind: str
  films: list[Video]
  hand: np.ndarray
  object: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class States:
  """S states of rollouts and how far along they are.

  Attributes:
    kind: str [S], what made the rollout: "perturbed", "abandoned", "random", "policy".
    rollout: int [S], which rollout.
    time: float [S], s since its start.
    hand: float [S], metres from the hand to the object.
    object: float [S], metres of the object to its target.
    success: bool [S], whether the rollout succeeded in the end.
    potentials: float [S] by name: the value in each view, with and without the robot, and
      "reward", the potential that the run's policy climbs. Higher is meant to be better.
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
    """float [S], the simulator's progress as one number, <= 0."""
    return -(_HAND_WEIGHT * self.hand + _OBJECT_WEIGHT * self.object)

  @property
  def shared(self) -> np.ndarray:
    """bool [S], whether other runs have the same rollout: those of the run's policy are its own."""
    return self.kind != POLICY

  @property
  def moved(self) -> np.ndarray:
    """bool [S], whether the object has moved since the rollout began."""
    first = {which: np.argmax(self.rollout == which) for which in np.unique(self.rollout)}
    start = np.array([self.object[first[which]] for which in self.rollout])
    return np.abs(self.object - start) > _MOVED


def correlations(states: States) -> dict[str, dict[str, float | None]]:
  """Spearman correlations of each potential with what it should follow.

  Returns:
    By potential: "progress", and "progress_<kind>" over the states of a kind; "hand" with the
    nearness of the hand while the object has not moved; "object" with that of the object to its
    target once it has; "progress_disturbed" and "object_disturbed" with progress and with that
    nearness, moved or not, over the rollouts that an expert begins; "success": of all pairs of a
    rollout that succeeded and one that failed, the share in which the first ends higher (0.5 by
    chance). All but "progress_policy" leave out the policy's own states, which differ from run to
    run. None where there are fewer than 10 states, or no such pair.
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
  """How much more a potential likes each state than it deserves.

  Args:
    potential: float [S], S >= 2, higher is meant to be better.
    progress: float [S], the simulator's own.

  Returns:
    float64 [S], the rank by potential minus the rank by progress, in [-1, 1] (ranks from 0 to 1,
    ties sharing their mean).
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
  """The states that a potential likes most beyond what they deserve, one of each rollout.

  Args:
    potential: float [S], S >= 2, higher is meant to be better.
    progress: float [S], the simulator's own.
    rollout: int [S], which rollout each state is of.
    count: how many to find at most.
    kind: str [S], what made each rollout; then at most half of them, rounded up, are of one kind: a
      policy that rests on such a state does so in every episode.

  Returns:
    int64 [K], indices of the worst states first, K <= count, only such with a gap above 0; and
    float64 [S], the gap of every state (`rank_gap`).

  Raises:
    UserError: fewer than two states, different lengths, values that are not finite, a count < 1.
  """
  if count < 1:
    raise UserError(f"Expected to look for at least 1 state, but {count} came: raise it.")
  potential = statistics.check_curve("potential", potential)
  progress = statistics.check_curve("progress", progress)
  if not len(potential) == len(progress) == len(rollout):
    raise UserError(
      f"Expected arrays of one length, but {len(potential)}, {len(progress)} and {len(rollout)} "
      "came: pass one value for each state."
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
  """The states as lists for JSON, for a picture of them."""
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
