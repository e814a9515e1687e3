"""Sends the metrics of TensorBoard to Weights & Biases too, if a launcher has --wandb.

One run folder is one run there, even after interruptions, under the folder's name. Steps that an
interrupted run logged past its last checkpoint are logged again.

`wandb` is an optional extra (`pip install "vipjax[wandb]"`).
"""

from __future__ import annotations

import importlib
import io
import os
import pathlib
import uuid
from typing import Any

import numpy as np

from vipjax.runtime import files
from vipjax.runtime.errors import UserError

_FILE = "wandb.json"

# The project that this process sends to; the launcher sets it once.
_project: str | None = None


def enable(project: str | None) -> None:
  """Makes every later `MetricsWriter` of this process send to a project too; None ends that.

  Raises:
    UserError: wandb is not installed.
  """
  global _project
  if project is not None:
    _package()
  _project = project


def open_stage(workdir: pathlib.Path, stage: str) -> Stage | None:
  """Returns the receiver of a stage's metrics; None if `enable` set no project.

  Raises:
    UserError: Weights & Biases refuses, such as without a login.
  """
  if _project is None:
    return None
  wandb, workdir = _package(), workdir.absolute()
  known = files.read_json(workdir / _FILE) if (workdir / _FILE).is_file() else {}
  identity = known.get("id") or uuid.uuid4().hex[:8]
  if wandb.run is not None and wandb.run.id != identity:
    wandb.finish()  # that of another run folder
  if wandb.run is None:
    config = workdir / "config.json"
    workdir.mkdir(parents=True, exist_ok=True)
    try:
      wandb.init(
        project=_project,
        id=identity,
        resume="allow",
        name=workdir.name,
        dir=str(workdir),
        config=files.read_json(config) if config.is_file() else {},
      )
    except wandb.Error as error:
      raise UserError(
        f"expected Weights & Biases to accept the run, got '{str(error).rstrip('.')}'; run 'wandb "
        "login', or set WANDB_MODE=offline."
      ) from error
    files.write_json(workdir / _FILE, {"id": identity, "project": _project})
  # Each stage counts its own steps.
  wandb.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
  return Stage(wandb, stage)


class Stage:
  """The metrics of one stage; each call names them "stage/name"."""

  def __init__(self, wandb: Any, name: str):
    self._wandb, self._name = wandb, name

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Logs the values of a step: numbers, or objects of W&B's classes."""
    named = {f"{self._name}/{name}": value for name, value in {"step": step, **values}.items()}
    self._wandb.log(named)

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Logs a picture, uint8 [H, W, 3]."""
    self.write(step, {name: self._wandb.Image(image)})

  def film(self, step: int, name: str, gif: bytes) -> None:
    """Logs a film, the contents of a gif file."""
    self.write(step, {name: self._wandb.Video(io.BytesIO(gif), format="gif")})


def _package() -> Any:
  # Otherwise wandb would ask questions during a run.
  os.environ.setdefault("WANDB_SILENT", "true")
  try:
    return importlib.import_module("wandb")
  except ImportError as error:
    raise UserError(
      "expected the package wandb for --wandb, got none installed; pip install wandb, or leave the "
      "flag out."
    ) from error
