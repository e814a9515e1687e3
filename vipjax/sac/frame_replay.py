"""The frames that the agent saw lately, in a file, because memory would not hold as many.

From them the rewards in the replay are computed anew, and the agent's episodes become videos.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError


class FrameIndex(NamedTuple):
  """Where frames are in the file (a pytree); a checkpoint holds it.

  A row is the frames of all N environments at one moment. Rows are numbered in the order in which
  they come, and so are the steps of all environments together. The last S steps are remembered,
  step k in place k % S.

  Attributes:
    rows: int64 scalar, number of rows so far.
    steps: int64 scalar, number of steps so far.
    current: int64 scalar, row of the state in which the next step is taken.
    before: int64 [S], row of the state in which a step was taken.
    after: int64 [S], row of the state after it, before any automatic reset.
    ended: bool [S, N], whether the step ended the episode.
  """

  rows: np.ndarray
  steps: np.ndarray
  current: np.ndarray
  before: np.ndarray
  after: np.ndarray
  ended: np.ndarray


class Episode(NamedTuple):
  """A finished episode: environment `env` from step `first` to step `last`, both included."""

  env: int
  first: int
  last: int


class FrameReplay:
  """A ring of rows in a file.

  Attributes:
    shape: [N, C, H, W, 3] of a row.
    steps: S, how many steps are remembered at most.
    index: where the frames are; its arrays are changed in place.
  """

  def __init__(self, path: pathlib.Path, shape: tuple[int, ...], steps: int, rows: int, spare: int):
    """Opens the file or makes it.

    Args:
      path: the file; it grows as rows come.
      shape: [N, C, H, W, 3] of a row.
      steps: S, how many steps to remember.
      rows: how many of the latest rows can be read, at least 2.
      spare: how many rows a run may write after a checkpoint and still go on from it: the rows
        that the checkpoint refers to stay in the ring for that long.
    """
    self.shape, self.steps = shape, steps
    self._path, self._rows, self._ring = path, rows, rows + spare
    self._bytes = int(np.prod(shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = os.open(path, os.O_RDWR | os.O_CREAT)
    zero, ended = np.zeros((), np.int64), np.zeros((steps, shape[0]), bool)
    self.index = FrameIndex(zero, zero, zero, *np.zeros((2, steps), np.int64), ended)

  def restore(self, index: FrameIndex) -> None:
    """Goes on from a checkpoint.

    Raises:
      UserError: the file is gone, or a part of it.
    """
    if os.fstat(self._file).st_size < min(int(index.rows), self._ring) * self._bytes:
      raise UserError(
        f"expected all frames of the interrupted run in {self._path}, got a part of them; put the "
        "file back, or start over with --overwrite."
      )
    self.index = index

  def save(self) -> FrameIndex:
    """Writes the frames through to the disk; returns what a checkpoint holds."""
    os.fsync(self._file)
    return self.index

  def start(self, frames: np.ndarray) -> None:
    """Adds the frames uint8 [N, C, H, W, 3] of the first states."""
    current = self._write(frames)
    self.index = self.index._replace(current=current)

  def add(self, frames: np.ndarray, ended: np.ndarray, reset_frames: np.ndarray) -> None:
    """Adds a step.

    Args:
      frames: uint8 [N, C, H, W, 3] of the states after it.
      ended: bool [N], whether it ended the episode.
      reset_frames: uint8 [N, C, H, W, 3] of the states in which the next step is taken.
    """
    index, slot = self.index, int(self.index.steps) % self.steps
    index.before[slot], index.ended[slot] = index.current, ended
    current = index.after[slot] = self._write(frames)
    if ended.any():
      current = self._write(reset_frames)
    self.index = self.index._replace(steps=np.asarray(index.steps + 1), current=current)

  def known_steps(self) -> range:
    """The numbers of the steps whose frames can still be read."""
    last, oldest = int(self.index.steps), int(self.index.rows) - self._rows
    first = max(0, last - self.steps)
    while first < last and self.rows_of(first)[0] < oldest:
      first += 1
    return range(first, last)

  def rows_of(self, step: int) -> tuple[int, int]:
    """The rows of the states before and after a step of `known_steps`."""
    slot = step % self.steps
    return int(self.index.before[slot]), int(self.index.after[slot])

  def ended(self, step: int) -> np.ndarray:
    """bool [N], which episodes a step of `known_steps` ended."""
    return self.index.ended[step % self.steps]

  def read(self, row: int) -> np.ndarray:
    """The frames uint8 [N, C, H, W, 3] of a row."""
    return self._read(row, 0, self.shape)

  def episodes(self) -> list[Episode]:
    """All finished episodes whose every frame is there, in the order in which they ended."""
    known = self.known_steps()
    # An episode that began before the known steps is not whole, except at the run's beginning.
    began = [known.start if known.start == 0 else None] * self.shape[0]
    found = []
    for step in known:
      for env in np.flatnonzero(self.ended(step)):
        if began[env] is not None:
          found.append(Episode(int(env), began[env], step))
        began[env] = step + 1
    return found

  def rows_of_episode(self, episode: Episode) -> list[int]:
    """The rows of its states, from the first to the last."""
    steps = range(episode.first, episode.last + 1)
    return [self.rows_of(episode.first)[0], *(self.rows_of(step)[1] for step in steps)]

  def video(self, episode: Episode) -> np.ndarray:
    """uint8 [C, T, H, W, 3]: the episode in each channel, from its first state to its last."""
    rows = self.rows_of_episode(episode)
    return np.stack([self._read(row, episode.env, self.shape[1:]) for row in rows], axis=1)

  def close(self) -> None:
    """Closes the file; it stays, for going on."""
    os.close(self._file)

  def _write(self, frames: np.ndarray) -> np.ndarray:
    row = int(self.index.rows)
    data = memoryview(np.ascontiguousarray(frames)).cast("B")
    reason = "a full disk"
    try:
      written = os.pwrite(self._file, data, row % self._ring * self._bytes)
    except OSError as error:
      written, reason = 0, error.strerror
    if written != self._bytes:
      raise UserError(
        f"expected space for {self._ring * self._bytes / 2**20:.0f} MiB of frames in {self._path}, "
        f"got '{reason}'; make space or lower config.policy.online.frames_mb, then run the same "
        "command, which goes on from the last checkpoint."
      )
    self.index = self.index._replace(rows=np.asarray(row + 1))
    return np.asarray(row, np.int64)

  def _read(self, row: int, env: int, shape: tuple[int, ...]) -> np.ndarray:
    """Frames of that shape, from an environment on."""
    place = row % self._ring * self._bytes + env * self._bytes // self.shape[0]
    return np.frombuffer(os.pread(self._file, int(np.prod(shape)), place), np.uint8).reshape(shape)
