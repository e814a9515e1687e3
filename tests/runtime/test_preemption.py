"""When several processes ask one another whether to stop, played by threads."""

import signal
import threading
import types

import numpy as np
import pytest

from vipjax.runtime import hosts, preemption
from vipjax.runtime.preemption import EXIT_STATUS, Preemption


def play(monkeypatch, seconds, noted, now=lambda step: False, steps=1000):
  """Steps of so many seconds in each process; one of (process, step) notes SIGTERM.

  Returns:
    Where each stopped, and how often they exchanged words.
  """
  clocks, words, exchanges = {}, [None] * len(seconds), []
  meet = threading.Barrier(len(seconds), timeout=60)

  def gather(array):
    number = int(threading.current_thread().name)
    words[number] = array
    meet.wait()
    gathered = np.stack(words)
    exchanges.append(number)
    meet.wait()
    return gathered

  monkeypatch.setattr(hosts, "connected", lambda: True)
  monkeypatch.setattr(hosts, "gather", gather)
  clock = types.SimpleNamespace(monotonic=lambda: clocks[threading.current_thread().name])
  monkeypatch.setattr(preemption, "time", clock)
  stopped = [None] * len(seconds)

  def run(number):
    name = threading.current_thread().name
    clocks[name] = 0.0
    with Preemption() as asked:
      for step in range(1, steps + 1):
        clocks[name] += seconds[number]
        if (number, step) == noted:
          asked._note(signal.SIGTERM, None)
        if asked.requested(now(step)):
          stopped[number] = step
          return

  threads = [threading.Thread(target=run, args=[i], name=str(i)) for i in range(len(seconds))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return stopped, exchanges.count(0)


@pytest.mark.parametrize("noted", [(0, 500), (1, 501), (1, 2)])
def test_all_stop_at_the_same_step_soon_after_one_was_asked(monkeypatch, noted):
  stopped, exchanges = play(monkeypatch, (0.05, 0.1), noted)
  assert stopped[0] == stopped[1]
  assert noted[1] <= stopped[0] <= noted[1] + 40  # 4 s of the slower one
  assert exchanges <= 6 + 0.1 * stopped[0] / 2  # every 2 s or less often, but for the first


def test_slow_steps_are_asked_about_each(monkeypatch):
  assert play(monkeypatch, (1.0, 30.0), (1, 7), steps=20) == ([7, 7], 7)


def test_all_can_be_asked_at_once(monkeypatch):
  stopped, _ = play(monkeypatch, (0.001, 0.001), (1, 500), now=lambda step: step % 501 == 0)
  assert stopped == [501, 501]
  # Nobody was asked to stop: nobody stops.
  assert play(monkeypatch, (0.001, 0.001), None)[0] == [None, None]


def test_a_process_alone_stops_at_once(monkeypatch):
  with pytest.raises(SystemExit) as ended, Preemption() as asked:
    assert not asked.requested()
    signal.raise_signal(signal.SIGTERM)
    assert asked.requested()
  assert ended.value.code == EXIT_STATUS
