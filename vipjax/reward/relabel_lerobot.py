"""A copy of a LeRobot data set (v2.1 or v3) with the value function's numbers beside each frame."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from vipjax.reward.relabel import COLUMNS, Labels
from vipjax.runtime.errors import UserError
from vipjax.videos.access import decoding
from vipjax.videos.lerobot import INFO, LeRobotDataset
from vipjax.videos.lerobot_rows import read_rows
from vipjax.videos.lerobot_stats import (
  Statistics,
  column_statistics,
  statistics_columns,
  write_json,
  write_rows,
)

PREFIX = "embedding."
# Where lerobot's reward-aware behaviour cloning looks when it is given no path.
PROGRESS = "sarm_progress.parquet"


def check_lerobot(source: pathlib.Path, reward: str | None = None) -> None:
  """Refuses a data set that cannot be copied with labels.

  Args:
    source: the data set.
    reward: as `relabel_lerobot`.

  Raises:
    UserError: it has such labels already, or rows that do not fit the metadata.
  """
  dataset = LeRobotDataset(source)
  for episode in dataset.episodes:
    dataset.rows(episode)
  numbers = {episode.number for episode in dataset.episodes}
  columns = set(dataset.features)
  for path in sorted((source / "data").rglob("*.parquet")):
    there = parquet.read_schema(path).names
    if "index" not in there:
      raise UserError(
        f"expected a column index in {path}, but it has {', '.join(there)}: download the data set "
        "again."
      )
    columns |= set(there)
    unknown = set(read_rows(path, path.stat().st_mtime_ns)) - numbers
    if unknown:
      raise UserError(
        f"expected rows of those episodes alone that {source / 'meta'} lists, but {path} has rows "
        f"of episode {min(unknown)}: take the file away, or download the data set again."
      )
  taken = [each for each in columns if each.startswith(PREFIX) or each in _names(reward).values()]
  taken += [PROGRESS] if (source / PROGRESS).exists() else []
  if taken:
    raise UserError(
      f"expected a data set without labels, got {', '.join(sorted(taken))} in {source}; label the "
      "data set that it came from, or give the reward another column's name."
    )


def relabel_lerobot(
  source: pathlib.Path,
  out: pathlib.Path,
  labels: Mapping[int, Labels],
  reward: str | None = None,
) -> None:
  """Copies a data set and adds the features `embedding.value`, `.distance`, `.reward`, `.progress`.

  It also writes `sarm_progress.parquet`: index, episode_index, frame_index, progress_sparse. By
  that name lerobot's reward-aware behaviour cloning finds it beside the data
  (`--sample_weighting.type=rabc`); elsewhere by `--sample_weighting.progress_path=`.

  Args:
    source: the data set; it stays as it is.
    out: a folder that is not there yet.
    labels: of every episode, by its number.
    reward: another name for the feature of the reward, such as "next.reward", which lerobot's
      replay buffer reads.

  Raises:
    UserError: as `check_lerobot`, or an episode has no or too few labels.
  """
  check_lerobot(source, reward)
  shutil.copytree(source, out)
  names = _names(reward)
  info = json.loads((out / INFO).read_text(encoding="utf-8"))
  for name in names.values():
    info["features"][name] = {"dtype": "float32", "shape": [1], "names": None}
  write_json(out / INFO, info)
  files = sorted((out / "data").rglob("*.parquet"))
  rows = arrow.concat_tables(_relabel_table(path, labels, names, source) for path in files)
  numbers = rows["episode_index"].to_numpy()
  columns = {name: rows[name].to_numpy() for name in names.values()}
  parts = {
    number: {name: column_statistics(column[numbers == number]) for name, column in columns.items()}
    for number in np.unique(numbers).tolist()
  }
  whole = {name: column_statistics(column) for name, column in columns.items()}
  _add_statistics(out / "meta", parts, whole)
  progress = rows.select(["index", "episode_index", "frame_index", names["progress"]])
  parquet.write_table(
    progress.rename_columns([*progress.column_names[:3], "progress_sparse"]), out / PROGRESS
  )


def _names(reward: str | None) -> dict[str, str]:
  """What the features are called."""
  return {name: PREFIX + name for name in COLUMNS} | ({"reward": reward} if reward else {})


def _relabel_table(
  path: pathlib.Path, labels: Mapping[int, Labels], names: Mapping[str, str], source: pathlib.Path
) -> arrow.Table:
  """Adds the columns to one file; returns them with the numbers of its rows."""
  # What Hugging Face's library notes of the columns would leave the new ones out.
  table = parquet.read_table(path).replace_schema_metadata(None)
  episodes, frames = (table[name].to_numpy() for name in ("episode_index", "frame_index"))
  columns = {name: np.empty(len(table), np.float32) for name in names}
  for episode in np.unique(episodes).tolist():
    here = np.flatnonzero(episodes == episode)
    here = here[np.argsort(frames[here], kind="stable")]
    known = labels.get(int(episode))
    if known is None or len(here) != len(known.distance):
      raise UserError(
        f"expected labels of every frame of episode {episode} of {source}, got "
        f"{0 if known is None else len(known.distance)} of {len(here)}; label all of it."
      )
    for name, column in columns.items():
      column[here] = getattr(known, name)
  for name, column in columns.items():
    table = table.append_column(names[name], arrow.array(column))
  write_rows(path, table)
  numbers = ["index", "episode_index", "frame_index"]
  return table.select([*numbers, *names.values()]).cast(
    arrow.schema(
      [(name, arrow.int64()) for name in numbers]
      + [(name, arrow.float32()) for name in names.values()]
    )
  )


def _add_statistics(
  meta: pathlib.Path, parts: Mapping[int, dict[str, Statistics]], whole: dict[str, Statistics]
) -> None:
  """The new features' statistics, in those places where the data set keeps statistics."""
  path = meta / "stats.json"
  if path.is_file():
    with decoding(path):
      known = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**known, **whole})
  path = meta / "episodes_stats.jsonl"
  if path.is_file():  # v2.1
    with decoding(path):
      lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
      records = [json.loads(line) for line in lines]
    for record in records:
      record["stats"] |= parts.get(record["episode_index"], {})
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text, encoding="utf-8")
  for path in sorted((meta / "episodes").rglob("*.parquet")):
    table = parquet.read_table(path)
    if any(name.startswith("stats/") for name in table.column_names):
      here = [parts[number] for number in table["episode_index"].to_pylist()]
      for name, column in statistics_columns(here).items():
        table = table.append_column(name, column)
      parquet.write_table(table, path)
