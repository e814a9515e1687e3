"""Do the same moments of different videos get the same embeddings? Nearest neighbours tell.

Frames of one video are matched to their nearest in another. Matches that keep the order of time
(Kendall's tau) and matches that lead back to where they started (cycle consistency) are what
temporal cycle-consistency learning is measured by (Dwibedi et al., arXiv:1904.07846; XIRL,
arXiv:2106.03911). Embeddings are floats [T, D]; everything is NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from vipjax.evaluation import statistics
from vipjax.runtime.errors import UserError

# Squared distances are taken for so many frames of the first video at a time.
_CHUNK = 64


def nearest_frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """For each frame of one video its nearest (L2) in another; of equally near ones the earliest.

  Args:
    first: float [T, D], T >= 2.
    second: float [S, D], S >= 2.

  Returns:
    int64 [T] in [0, S).

  Raises:
    UserError: other ranks, too few frames, sizes D that differ, or values that are not finite.
  """
  first, second = _check_embeddings(first), _check_embeddings(second)
  if first.shape[1] != second.shape[1]:
    raise UserError(
      f"Expected embeddings of one size, but {first.shape[1]} and {second.shape[1]} came: embed "
      "both videos with one encoder."
    )
  return np.concatenate([
    np.argmin(np.sum((part[:, None] - second[None]) ** 2, axis=-1), axis=1)
    for part in np.split(first, range(_CHUNK, len(first), _CHUNK))
  ])  # fmt: skip


def alignment_tau(first: np.ndarray, second: np.ndarray) -> float:
  """Kendall's tau-b of the nearest frames in the second video with time in the first.

  Arguments and errors as `nearest_frames`.

  Returns:
    A number in [-1, 1]: 1.0 when later frames have later neighbours throughout. It is not
    symmetric: one video may pause where the other moves.
  """
  neighbours = nearest_frames(first, second)
  return statistics.kendall(neighbours, np.arange(len(neighbours)))


def cycle_errors(embeddings: Sequence[np.ndarray], length: int) -> np.ndarray:
  """How far from its start each walk of nearest frames through videos comes back.

  Args:
    embeddings: float [T_i, D] of B >= `length` videos.
    length: videos in a cycle, 2 or 3; the jump back into the first is not counted.

  Returns:
    float64 [K] in [0, 1): frames between start and return, divided by the number of frames of the
    first video, for every frame of the first video of every ordered choice of `length` different
    videos; 0 is exactly consistent. For videos of equal length it is
    `vipjax.losses.cycle_index_error`, divided.

  Raises:
    UserError: too few videos, another length, or as `nearest_frames`.
  """
  if length not in (2, 3):
    raise UserError(f"Expected cycles through 2 or 3 videos, but {length} came: choose one.")
  if len(embeddings) < length:
    raise UserError(
      f"Expected at least {length} videos for cycles through as many, but {len(embeddings)} came: "
      "add some or shorten the cycles."
    )
  return _cycle_errors(_neighbour_table(embeddings), [len(each) for each in embeddings], length)


def leads_back(first: np.ndarray, second: np.ndarray, tolerance: float = 0.05) -> np.ndarray:
  """Which frames of one video the nearest frame in another leads back to: consistent cycles of 2.

  Args:
    first: float [T, D], T >= 2.
    second: float [S, D], S >= 2.
    tolerance: how far from its start a walk may end, as a share of the first video's frames.

  Returns:
    bool [T].

  Raises:
    UserError: as `nearest_frames`.
  """
  there, back = nearest_frames(first, second), nearest_frames(second, first)
  return np.abs(back[there] - np.arange(len(there))) <= tolerance * len(there)


def align(embeddings: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, Any]:
  """All measures of a group of videos as values that JSON can hold.

  Args:
    embeddings: float [T_i, D] of B >= 2 videos.
    names: of the videos.

  Returns:
    "tau" (mean over ordered pairs), "cycle_consistency_2" and "_3" (share of walks that come back
    to the very frame) and "cycle_error_2" and "_3" (mean of `cycle_errors`); those with 3 are None
    for two videos. "pairs": tau by name of the first and of the second video. "nearest": by name
    of each video but the first, the nearest frame there of each frame of the first: int lists.

  Raises:
    UserError: fewer than two videos, or as `nearest_frames`.
  """
  if len(embeddings) < 2:
    raise UserError(f"Expected at least two videos to align, but {len(embeddings)} came: add some.")
  table = _neighbour_table(embeddings)
  lengths = [len(each) for each in embeddings]
  taus = {
    pair: statistics.kendall(neighbours, np.arange(len(neighbours)))
    for pair, neighbours in table.items()
  }
  result: dict[str, Any] = {"tau": float(np.mean(list(taus.values())))}
  for length in (2, 3):
    errors = _cycle_errors(table, lengths, length) if len(embeddings) >= length else None
    exact = None if errors is None else float(np.mean(errors == 0))
    result[f"cycle_consistency_{length}"] = exact
    result[f"cycle_error_{length}"] = None if errors is None else float(np.mean(errors))
  indices = range(len(names))
  result["pairs"] = {
    names[i]: {names[j]: taus[i, j] for j in indices if j != i} for i in indices
  }  # fmt: skip
  result["nearest"] = {names[j]: table[0, j].tolist() for j in indices if j != 0}
  return result


def _neighbour_table(embeddings: Sequence[np.ndarray]) -> dict[tuple[int, int], np.ndarray]:
  """`nearest_frames` of every ordered pair of videos."""
  pairs = itertools.permutations(range(len(embeddings)), 2)
  return {(i, j): nearest_frames(embeddings[i], embeddings[j]) for i, j in pairs}


def _cycle_errors(table, lengths: Sequence[int], length: int) -> np.ndarray:
  errors = []
  for cycle in itertools.permutations(range(len(lengths)), length):
    start = np.arange(lengths[cycle[0]])
    place = start
    for here, there in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
      place = table[here, there][place]
    errors.append(np.abs(place - start) / len(start))
  return np.concatenate(errors)


def _check_embeddings(embeddings: np.ndarray) -> np.ndarray:
  array = np.asarray(embeddings, np.float64)
  if array.ndim != 2 or len(array) < 2 or not np.isfinite(array).all():
    raise UserError(
      "Expected finite embeddings [T, D] of at least two frames, but an array of shape "
      f"{list(array.shape)} came{'' if np.isfinite(array).all() else ', not all finite'}: embed a "
      "longer video with an encoder that has not diverged."
    )
  return array
