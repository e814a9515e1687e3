"""What LeRobot keeps beside the rows of a data set: statistics of each column, row groups."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

# Its policies normalise by these; its editing tools go by the names.
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

Statistics = dict[str, list[Any]]


def column_statistics(values: np.ndarray) -> Statistics:
  """Statistics of a column of single numbers [T], each as a list of one."""
  numbers = values.astype(np.float64)
  stats = {"min": values.min(), "max": values.max(), "mean": numbers.mean(), "std": numbers.std()}
  stats |= {name: np.quantile(numbers, share) for name, share in QUANTILES.items()}
  return {**{name: [value.item()] for name, value in stats.items()}, "count": [len(values)]}


class ColourCounts:
  """How often each level of each channel occurs in the frames of a camera."""

  def __init__(self):
    """Of no frame."""
    self._counts, self._frames = np.zeros((3, 256), np.int64), 0

  def add(self, frames: np.ndarray) -> ColourCounts:
    """Counts uint8 [T, H, W, 3], too."""
    for channel, counts in enumerate(self._counts):
      counts += np.bincount(frames[..., channel].ravel(), minlength=256)
    self._frames += len(frames)
    return self

  def statistics(self) -> Statistics:
    """Of at least one frame, each but the count of frames [3, 1, 1] in 0..1."""
    counts, levels = self._counts, np.arange(256) / 255
    total = counts[0].sum()
    mean = counts @ levels / total
    reached = np.cumsum(counts, axis=1) / total
    stats = {
      "min": levels[np.argmax(counts > 0, axis=1)],
      "max": levels[255 - np.argmax(counts[:, ::-1] > 0, axis=1)],
      "mean": mean,
      "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0)),
      **{name: levels[np.argmax(reached >= share, axis=1)] for name, share in QUANTILES.items()},
    }
    shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in stats.items()}
    return {**shaped, "count": [self._frames]}


def statistics_columns(parts: Sequence[Mapping[str, Statistics]]) -> dict[str, arrow.Array]:
  """The columns of `meta/episodes` for the statistics of each episode, all of the same names."""
  return {
    f"stats/{name}/{kind}": arrow.array([part[name][kind] for part in parts])
    for name, stats in parts[0].items()
    for kind in stats
  }


def write_rows(path: pathlib.Path, table: arrow.Table) -> None:
  """Writes rows with a row group for each episode, by which LeRobot reads single episodes."""
  starts = np.flatnonzero(np.diff(table["episode_index"].to_numpy(), prepend=-1))
  path.parent.mkdir(parents=True, exist_ok=True)
  with parquet.ParquetWriter(path, table.schema) as writer:
    for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
      writer.write_table(table.slice(start, stop - start), row_group_size=stop - start)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a file of metadata as LeRobot does."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
