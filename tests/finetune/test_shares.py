import threading
import time

import numpy as np
import pytest

from vipjax.finetune.shares import read_shares
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import LazyVideo, open_videos, write_videos
from vipjax.videos.lazy import FrameCache

LENGTHS = (3, 5, 2, 4, 6)


@pytest.fixture
def found(tmp_path):
  rng = np.random.default_rng(0)
  videos = [
    Video(rng.integers(0, 256, (n, 16, 16, 3), np.uint8), 29.97, episode=i)
    for i, n in enumerate(LENGTHS)
  ]
  write_videos(tmp_path, videos)
  return open_videos(tmp_path)


class Counted(LazyVideo):
  """Another video, whose row is noted when it is decoded."""

  def __init__(self, video, row, decoded):
    super().__init__({**video.metadata, "fps": video.fps})
    self._video, self._row, self._seen = video, row, decoded

  @property
  def length(self):
    return len(self._video)

  def decode(self, positions):
    self._seen.append(self._row)
    return self._video[positions]


class Processes:
  """Threads in the place of processes; counts what each decodes."""

  def __init__(self, count):
    self.decoded = [[] for _ in range(count)]
    self.results = [None] * count
    self._sent = [None] * count
    self._meeting = threading.Barrier(count, timeout=30)

  def run(self, found, resident_mb, cache_mb=100.0):
    """What each is given: the same videos, or a list of each one's own."""
    if not isinstance(found[0], list):
      found = [found] * len(self.decoded)

    def work(process):
      own = found[process]

      def gather(array):
        self._sent[process] = np.array(array)
        self._meeting.wait()
        every = np.stack(self._sent)
        self._meeting.wait()
        return every

      counted = [Counted(video, row, self.decoded[process]) for row, video in enumerate(own)]
      try:
        self.results[process] = read_shares(
          counted, resident_mb, cache_mb, process, len(self.decoded), gather
        )
      except Exception as error:
        self.results[process] = error
        if not isinstance(error, UserError):
          self._meeting.abort()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self.decoded))]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    return self.results


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_process_decodes_its_share_and_has_all_frames(found, count):
  processes = Processes(count)
  for videos, resident in processes.run(found, resident_mb=1.0):
    assert resident
    for video, lazy in zip(videos, found, strict=True):
      own = lazy.read()
      assert video.metadata() == own.metadata()
      np.testing.assert_array_equal(video.frames, own.frames)
  assert processes.decoded == [list(range(i, len(LENGTHS), count)) for i in range(count)]


def test_where_the_host_feeds_others_videos_are_decoded_when_they_are_drawn(found):
  processes = Processes(2)
  (videos, resident), (others, _) = processes.run(found, resident_mb=0.0)
  assert not resident and processes.decoded == [[0, 2, 4], [1, 3]]
  assert [len(video.frames) for video in videos] == list(LENGTHS)
  assert videos[1].frames.shape == (5, 16, 16, 3)
  np.testing.assert_array_equal(videos[3].frames[[2, 0]], found[3].read().frames[[2, 0]])
  np.testing.assert_array_equal(videos[3].frames[1], others[3].frames[1])
  assert processes.decoded == [[0, 2, 4, 3], [1, 3]]  # and is then kept


def test_what_is_not_drawn_for_longest_is_decoded_again(found, capsys):
  frame = 16 * 16 * 3 / 2**20
  processes = Processes(1)
  # A device that could hold most of them is no leave to keep more.
  ((videos, _),) = processes.run(found, resident_mb=25 * frame, cache_mb=9.5 * frame)
  assert "of which data.cache_mb" in capsys.readouterr().out
  assert processes.decoded == [[0, 1, 2, 3, 4]]
  for row in (4, 2, 0, 2, 3):  # 6 frames + 2; + 3: the first goes; + 4: none has to
    assert videos[row].frames[:].shape == (LENGTHS[row], 16, 16, 3)
  assert processes.decoded == [[0, 1, 2, 3, 4, 2, 0, 3]]


def test_threads_decode_a_video_once():
  started, decoded = threading.Barrier(4), []

  class Slow(LazyVideo):
    length = 2

    def decode(self, positions):
      decoded.append(0)
      time.sleep(0.1)
      return np.zeros((2, 4, 4, 3), np.uint8)

  video = Slow({"source": "slow"}).whole(FrameCache(2**20))

  def work():
    started.wait()
    assert video[1].shape == (4, 4, 3)

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(decoded) == 1


def test_bad_videos_are_one_sentence_in_every_process(tmp_path, found):
  frames = np.zeros((3, 16, 16, 3), np.uint8)
  write_videos(tmp_path / "a", [Video(frames), Video(frames[:, :8])], keep="none")
  for error in Processes(2).run(open_videos(tmp_path / "a"), resident_mb=1.0):
    assert isinstance(error, UserError) and "expected videos of one size, 16x16" in str(error)
  write_videos(tmp_path / "b", [Video(frames), Video(frames[:1])])
  for error in Processes(2).run(open_videos(tmp_path / "b"), resident_mb=1.0):
    assert isinstance(error, UserError) and "at least 2 frames in every video" in str(error)
  file = sorted((tmp_path / "a").glob("*.mp4"))[1]
  file.write_bytes(b"")
  errors = Processes(2).run(open_videos(tmp_path / "a"), resident_mb=1.0)
  assert "process 1, got one that it cannot read" in str(errors[0]) and file.name in str(errors[1])


def test_a_video_that_changes_during_the_run_is_one_sentence(tmp_path):
  path = tmp_path / "a.npy"
  np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
  ((video,), _) = read_shares(open_videos(path), resident_mb=0.0, cache_mb=0.0)
  assert video.frames[[0, 2]].shape == (2, 8, 8, 3)
  np.save(path, np.zeros((4, 8, 8, 3), np.uint8))
  with pytest.raises(UserError, match=r"a.npy to be as it was when the run started, \[3, 8, 8, 3"):
    video.frames[0]


def test_processes_that_found_other_videos_say_so(tmp_path):
  frames = np.zeros((3, 16, 16, 3), np.uint8)
  for name, sources in {"a": "xyz", "b": "xyw", "c": "xyzw"}.items():
    write_videos(tmp_path / name, [Video(frames, source=source) for source in sources])
  found = {name: open_videos(tmp_path / name) for name in "abc"}
  for other, counts in (("b", "3, 3"), ("c", "3, 4")):
    for error in Processes(2).run([found["a"], found[other]], resident_mb=1.0):
      assert isinstance(error, UserError)
      assert f"the same videos in all processes, got others, of which they find {counts};" in str(
        error
      )
