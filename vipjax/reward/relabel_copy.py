"""Where labels go: a table, or a copy of the data set that they are of."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence

from vipjax.reward.relabel import COLUMNS, Labels, by_episode, write_csv
from vipjax.runtime.errors import UserError
from vipjax.videos import LazyVideo, lerobot, rlds
from vipjax.videos.access import check_free, existing_path, permitted

TABLE_SUFFIX = ".csv"
# What the columns beside that of the reward are called, in one or another form of output.
_OTHERS = tuple(
  prefix + name
  for prefix in ("", "embedding.", "embedding_")
  for name in COLUMNS
  if name != "reward"
)


def check_place(out: pathlib.Path) -> pathlib.Path:
  """The nearest folder above `out` that is there.

  Raises:
    UserError: something is at `out`, a file is on the way, or nothing can be written there.
  """
  with permitted(out):
    if os.path.lexists(out):
      raise UserError(
        f"expected nothing at {out}, got something; labels overwrite nothing: rename."
      )
    folder = next(parent for parent in out.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
      raise UserError(
        f"expected a folder at {folder} to write {out.name} into, but a file is in the way; give "
        "another --out."
      )
  try:
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(b"\0")
  except OSError as error:
    raise UserError(
      f"expected to write into {folder}, but got '{error.strerror}'; give another --out."
    ) from error
  return folder


def check_label_out(data: pathlib.Path, out: pathlib.Path, reward: str | None = None) -> None:
  """Refuses, before any work is done, what could not be written.

  Args:
    data: where the videos are.
    out: a file that ends in .csv, or the folder of a copy of a LeRobot or TFDS data set.
    reward: as `write_labels`.

  Raises:
    UserError: something is at `out`, it cannot be written to or has no room, or `data` is no data
      set that can be copied with labels, because it has some already, for instance.
  """
  existing_path(data, "videos or a data set")
  folder = check_place(out)
  if reward is not None and (not reward or "/" in reward or reward in _OTHERS):
    raise UserError(
      f"expected a name without '/' for the column of rewards, and none of {', '.join(_OTHERS)}, "
      f"got {reward!r}; rename."
    )
  if out.suffix.lower() == TABLE_SUFFIX:
    return
  dataset = None if lerobot.is_dataset(data) else _tfds(data)
  if dataset is None and not lerobot.is_dataset(data):
    raise UserError(
      f"expected a LeRobot or TFDS data set in {data} to copy with labels, got other videos; give "
      "an --out that ends in .csv."
    )
  needed = sum(
    existing_path(path, "a file of the data set").stat().st_size
    for path in (dataset or data).rglob("*")
  )
  free = shutil.disk_usage(folder).free
  if needed > free:
    raise UserError(
      f"expected room for a copy of {data} at {out}, {needed / 1e6:.1f} MB, but there are "
      f"{free / 1e6:.1f} MB; make room, or give another --out."
    )
  if dataset is None:
    from vipjax.reward.relabel_lerobot import check_lerobot

    check_lerobot(data, reward)
  else:
    from vipjax.reward.relabel_tfds import check_tfds  # Here: it takes seconds to import.

    check_tfds(dataset, reward)


def check_label_videos(out: pathlib.Path, videos: Sequence[LazyVideo]) -> None:
  """Refuses what a copy cannot hold: labels from several cameras; as `by_episode`."""
  if out.suffix.lower() != TABLE_SUFFIX:
    by_episode(videos)


def write_labels(
  data: pathlib.Path, out: pathlib.Path, labels: Sequence[Labels], reward: str | None = None
) -> None:
  """Writes labels.

  A copy appears under its name only when it is whole.

  Args:
    data, out: as `check_label_out`.
    labels: of every video.
    reward: what to call the reward's column; None for "reward", after what the data set's other
      new columns begin with.

  Raises:
    UserError: as `check_label_out` and `check_label_videos`.
  """
  if out.suffix.lower() == TABLE_SUFFIX:
    write_csv(out, labels, reward or "reward")
    return
  episodes = by_episode(labels)
  partial = out.with_name(f".{out.name}.partial")
  with permitted(out):
    check_free(out, overwrite=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
      if lerobot.is_dataset(data):
        from vipjax.reward.relabel_lerobot import relabel_lerobot

        relabel_lerobot(data, partial, episodes, reward)
      else:
        from vipjax.reward.relabel_tfds import relabel_tfds  # Here: it takes seconds to import.

        relabel_tfds(_tfds(data), partial, episodes, reward)
      os.replace(partial, out)
    finally:
      shutil.rmtree(partial, ignore_errors=True)


def _tfds(data: pathlib.Path) -> pathlib.Path | None:
  return rlds.find_dataset(data) if data.is_dir() else None
