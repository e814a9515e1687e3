"""The frames that the agent has seen lately, in a file: more of them than memory should hold.

With them the rewards of what the replay remembers can be computed anew, and the agent's episodes
are videos like any other.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError


class FrameIndex(NamedTuple):
  """Where frames are in the file (a pytree); what a checkpoint needs of it.

  A row is what N environments showed at one moment. Rows are numbered as they came; so are the
  steps of all environments together, of which the last S are remembered, step k at k % S.

  Attributes:
    rows: int64 scalar, how many rows have come.
    steps: int64 scalar, how many steps.
    current: int64 scalar, the row of the state in which the next step will be taken.
    before: int64 [S], the row of the state in which a step was taken.
    after: int64 [S], the row that it led to, before any automatic reset.
    ended: bool [S, N], whether it ended the episode.
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
    shape: [N, C, H, W, 3], of a row.
    index: where the frames are. Its arrays are written to.
  """

  def __init__(self, path: pathlib.Path, shape: tuple[int, ...], steps: int, rows: int, spare: int):
    """Opens the file, or makes it.

    Args:
      path: the file; it grows as rows come.
      shape: [N, C, H, W, 3], of a row.
      steps: S, how many steps to remember.
      rows: how many rows are there to be read, at least 2.
      spare: further rows that are kept for going on from a checkpoint which is as many rows old:
        what came after it is written anew, and must not have been written over what it refers to.
    """
    self.shape, self._rows, self._ring = shape, rows, rows + spare
    self._bytes = int(np.prod(shape))
    self._path = path
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = os.open(path, os.O_RDWR | os.O_CREAT)
    zero, ended = np.zeros((), np.int64), np.zeros((steps, shape[0]), bool)
    before, after = np.zeros((2, steps), np.int64)
    self.index = FrameIndex(zero, zero, zero, before, after, ended)

  @property
  def steps(self) -> int:
    """S, how many steps are remembered at most."""
    return len(self.index.before)

  def restore(self, index: FrameIndex) -> None:
    """Goes on from a checkpoint.

    Raises:
      UserError: the file is not there any more, or not all of it.
    """
    rows = min(int(index.rows), self._ring)
    if os.fstat(self._file).st_size < rows * self._bytes:
      raise UserError(
        f"Expected the frames of a run that is to go on in {self._path}, but they are not all "
        "there: put the file back, or start over with --overwrite."
      )
    self.index = index

  def save(self) -> FrameIndex:
    """Has the frames written to the disk; what a checkpoint needs beside them."""
    os.fsync(self._file)
    return self.index

  def start(self, frames: np.ndarray) -> None:
    """The frames uint8 [N, C, H, W, 3] of the first states."""
    current = self._write(frames)
    self.index = self.index._replace(current=current)

  def add(self, frames: np.ndarray, ended: np.ndarray, reset_frames: np.ndarray) -> None:
    """A step: frames that it led to, bool [N] where it ended an episode, frames to go on from."""
    index, slot = self.index, int(self.index.steps) % len(self.index.before)
    index.before[slot], index.ended[slot] = index.current, ended
    current = index.after[slot] = self._write(frames)
    if ended.any():
      current = self._write(reset_frames)
    self.index = self.index._replace(steps=np.asarray(index.steps + 1), current=current)

  def known_steps(self) -> range:
    """The numbers of the steps whose frames can still be read."""
    index = self.index
    first = max(0, int(index.steps) - len(index.before))
    while first < index.steps and index.before[first % len(index.before)] < self._oldest():
      first += 1
    return range(first, int(index.steps))

  def rows_of(self, step: int) -> tuple[int, int]:
    """The rows of the states before and after a step of `known_steps`."""
    slot = step % len(self.index.before)
    return int(self.index.before[slot]), int(self.index.after[slot])

  def ended(self, step: int) -> np.ndarray:
    """bool [N], which episodes a step of `known_steps` ended."""
    return self.index.ended[step % len(self.index.ended)]

  def read(self, row: int) -> np.ndarray:
    """uint8 [N, C, H, W, 3]."""
    return self._read(row, 0, self._bytes).reshape(self.shape)

  def episodes(self) -> list[Episode]:
    """All finished episodes of which every frame is there, in the order in which they ended."""
    known = self.known_steps()
    # An episode that began before what is known is not whole.
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
    each = self._bytes // self.shape[0]
    rows = self.rows_of_episode(episode)
    frames = [self._read(row, episode.env * each, each) for row in rows]
    return np.stack([frame.reshape(self.shape[1:]) for frame in frames], axis=1)

  def close(self) -> None:
    """Closes the file; it stays, for going on."""
    os.close(self._file)

  def _oldest(self) -> int:
    return max(0, int(self.index.rows) - self._rows)

  def _write(self, frames: np.ndarray) -> np.ndarray:
    row = int(self.index.rows)
    data = memoryview(np.ascontiguousarray(frames)).cast("B")
    try:
      written = os.pwrite(self._file, data, row % self._ring * self._bytes)
    except OSError as error:
      written, reason = 0, error.strerror
    else:
      reason = "the disk is full"
    if written != self._bytes:
      raise UserError(
        f"Expected room for {self._ring * self._bytes / 2**20:.0f} MiB of frames in {self._path}, "
        f"but {reason}: make room or lower config.policy.online.frames_mb; the last checkpoint is "
        "from before, and the same command goes on."
      )
    self.index = self.index._replace(rows=np.asarray(row + 1))
    return np.asarray(row, np.int64)

  def _read(self, row: int, offset: int, count: int) -> np.ndarray:
    data = os.pread(self._file, count, row % self._ring * self._bytes + offset)
    return np.frombuffer(data, np.uint8)
