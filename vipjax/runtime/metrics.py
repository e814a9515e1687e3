"""Writes metrics: JSON lines for programs, TensorBoard events (and W&B) for people."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pathlib
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vipjax.runtime import files, hosts, wandb_run
from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames

# tensorboardX imports an installed torch, which takes seconds and which we do not use.
_hides_torch = "torch" not in sys.modules
if _hides_torch:
  sys.modules["torch"] = None  # makes `import torch` raise an ImportError
from tensorboardX import summary  # noqa: E402
from tensorboardX.proto.event_pb2 import Event, SessionLog  # noqa: E402
from tensorboardX.proto.summary_pb2 import Summary  # noqa: E402
from tensorboardX.record_writer import RecordWriter  # noqa: E402

if _hides_torch:
  del sys.modules["torch"]

_FILE = "metrics.jsonl"
_MOST_FPS = 25  # of films; browsers slow down a faster gif


class MetricsWriter(contextlib.AbstractContextManager):
  """Appends the metrics of one stage to `metrics.jsonl` and to `tensorboard/<stage>/`.

  With --wandb they also go to Weights & Biases (`wandb_run`).

  A line is {"step": 10, "stage": "finetune", "loss": 0.5}, with null for NaN and infinities
  (TensorBoard shows them). A run folder may have one open writer at a time. Of several processes
  only the first one's writer writes.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    name: str,
    resume_step: int | None = None,
    parts: Sequence[str] = (),
  ):
    """Opens the files, and drops the lines that an interrupted run wrote past its last checkpoint.

    Args:
      workdir: the run folder.
      name: the stage, such as "finetune".
      resume_step: the step of the restored checkpoint: the stage's later lines are dropped, so
        that the file continues as without the interruption. None if the stage starts anew: all
        its lines are dropped. Lines of other stages stay.
      parts: what runs beside one another in the stage, such as "seed1": in TensorBoard the metric
        "seed1/loss" is "loss" of a run of its own, <stage>/seed1, so that charts lay parts over
        one another.
    """
    workdir = pathlib.Path(workdir)
    self._name, self._path = name, workdir / _FILE
    self._opened = contextlib.ExitStack()
    self._file, self._viewers = None, []
    if not hosts.is_first():
      return
    wandb = wandb_run.open_stage(workdir, name)
    keep_up_to = -1 if resume_step is None else resume_step
    self._drop_later_lines(keep_up_to)
    events = _Events(workdir / "tensorboard" / name, keep_up_to + 1, parts)
    self._opened.callback(events.close)
    self._file = self._opened.enter_context(self._path.open("a", encoding="utf-8"))
    self._viewers = [events] if wandb is None else [events, wandb]

  def write(self, step: int, metrics: dict[str, Any]) -> None:
    """Writes the metrics of a step: scalars of Python, NumPy or JAX by their names.

    Raises:
      UserError: a metric is not a scalar, or its name is "step" or "stage".
    """
    scalars = {}
    for name, value in metrics.items():
      array = np.asarray(value)
      if array.size != 1 or array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise UserError(
          f"expected a number for the metric '{name}', got an array of shape {array.shape} and "
          f"type {array.dtype}; reduce it first."
        )
      if name in ("step", "stage"):
        raise UserError(f"expected a metric not called 'step' or 'stage', got '{name}'; rename it.")
      scalars[name] = array.item()
    if self._file is not None:
      line = files.jsonable({"step": int(step), "stage": self._name, **scalars})
      self._file.write(json.dumps(line, allow_nan=False) + "\n")
      self._file.flush()
    for viewer in self._viewers:
      viewer.write(int(step), scalars)

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3], to TensorBoard (and W&B)."""
    image = check_frames(image, f"the picture '{name}'", "[H, W, 3]")
    for viewer in self._viewers:
      viewer.image(int(step), name, image)

  def film(self, step: int, name: str, frames: np.ndarray, fps: float) -> None:
    """Writes a film, uint8 [T, H, W, 3], to TensorBoard (and W&B), as a gif of at most 25 Hz."""
    stride = max(1, math.ceil(fps / _MOST_FPS))
    frames = check_frames(frames, f"the film '{name}'")[::stride]
    if not self._viewers:
      return
    file, pictures = io.BytesIO(), [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
      file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 * stride / fps, loop=0
    )
    for viewer in self._viewers:
      viewer.film(int(step), name, file.getvalue())

  def close(self) -> None:
    """Flushes and closes both files."""
    self._opened.close()

  def __exit__(self, *unused) -> None:
    self.close()

  def _drop_later_lines(self, last_step: int) -> None:
    if not self._path.is_file():
      self._path.parent.mkdir(parents=True, exist_ok=True)
      return
    text = self._path.read_text(encoding="utf-8")
    kept = "".join(line for line in text.splitlines(keepends=True) if self._keeps(line, last_step))
    if kept != text:
      files.write_text(self._path, kept)

  def _keeps(self, line: str, last_step: int) -> bool:
    if not line.endswith("\n"):  # the process was killed while it wrote this line
      return False
    try:
      record = json.loads(line)
      return record["stage"] != self._name or record["step"] <= last_step
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(
        f"expected lines of JSON with 'step' and 'stage' in {self._path}, got "
        f"{line.strip()[:80]!r}; move the file away and run again."
      ) from error


class _Events:
  """An event file of TensorBoard, written in the calling thread.

  tensorboardX's own writer uses a thread. On a full disk that thread ends, and soon the program
  waits for it forever.
  """

  def __init__(self, folder: pathlib.Path, purge_step: int, parts: Sequence[str] = ()):
    """Opens a new file; TensorBoard hides events of earlier files from purge_step on."""
    self._parts = {part: _Events(folder / part, purge_step) for part in parts}
    folder.mkdir(parents=True, exist_ok=True)
    nanoseconds = time.time_ns()
    # TensorBoard sorts by name, and two writers may open within one second.
    name = f"events.out.tfevents.{nanoseconds // 10**9}.{platform.node()}.{nanoseconds}"
    self._records = RecordWriter(str(folder / name))
    self._put(file_version="brain.Event:2")
    self._put(step=purge_step, session_log=SessionLog(status=SessionLog.START))

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Writes numbers of a step."""
    for name, value in values.items():
      events, tag = self._of(name)
      events._put(step=step, summary=summary.scalar(tag, value))
    for events in (self, *self._parts.values()):
      events._records.flush()

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3]."""
    events, tag = self._of(name)
    events._put(step=step, summary=summary.image(tag, image, dataformats="HWC"))
    events._records.flush()

  def film(self, step: int, name: str, gif: bytes) -> None:
    """Writes a film, the contents of a gif file; tensorboardX's own add_video needs moviepy."""
    width, height = Image.open(io.BytesIO(gif)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    events, tag = self._of(name)
    events._put(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)]))
    events._records.flush()

  def close(self) -> None:
    for events in (self, *self._parts.values()):
      events._records.close()

  def _of(self, name: str) -> tuple[_Events, str]:
    """The events of a metric's part, and its name there."""
    part, _, tag = name.partition("/")
    return (self._parts[part], tag) if part in self._parts else (self, name)

  def _put(self, **fields) -> None:
    self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())


def read_metrics(workdir: str | os.PathLike, stage: str | None = None) -> list[dict]:
  """Reads `metrics.jsonl` of a run folder.

  Args:
    workdir: the run folder.
    stage: the stage to return; None for all stages.

  Returns:
    One dict per line, in the file's order; [] without a file.
  """
  path = pathlib.Path(workdir) / _FILE
  if not path.is_file():
    return []
  lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
  records = [json.loads(line) for line in lines if line.endswith("\n")]
  return [record for record in records if stage is None or record["stage"] == stage]


def split_parts(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """The rows of each part of a stage, by its name in order; {} where a stage has no parts.

  Args:
    rows: lines of metrics, in which "seed1/loss" is the loss of the part "seed1".
  """
  parts: dict[str, list[dict[str, Any]]] = {}
  for row in rows:
    of_row: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
      part, found, key = name.partition("/")
      if found:
        of_row.setdefault(part, {"step": row["step"]})[key] = value
    for part, values in of_row.items():
      parts.setdefault(part, []).append(values)
  return parts
