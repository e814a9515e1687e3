"""Recorded robot data as the agent sees it: frames embedded once, beside the recorded state.

Where the encoder learns the frames stay beside their embeddings, which tell no more than how many
numbers they are and how they are distributed.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
import zlib
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import num_actions
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages.robot_data import FOLDER
from vipjax.types import Trajectory
from vipjax.videos.trajectories import FORMATS, read_trajectories

_ARRAYS = ("observations", "actions", "rewards", "discounts")
_FRAMES = "frames"


def load_data(
  config: ml_collections.ConfigDict, value: ValueFunction, path: pathlib.Path, cache: pathlib.Path
) -> list[Trajectory]:
  """Embeds the frames of recorded episodes, once for each encoder.

  Args:
    config: its sections vptr and env are used; with config.vptr.encoder_learns frames are kept.
    value: the encoder.
    path: the folder of a `record_robot_data`, or a data set with actions.
    cache: gets a file for each data set.

  Returns:
    The trajectories, without their frames unless the encoder learns; an observation is the
    embedding, then the first config.vptr.state_entries of the state.

  Raises:
    UserError: no data with actions, several cameras and none chosen, actions of another size than
      the environment's, or a state of fewer numbers than the agent sees.
  """
  entries, view, found = config.vptr.state_entries, config.vptr.view or None, []
  learns = config.vptr.encoder_learns
  weights = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(value.variables)]
  name = f"{functools.reduce(lambda crc, part: zlib.crc32(part, crc), weights, 0):08x}"
  parts = data_parts(path)
  with Progress(len(parts), "embed", unit="data set") as progress:
    for part in parts:
      place = zlib.crc32(f"{part.absolute()} {part.stat().st_mtime_ns}".encode())
      file = cache / name / f"{place:08x}-{entries}.npz"
      if not file.exists():
        made = [embedded(value, each, entries, learns) for each in read_trajectories(part, view)]
        pack(file, [dataclasses.replace(each, frames=None) for each in made])
      elif learns:
        pairs = zip(unpacked(file), read_trajectories(part, view), strict=True)
        made = [dataclasses.replace(each, frames=same.frames) for each, same in pairs]
      else:
        made = unpacked(file)
      found += made
      progress.update()
  wanted = num_actions(config.env.control)
  for each in found:
    if each.actions.shape[1] != wanted:
      raise UserError(
        f"expected actions of {wanted} numbers, as the environment of config.env.control = "
        f"'{config.env.control}' takes, got {each.actions.shape[1]} in {each.source}; give data of "
        "this robot and control."
      )
  return found


def data_parts(path: pathlib.Path) -> list[pathlib.Path]:
  """The data sets of all tasks in the folder of a `record_robot_data`; else the path alone."""
  tasks = sorted(file.parent for file in (path / FOLDER).glob("*/facts.json"))
  return [next(each / form for form in FORMATS if (each / form).exists()) for each in tasks] or [
    path
  ]


def embedded(
  value: ValueFunction, trajectory: Trajectory, entries: int, keep_frames: bool = False
) -> Trajectory:
  """The trajectory whose observations are embedding and state, without its frames or with them."""
  state = trajectory.observations[:, :entries]
  if state.shape[1] < entries:
    raise UserError(
      f"expected states of at least config.vptr.state_entries = {entries} numbers, got "
      f"{state.shape[1]} in {trajectory.source}; lower it."
    )
  observations = np.concatenate([value.embed(trajectory.frames), state], axis=1)
  frames = trajectory.frames if keep_frames else None
  return dataclasses.replace(trajectory, observations=observations, frames=frames)


def pack(file: pathlib.Path, trajectories: Sequence[Trajectory]) -> None:
  """Writes trajectories as one npz file, with the frames that all or none of them have."""
  content = io.BytesIO()
  names = _ARRAYS if trajectories[0].frames is None else (*_ARRAYS, _FRAMES)
  joined = {name: np.concatenate([getattr(each, name) for each in trajectories]) for name in names}
  known = {
    "tasks": [str(each.task) for each in trajectories],
    "sources": [each.source for each in trajectories],
    # -1: not known.
    "successes": [-1 if each.success is None else int(each.success) for each in trajectories],
  }
  np.savez(content, steps=[len(each) for each in trajectories], **known, **joined)
  files.write_bytes(file, content.getvalue())


def unpacked(file: pathlib.Path) -> list[Trajectory]:
  """The trajectories that `pack` wrote."""
  with np.load(file) as stored:
    ends = np.cumsum(stored["steps"])[:-1]
    # One observation more than steps in each.
    of_states = ends + np.arange(len(ends)) + 1
    parts = {
      name: np.split(stored[name], of_states if name in (_ARRAYS[0], _FRAMES) else ends)
      for name in (*_ARRAYS, _FRAMES)
      if name in stored
    }
    known = [stored[name].tolist() for name in ("tasks", "sources", "successes")]
  rows = [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
  return [
    Trajectory(**row, success=None if success < 0 else bool(success), task=task, source=source)
    for row, task, source, success in zip(rows, *known, strict=True)
  ]
