"""The file of frames against a plain list of all that came."""

import errno
import os

import numpy as np
import pytest

from vipjax.runtime.errors import UserError
from vipjax.sac.frame_replay import Episode, FrameReplay

SHAPE = (2, 1, 2, 2, 3)  # two environments, one channel
ENDS = {3: (0, 1), 4: (1,), 7: (0,), 9: (0, 1), 12: (1,)}  # by step, which episodes


def moment(number):
  """A row whose every value tells its number and, in its last bit, its environment."""
  row = np.full(SHAPE, 2 * number, np.uint8)
  row[1] += 1
  return row


def play(frames, steps, moments):
  """Takes steps from the one that is due; `moments` is the list of rows so far."""
  if not moments:
    moments.append(moment(0))
    frames.start(moments[0])
  for step in steps:
    moments.append(moment(len(moments)))
    ended = np.isin(np.arange(2), ENDS.get(step, ()))
    reset = moments[-1]
    if ended.any():
      reset = moment(len(moments))
      moments.append(reset)
    frames.add(moments[-2] if ended.any() else moments[-1], ended, reset)
  return moments


def opened(path, steps=20, rows=40, spare=0):
  return FrameReplay(path / "frames.bin", SHAPE, steps, rows, spare)


def test_rows_and_episodes_are_what_was_played(tmp_path):
  frames = opened(tmp_path)
  moments = play(frames, range(14), [])
  assert frames.known_steps() == range(14)
  for step in range(14):
    before, after = frames.rows_of(step)
    np.testing.assert_array_equal(frames.read(before), moments[before])
    np.testing.assert_array_equal(frames.read(after), moments[after])
    # What a step begins with is what the last one led to, unless some episode ended there.
    assert step == 0 or (before != frames.rows_of(step - 1)[1]) == (step - 1 in ENDS)
  assert frames.episodes() == [
    Episode(0, 0, 3), Episode(1, 0, 3), Episode(1, 4, 4), Episode(0, 4, 7), Episode(0, 8, 9),
    Episode(1, 5, 9), Episode(1, 10, 12),
  ]  # fmt: skip
  video = frames.video(Episode(0, 4, 7))
  # Step 3's reset is row 5, steps 4 to 7 lead to rows 6, 8 (7 is a reset), 9 and 10.
  np.testing.assert_array_equal(video[0, :, 0, 0, 0], [10, 12, 16, 18, 20])
  assert video.shape == (1, 5, 2, 2, 3)
  assert int(frames.index.current) == len(moments) - 1


def test_what_is_overwritten_is_not_known(tmp_path):
  frames = opened(tmp_path, steps=6, rows=40)
  play(frames, range(14), [])
  assert frames.known_steps() == range(8, 14)
  # Of those that ended at 9 nobody knows any more when they began.
  assert frames.episodes() == [Episode(1, 10, 12)]
  few = FrameReplay(tmp_path / "few.bin", SHAPE, 20, 7, 0)
  moments = play(few, range(14), [])
  known = few.known_steps()
  assert known.start == next(
    step for step in range(14) if few.index.before[step] >= len(moments) - 7
  )
  for step in known:
    for row in few.rows_of(step):
      np.testing.assert_array_equal(few.read(row), moments[row])
  assert os.path.getsize(tmp_path / "few.bin") == 7 * np.prod(SHAPE)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_going_on_from_an_index_reads_the_same(tmp_path, lost):
  """What is played after a checkpoint and lost must not spoil what the checkpoint refers to."""
  frames = opened(tmp_path, steps=5, rows=7, spare=5)
  moments = play(frames, range(8), [])
  saved = [np.array(leaf) for leaf in frames.index]
  count = len(moments)
  play(frames, range(8, 8 + lost), moments)  # with its resets at most 5 rows
  assert len(moments) - count <= 5
  frames.close()
  again = opened(tmp_path, steps=5, rows=7, spare=5)
  again.restore(type(again.index)(*saved))
  moments = moments[:count]
  for step in again.known_steps():
    for row in again.rows_of(step):
      np.testing.assert_array_equal(again.read(row), moments[row])
  play(again, range(8, 14), moments)
  through = FrameReplay(tmp_path / "through.bin", SHAPE, 5, 7, 5)
  play(through, range(14), [])
  assert through.episodes() == again.episodes()
  for ours, theirs in zip(again.index, through.index, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_a_full_disk_and_a_lost_file_are_one_sentence_each(tmp_path, monkeypatch):
  frames = opened(tmp_path)
  play(frames, range(3), [])

  def full(*unused):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patch:
    patch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"No space left.*frames_mb"):
      play(frames, [3], [moment(0)] * 4)
  with monkeypatch.context() as patch:
    patch.setattr(os, "pwrite", lambda *unused: 3)
    with pytest.raises(UserError, match=r"got 'a full disk'"):
      play(frames, [3], [moment(0)] * 4)
  index = frames.save()
  opened(tmp_path).restore(index)
  (tmp_path / "frames.bin").unlink()
  with pytest.raises(UserError, match=r"got a part of them; put the file back"):
    opened(tmp_path).restore(index)
