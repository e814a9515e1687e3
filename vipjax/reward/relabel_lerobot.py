"""A copy of a LeRobot data set (v2.1 or v3) with the value function's numbers beside each frame."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from vipjax.reward.relabel import COLUMNS, Labels
from vipjax.runtime.errors import UserError
from vipjax.videos.lerobot import INFO

PREFIX = "embedding."
PROGRESS = "progress.parquet"


def relabel_lerobot(source: pathlib.Path, out: pathlib.Path, labels: Mapping[int, Labels]) -> None:
  """Copies a data set and adds the features `embedding.value`, `.distance`, `.reward`, `.progress`.

  It also writes `progress.parquet`, which lerobot's reward-aware behaviour cloning takes as
  `--rabc_progress_path`: index, episode_index, frame_index, progress_sparse.

  Args:
    source: the data set; it stays as it is.
    out: a folder that is not there yet.
    labels: of every episode, by its number.

  Raises:
    UserError: the data set has such features already, or an episode has no or too few labels.
  """
  shutil.copytree(source, out)
  info = json.loads((out / INFO).read_text(encoding="utf-8"))
  taken = [name for name in info["features"] if name.startswith(PREFIX)]
  if taken:
    raise UserError(f"expected a data set without labels, got {', '.join(taken)} in {source}.")
  rows: list[dict[str, np.ndarray]] = []
  for path in sorted((out / "data").rglob("*.parquet")):
    rows.append(_relabel_table(path, labels, source))
  for name in COLUMNS:
    info["features"][PREFIX + name] = {"dtype": "float32", "shape": [1], "names": None}
  _write_json(out / INFO, info)
  _add_statistics(out / "meta/stats.json", rows)
  columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
  columns["progress_sparse"] = columns.pop("progress")
  wanted = ("index", "episode_index", "frame_index", "progress_sparse")
  parquet.write_table(arrow.table({name: columns[name] for name in wanted}), out / PROGRESS)


def _relabel_table(
  path: pathlib.Path, labels: Mapping[int, Labels], source: pathlib.Path
) -> dict[str, np.ndarray]:
  """Adds the columns to one file; returns them with the numbers of its rows."""
  table = parquet.read_table(path)
  numbers = {
    name: table[name].to_numpy().astype(np.int64)
    for name in ("index", "episode_index", "frame_index")
  }
  rows: dict[str, np.ndarray] = dict(numbers)
  for name in COLUMNS:
    column = np.empty(len(table), np.float32)
    for episode in np.unique(numbers["episode_index"]):
      here = numbers["episode_index"] == episode
      frames = numbers["frame_index"][here]
      known = labels.get(int(episode))
      if known is None or frames.max() >= len(known.distance):
        raise UserError(
          f"expected labels of every frame of episode {episode} of {source}, got "
          f"{0 if known is None else len(known.distance)} of {frames.max() + 1}; label all of it."
        )
      column[here] = getattr(known, name)[frames]
    rows[name] = column
    table = table.append_column(PREFIX + name, arrow.array(column))
  # What Hugging Face's library notes of the columns would leave the new ones out.
  parquet.write_table(table.replace_schema_metadata(None), path)
  return rows


def _add_statistics(path: pathlib.Path, rows: list[dict[str, np.ndarray]]) -> None:
  """The new features' statistics, where the data set keeps them in one file (v3)."""
  if not path.is_file():
    return
  stats: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
  for name in COLUMNS:
    column = np.concatenate([row[name] for row in rows])
    stats[PREFIX + name] = {
      **{key: [float(getattr(np, key)(column))] for key in ("min", "max", "mean", "std")},
      "count": [len(column)],
    }
  _write_json(path, stats)


def _write_json(path: pathlib.Path, value: Any) -> None:
  path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
