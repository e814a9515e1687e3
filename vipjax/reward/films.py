"""What the reward's potentials along films are made of: "path" and "subgoal"."""

from __future__ import annotations

from collections.abc import Sequence

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


def subgoals(
  frames: np.ndarray, lengths: Sequence[int], free: np.ndarray, starts: np.ndarray, move: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Where the arm is when, from each frame's state, the object is about to move on.

  Args:
    frames: float32 [F, C, D], embeddings of all frames of films, one film after the other.
    lengths: numbers of the films' frames, with the sum F.
    free: bool [C], the channels without the robot.
    starts: float [C], the first frames' distances to the goal.
    move: how far the frame without the robot goes when the object moves on, in units of `starts`.

  Returns:
    float32 [F, C, D], without the robot each frame and with it its subgoal; float32 [F, C], how
    far the arm goes from there beside an object at rest; float32 [C], units of these distances.

  Raises:
    UserError: an arm that is at its subgoal from the first.
  """
  ends = np.cumsum(lengths)
  made = [_of_film(film, free, starts, move) for film in np.split(frames, ends[:-1])]
  found, left = (np.concatenate(each).astype(np.float32) for each in zip(*made, strict=True))
  begins = np.array([0, *ends[:-1]])
  ways = np.linalg.norm(found[begins] - frames[begins], axis=-1) + left[begins]
  units = np.where(free, starts, ways.mean(axis=0)).astype(np.float32)
  if not (units > 1e-6).all():
    raise UserError(
      "expected films whose arm moves before the object does for the reward's potential 'subgoal', "
      "got the same frame twice; begin the films earlier, or set potential to 'goal'."
    )
  return found, left, units


def _of_film(
  frames: np.ndarray, free: np.ndarray, starts: np.ndarray, move: float
) -> tuple[np.ndarray, np.ndarray]:
  """One film's part of `subgoals`."""
  scene = (frames[:, free] / starts[free, None]).reshape(len(frames), -1) / np.sqrt(free.sum())
  goals = before_moving_on(scene, move)
  found = np.where(free[:, None], frames, frames[goals])
  ways = np.linalg.norm(found - frames, axis=-1)
  left = np.zeros(frames.shape[:2])
  for time in reversed(range(len(frames) - 1)):
    # Once the arm is there its state is that frame's, or, where it is there, the next one's: on the
    # film the sum of both never rises.
    there = max(goals[time], time + 1)
    left[time] = ways[there] + left[there]
  return found, np.where(free, 0.0, left)


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
