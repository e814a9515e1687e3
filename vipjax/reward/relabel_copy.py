"""Where labels go: a table, or a copy of the data set that they are of."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence

from vipjax.reward.relabel import Labels, by_episode, write_csv
from vipjax.runtime.errors import UserError
from vipjax.runtime.stand_ins import refuse_stand_ins
from vipjax.videos import lerobot, rlds
from vipjax.videos.access import check_free, existing_path, permitted

TABLE_SUFFIX = ".csv"


def check_label_out(data: pathlib.Path, out: pathlib.Path) -> None:
  """Refuses, before any work is done, what could not be written.

  Args:
    data: where the videos are.
    out: a file that ends in .csv, or the folder of a copy of a LeRobot or TFDS data set.

  Raises:
    UserError: something is at `out`, or `data` is no data set that can be copied with labels.
  """
  existing_path(data, "videos or a data set")
  if out.exists():
    raise UserError(f"expected nothing at {out}, got something; labels overwrite nothing: rename.")
  if out.suffix.lower() != TABLE_SUFFIX and not _is_lerobot(data) and _tfds(data) is None:
    raise UserError(
      f"expected a LeRobot or TFDS data set in {data} to copy with labels, got other videos; give "
      "an --out that ends in .csv."
    )


def write_labels(data: pathlib.Path, out: pathlib.Path, labels: Sequence[Labels]) -> None:
  """Writes labels; arguments and errors as `check_label_out`.

  A copy appears under its name only when it is whole.
  """
  if out.suffix.lower() == TABLE_SUFFIX:
    write_csv(out, labels)
    return
  episodes = by_episode(labels)
  partial = out.with_name(f".{out.name}.partial")
  with permitted(out):
    check_free(out, overwrite=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
      if _is_lerobot(data):
        from vipjax.reward.relabel_lerobot import relabel_lerobot

        relabel_lerobot(data, partial, episodes)
      else:
        from vipjax.reward.relabel_tfds import relabel_tfds  # Here: it takes seconds to import.

        relabel_tfds(_tfds(data), partial, episodes)
      os.replace(partial, out)
    finally:
      shutil.rmtree(partial, ignore_errors=True)


def _is_lerobot(data: pathlib.Path) -> bool:
  refuse_stand_ins(data / lerobot.INFO)
  return (data / lerobot.INFO).is_file()


def _tfds(data: pathlib.Path) -> pathlib.Path | None:
  return rlds.find_dataset(data) if data.is_dir() else None
