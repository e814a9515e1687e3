"""The reward's potentials along films: "path" and "subgoal".

"path" is how far along the expert's path a state is, by its soft nearest neighbours among the
films' frames (the alignment that the TCC loss trains, arXiv:1904.07846), less how far it is from
that path. The neighbour is that of all channels at once, so a pose of the arm that fits one moment
beside an object that fits another is far from every frame. Off the path it follows true progress
far better than the distance to the goal (docs/results/ten_tasks.md).

"subgoal" lets the frames without the robot say how much of the object's way is left, and those with
it how much of the arm's to where the films have it when the object, from the state that it is in,
is about to move on. Before anything moved that is the moment of contact: the pose of the end beside
an unmoved object is worth no more than any other away from the handle. The nearer the object is to
its goal, the less the arm counts. Either way is the shortest one to any frame of the films, by
distance, and from there to the end, in time. So all of a film is paid as it goes, where a distance
hardly changes or grows at first; and beside the films a straight way to the goal is paid as well,
and a push astray costs no more than the goal is farther away.

Along films the distances are always those of the embeddings, whatever the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime.errors import UserError


def checked_films(
  kind: str, films: Sequence[Sequence[np.ndarray]] | None, num_channels: int
) -> list[list[np.ndarray]]:
  """Returns the films of each channel; raises UserError unless they show the same moments."""
  lengths = [[len(film) for film in each] for each in films or ()]
  if len(lengths) != num_channels or not lengths[0] or any(n != lengths[0] for n in lengths):
    raise UserError(
      f"expected for the reward's potential {kind!r} films of the same episodes, of equal lengths, "
      f"in each of {num_channels} channels, got lengths {lengths}; film each episode from every "
      "view, with and without the robot as the channels ask, or set potential to 'goal'."
    )
  return [[np.asarray(film) for film in each] for each in films]


def along_path(
  distances: jax.Array, places: jax.Array, distance_weight: float, temperature: float
) -> jax.Array:
  """How far along a path states are, less how far they are from it.

  Args:
    distances: float32 [N, F], of N states to F frames of films, >= 0.
    places: float32 [F], where in its film each frame is, from 0 to 1.
    distance_weight: factor of the distance to the nearest frame, >= 0.
    temperature: of the softmax over minus the distances, which gives the place, > 0.

  Returns:
    float32 [N], at most 1.
  """
  chex.assert_rank(distances, 2)
  chex.assert_shape(places, (distances.shape[1],))
  place = jax.nn.softmax(-distances / temperature, axis=1) @ places
  return place - distance_weight * jnp.min(distances, axis=1)


class Subgoals(NamedTuple):
  """What the potential "subgoal" knows of films with F frames in all, of C channels.

  Attributes:
    frames: float32 [F, C, D], the embeddings.
    to_go: float32 [F], the time left to each frame until the object has arrived, as a share of that
      from its first move, from 0 to 1.
    way: int32 [E], frames on the ways to subgoals, one way after the other.
    wait: float32 [E], the time from these to the end of their way, as a share of the longest way's.
    of_way: int32 [E], the number of the way that each is on, in order.
    next_way: int32 [F], the number of the way to each frame's subgoal.
    units: float32 [C], units of distances.
  """

  frames: np.ndarray
  to_go: np.ndarray
  way: np.ndarray
  wait: np.ndarray
  of_way: np.ndarray
  next_way: np.ndarray
  units: np.ndarray


def subgoals(
  frames: np.ndarray,
  lengths: Sequence[int],
  free: np.ndarray,
  starts: np.ndarray,
  move: float,
  rest: float,
) -> Subgoals:
  """Where the arm is, and how it comes there, when the object is about to move on.

  The subgoal of a frame is the last one before the object, from its state there, has moved on; the
  way to it begins with the first frame that has the same one. Units are `starts` without the robot,
  and with it the distance from where a way begins to its subgoal, the longest, which is mostly that
  to the object; the mean of all films.

  Args:
    frames: float32 [F, C, D], embeddings of all frames of films, one film after the other.
    lengths: numbers of the films' frames, with the sum F.
    free: bool [C], the channels without the robot.
    starts: float [C], the first frames' distances to the goal.
    move: how far the frame without the robot goes when the object moves on, in units of `starts`.
    rest: how far the frame without the robot may be from the film's last one once the object has
      arrived, in the same units.

  Raises:
    UserError: an object that never moves, or an arm that is at its subgoals from the first.
  """
  to_go, ways, next_way, far, long = [], [], [], [], []
  begins = np.cumsum([0, *lengths])
  for film, begin in zip(np.split(frames, begins[1:-1]), begins[:-1], strict=True):
    scene = (film[:, free] / starts[free, None]).reshape(len(film), -1) / np.sqrt(free.sum())
    under_way = np.flatnonzero(np.linalg.norm(scene - scene[-1], axis=-1) > rest)
    if not len(under_way):
      raise UserError(
        "expected films whose object moves for the reward's potential 'subgoal', got one in which "
        f"no frame without the robot is farther than {rest} from the last one, in units of the "
        "first one's distance to the goal; leave it out, or set potential to 'goal'."
      )
    # What the arm does after the object has arrived is no subgoal of the way there.
    number, arrival = np.arange(len(film)), under_way[-1] + 1
    goals = np.maximum(np.minimum(before_moving_on(scene, move), arrival), number)
    left = (arrival - number) / max(arrival - goals[0], 1)
    to_go.append(np.clip(left, 0, 1))
    ends, firsts, which = np.unique(goals, return_index=True, return_inverse=True)
    next_way.append(len(ways) + which)
    ways += [begin + np.arange(first, end + 1) for first, end in zip(firsts, ends, strict=True)]
    far.append(np.linalg.norm(film[ends] - film[firsts], axis=-1).max(axis=0))
    long.append((ends - firsts).max())
  units = np.where(free, starts, np.mean(far, axis=0)).astype(np.float32)
  if not (units > 1e-6).all():
    raise UserError(
      "expected films whose arm moves before the object does for the reward's potential 'subgoal', "
      "got the same frame twice; begin the films earlier, or set potential to 'goal'."
    )
  waits = np.concatenate([np.arange(len(way))[::-1] for way in ways]) / np.mean(long)
  of_way = np.repeat(np.arange(len(ways)), [len(way) for way in ways])
  return Subgoals(
    frames, np.concatenate(to_go).astype(np.float32), np.concatenate(ways).astype(np.int32),
    waits.astype(np.float32), of_way.astype(np.int32), np.concatenate(next_way).astype(np.int32),
    units,
  )  # fmt: skip


def by_subgoals(
  object_away: jax.Array,
  arm_away: jax.Array,
  known: Subgoals,
  object_weight: jax.Array,
  temperature: float,
) -> jax.Array:
  """What is left of the object's way, and of the arm's to where the object next moves on.

  Either is the shortest way: to a frame, and from there on along its film, in time. So a way that
  no film shows is paid as soon as it is shorter, and the films' own where the distance to its end
  grows at first. The object may take any frame; the arm those on the way to the subgoal of the
  frame that the object is nearest to. It counts as much as the object has still to go: where the
  object has arrived, wherever the arm is costs nothing.

  Args:
    object_away: float32 [F, N], distances >= 0 of N states to F frames of films without the robot.
    arm_away: float32 [F, N], the same with the robot and weighted.
    known: of the films; `frames` and `units` are not used.
    object_weight: weight of the object beside the arm, >= 0.
    temperature: of the softmax over minus the object's ways, and over minus `object_away`, which
      says which frame it is nearest to.

  Returns:
    float32 [N], at most 0.
  """
  chex.assert_equal_shape((object_away, arm_away))
  chex.assert_shape(known.to_go, (object_away.shape[0],))
  ways = object_away + known.to_go[:, None]
  way = jnp.sum(jax.nn.softmax(-ways / temperature, axis=0) * ways, axis=0)
  arm_ways = jax.ops.segment_min(
    arm_away[known.way] + known.wait[:, None], known.of_way, object_away.shape[0],
    indices_are_sorted=True,
  )  # fmt: skip
  nearest = jax.nn.softmax(-object_away / temperature, axis=0)
  arm = jnp.sum(nearest * arm_ways[known.next_way], axis=0)
  return -object_weight * way - arm * jnp.minimum(way, 1)


def before_moving_on(embeddings: np.ndarray, move: float) -> np.ndarray:
  """For each frame of a film the last one before the first later one that is farther than `move`.

  Args:
    embeddings: float [T, D].
    move: in the embeddings' units, > 0.

  Returns:
    int [T], at least the frame itself; T - 1 where none is farther.
  """
  away = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)
  later = np.triu(away > move, 1)
  return np.where(later.any(axis=1), later.argmax(axis=1), len(embeddings)) - 1
