"""Frames as they come: a file that is played stands for a camera."""

import sys

import numpy as np
import pytest

from tests.videos.clips import moving_picture
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, write_video
from vipjax.videos.live import LiveFrames


@pytest.fixture(scope="module")
def film(tmp_path_factory):
  path = tmp_path_factory.mktemp("film") / "film.mp4"
  write_video(path, moving_picture(6, 16, 32), 100)
  return path


def test_a_file_is_played_and_what_nobody_saw_in_time_is_dropped(film):
  frames = read_video(film).frames
  with LiveFrames(str(film)) as live:
    assert live.size == (16, 32)
    shown = iter(live)
    seconds, first = next(shown)
    live._thread.join()  # all has been filmed meanwhile
    later, last = next(shown)
    assert list(shown) == []
  assert seconds < later == pytest.approx(0.05)
  assert any((first == frame).all() for frame in frames[:-1])
  np.testing.assert_array_equal(last, frames[-1])
  assert live.filmed == 6


def test_a_film_can_be_left(film):
  with LiveFrames(str(film)) as live:
    next(iter(live))
  assert not live._thread.is_alive()
  LiveFrames(str(film)).close()


def test_what_does_not_film(tmp_path, monkeypatch):
  (tmp_path / "words.txt").write_text("no film")
  for source in (tmp_path / "missing.mp4", tmp_path / "words.txt", "tcp://127.0.0.1:1"):
    with pytest.raises(UserError, match="a camera, stream or video file at .*, got '.+'; check"):
      LiveFrames(str(source))
  monkeypatch.setattr(sys, "platform", "win32")
  with pytest.raises(UserError, match="got the camera number 0; stream"):
    LiveFrames("0")
