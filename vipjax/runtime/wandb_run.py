"""Weights & Biases, where a launcher was given --wandb: what TensorBoard gets, it gets too.

One run folder is one run there, however often it was interrupted; its name is the folder's. Steps
that an interrupted run had logged past its last checkpoint are logged again.

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

# Set once, by the launcher: which project this process sends to.
_project: str | None = None


def enable(project: str | None) -> None:
  """From now on every `MetricsWriter` of this process sends to a project, too; None ends that.

  Raises:
    UserError: wandb is not installed.
  """
  global _project
  if project is not None:
    _package()
  _project = project


def open_stage(workdir: pathlib.Path, stage: str) -> Stage | None:
  """Where the metrics of a stage go; None unless the process was told to send any.

  Raises:
    UserError: Weights & Biases refuses, such as for want of a login.
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
        f"expected Weights & Biases to take the run, but it did not ({str(error).rstrip('.')}): "
        "run 'wandb login', or set WANDB_MODE=offline."
      ) from error
    files.write_json(workdir / _FILE, {"id": identity, "project": _project})
  # Steps of different stages are different things.
  wandb.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
  return Stage(wandb, stage)


class Stage:
  """The metrics of one stage; each call names them "stage/name"."""

  def __init__(self, wandb: Any, name: str):
    self._wandb, self._name = wandb, name

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Numbers of a step, or what W&B has classes for."""
    named = {f"{self._name}/{name}": value for name, value in {"step": step, **values}.items()}
    self._wandb.log(named)

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """A picture, uint8 [H, W, 3]."""
    self.write(step, {name: self._wandb.Image(image)})

  def film(self, step: int, name: str, gif: bytes) -> None:
    """A film, the contents of a gif file."""
    self.write(step, {name: self._wandb.Video(io.BytesIO(gif), format="gif")})


def _package() -> Any:
  # It would otherwise ask in the middle of a run.
  os.environ.setdefault("WANDB_SILENT", "true")
  try:
    return importlib.import_module("wandb")
  except ImportError as error:
    raise UserError(
      "expected the package wandb for --wandb, but it is not installed: pip install wandb, or "
      "leave the flag out."
    ) from error
