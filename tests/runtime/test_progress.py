"""Progress on a terminal and in a log; peak memory."""

import io
import subprocess
import sys

import jax.numpy as jnp
import numpy as np

from vipjax.runtime import progress


class Clock:
  """Seconds that pass when told to."""

  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_log_gets_a_line_every_ten_seconds():
  clock, log = Clock(), io.StringIO()
  bar = progress.Progress(100, "finetune", file=log, clock=clock)
  for _ in range(25):
    clock.now += 1.0
    bar.update(1, loss=jnp.float32(0.5))
  assert len(log.getvalue().splitlines()) == 2
  bar.close()
  bar.close()
  lines = log.getvalue().splitlines()
  assert len(lines) == 3
  assert "\r" not in log.getvalue()
  assert lines[0].startswith("finetune:  10%")
  # 10 of 100 after 10 s: 90 s remain.
  assert "10/100 [00:10<01:30" in lines[0]
  assert "1.00step/s" in lines[0]
  assert "loss=0.5" in lines[0]
  assert "25/100" in lines[2]


def test_a_resumed_run_counts_on_but_its_rate_is_its_own():
  clock, log = Clock(), io.StringIO()
  with progress.Progress(100, "sac", initial=50, file=log, clock=clock) as bar:
    clock.now += 10.0
    bar.update(10)
    assert bar.count == 60
  assert "60/100 [00:10<00:40" in log.getvalue().splitlines()[0]


def test_metrics_are_fetched_only_when_shown():
  class Lazy:
    fetched = 0

    def __float__(self):
      Lazy.fetched += 1
      return 1.0

  clock = Clock()
  bar = progress.Progress(100, "x", file=io.StringIO(), clock=clock)
  for _ in range(5):
    bar.update(1, loss=Lazy())
  assert Lazy.fetched == 0
  bar.close()
  assert Lazy.fetched == 1


def test_a_terminal_gets_a_bar():
  terminal = Terminal()
  with progress.Progress(4, "record", file=terminal) as bar:
    for _ in range(4):
      bar.update(1, loss=np.float32(2.0))
    bar.message("a word between")
  text = terminal.getvalue()
  assert "\r" in text
  assert "4/4" in text and "record" in text and "loss=2" in text
  assert "a word between\n" in text


def test_an_unknown_total_shows_count_and_rate():
  clock, log = Clock(), io.StringIO()
  with progress.Progress(None, "read", unit="frame", file=log, clock=clock) as bar:
    clock.now += 2.0
    bar.update(8)
    bar.message("halfway")
  assert log.getvalue().splitlines() == ["halfway", "read: 8frame [00:02,  4.00frame/s]"]


def test_peak_memory_counts_this_process_and_its_children(monkeypatch):
  monkeypatch.setattr(progress, "_most_of_children", 0.0)
  before = progress.peak_memory_mb()
  assert before > 50  # JAX alone is more.
  hold = "import sys; block = bytearray(200 << 20); print('up', flush=True); sys.stdin.read()"
  nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
  child = subprocess.Popen(
    [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE
  )
  child.stdout.readline()
  living = progress.peak_memory_mb()
  child.communicate()
  assert before + 190 < living < before + 300
  # Remembered, and a program started in between does not count for what its parent holds.
  assert living <= progress.peak_memory_mb() < living + 10
