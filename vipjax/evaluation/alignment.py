"""Measures of alignment: whether equal moments of different videos have equal embeddings.

Each frame of one video has a nearest frame in another. Temporal cycle-consistency learning is
measured by whether these matches keep the order of time (Kendall's tau) and whether they lead back
to their start (cycle consistency; Dwibedi et al., arXiv:1904.07846; XIRL, arXiv:2106.03911).
Embeddings are floats [T, D]; all functions use NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.evaluation import statistics
from vipjax.runtime.errors import UserError

# Frames of the first video whose squared distances are computed at a time.
_CHUNK = 64


def nearest_frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns each frame's nearest frame (L2) in another video; a tie goes to the earlier one.

  Args:
    first: float [T, D], T >= 2.
    second: float [S, D], S >= 2.

  Returns:
    int64 [T] in [0, S).

  Raises:
    UserError: wrong ranks, too few frames, different sizes D, or values that are not finite.
  """
  first, second = _check_embeddings(first), _check_embeddings(second)
  if first.shape[1] != second.shape[1]:
    raise UserError(
      f"expected embeddings of one size, got {first.shape[1]} and {second.shape[1]}; embed both "
      "videos with one encoder."
    )
  return np.concatenate([
    np.argmin(np.sum((part[:, None] - second[None]) ** 2, axis=-1), axis=1)
    for part in np.split(first, range(_CHUNK, len(first), _CHUNK))
  ])  # fmt: skip


def alignment_tau(first: np.ndarray, second: np.ndarray) -> float:
  """Returns Kendall's tau-b of the nearest frames in the second video with time in the first.

  Arguments and errors as `nearest_frames`.

  Returns:
    A number in [-1, 1]: 1.0 if all later frames have later neighbours. It is not symmetric,
    because one video may pause where the other moves.
  """
  return _tau(nearest_frames(first, second))


def leads_back(first: np.ndarray, second: np.ndarray, tolerance: float = 0.05) -> np.ndarray:
  """Returns which frames of one video have a consistent cycle through another video.

  Args:
    first: float [T, D], T >= 2.
    second: float [S, D], S >= 2.
    tolerance: greatest distance from start to return, as a share of the first video's frames.

  Returns:
    bool [T].

  Raises:
    UserError: as `nearest_frames`.
  """
  there, back = nearest_frames(first, second), nearest_frames(second, first)
  return np.abs(back[there] - np.arange(len(there))) <= tolerance * len(there)


def align(embeddings: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, Any]:
  """Returns all measures of a group of videos as JSON-able values.

  Args:
    embeddings: float [T_i, D] of B >= 2 videos.
    names: the videos' names.

  Returns:
    "tau" (mean over ordered pairs), "cycle_consistency_2" and "_3" (share of walks that return to
    their start, from every frame of a video through one or two others), "cycle_index_error_2" and
    "_3" (mean number of frames between start and return; the mean of
    `vipjax.losses.cycle_index_error` for videos of equal length) and "cycle_error_2" and "_3" (the
    same as a share of the first video's frames); those with 3 are None for two videos. "pairs": tau
    by the names of the first and the second video. "nearest": for each video but the first, by
    name, the nearest frame in it for each frame of the first video, as int lists.

  Raises:
    UserError: fewer than two videos, or as `nearest_frames`.
  """
  if len(embeddings) < 2:
    raise UserError(f"expected at least two videos to align, got {len(embeddings)}; add some.")
  table = _neighbour_table(embeddings)
  lengths = [len(each) for each in embeddings]
  taus = {pair: _tau(neighbours) for pair, neighbours in table.items()}
  result: dict[str, Any] = {"tau": float(np.mean(list(taus.values())))}
  for length in (2, 3):
    measures: list[float | None] = [None] * 3
    if len(embeddings) >= length:
      errors, starts = _cycle_errors(table, lengths, length)
      measures = [float(np.mean(each)) for each in (errors == 0, errors / starts, errors)]
    for name, number in zip(("consistency", "error", "index_error"), measures, strict=True):
      result[f"cycle_{name}_{length}"] = number
  indices = range(len(names))
  result["pairs"] = {
    names[i]: {names[j]: taus[i, j] for j in indices if j != i} for i in indices
  }  # fmt: skip
  result["nearest"] = {names[j]: table[0, j].tolist() for j in indices if j != 0}
  return result


def _tau(neighbours: np.ndarray) -> float:
  return statistics.kendall(neighbours, np.arange(len(neighbours)))


def _neighbour_table(embeddings: Sequence[np.ndarray]) -> dict[tuple[int, int], np.ndarray]:
  """Returns `nearest_frames` of every ordered pair of videos."""
  pairs = itertools.permutations(range(len(embeddings)), 2)
  return {(i, j): nearest_frames(embeddings[i], embeddings[j]) for i, j in pairs}


def _cycle_errors(table, lengths: Sequence[int], length: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns, by walk, frames from start to return and frames of its first video; [K] each."""
  errors, starts = [], []
  for cycle in itertools.permutations(range(len(lengths)), length):
    start = np.arange(lengths[cycle[0]])
    place = start
    for here, there in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
      place = table[here, there][place]
    errors.append(np.abs(place - start))
    starts.append(np.full(len(start), len(start)))
  return np.concatenate(errors), np.concatenate(starts)


def _check_embeddings(embeddings: np.ndarray) -> np.ndarray:
  array = np.asarray(embeddings, np.float64)
  if array.ndim != 2 or len(array) < 2 or not np.isfinite(array).all():
    raise UserError(
      "expected finite embeddings [T, D] of at least two frames, got an array of shape "
      f"{list(array.shape)}{'' if np.isfinite(array).all() else ', not all finite'}; embed a "
      "longer video with an encoder that has not diverged."
    )
  return array
