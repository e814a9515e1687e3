"""Places to write: tried before any work, and held by one process at a time."""

import errno
import fcntl
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from vipjax.runtime import cache, places
from vipjax.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
HOLDER = """
import pathlib, signal, sys
from vipjax.runtime import run_folder
run_folder.open_run(pathlib.Path(sys.argv[1]), {"seed": 0})
print("opened", flush=True)
signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
  """A process that has opened the run folder `run`; killed at the end if not before."""
  with subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
    cwd=ROOT, stdout=subprocess.PIPE, text=True,
  ) as process:  # fmt: skip
    assert process.stdout.readline() == "opened\n"
    yield process
    process.kill()


def test_the_second_run_in_a_folder_is_refused_until_the_first_ends(tmp_path, holder):
  run = tmp_path / "run"
  kept = {path: path.read_bytes() for path in run.iterdir()}
  with pytest.raises(
    UserError, match=rf"got {run}, which process {holder.pid} on .* uses; wait for it"
  ):
    places.hold(run)
  assert {path: path.read_bytes() for path in run.iterdir()} == kept
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  # What it left does not count.
  assert str(holder.pid) in (run / places.LOCK).read_text()
  places.hold(run)
  places.hold(run)
  assert str(os.getpid()) in (run / places.LOCK).read_text()


def test_a_folder_made_anew_is_held_anew(tmp_path):
  places.hold(tmp_path)
  (tmp_path / places.LOCK).unlink()
  places.hold(tmp_path)
  assert (tmp_path / places.LOCK).is_file()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
  def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)
  places.hold(tmp_path)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"warning: {tmp_path / places.LOCK} cannot be locked (No locks available)")


@pytest.mark.parametrize("place", ["file", "file/x", "file/x/y"])
def test_a_file_where_a_folder_should_be(tmp_path, place):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match=f"^expected a folder at {tmp_path / place}, got a file"):
    places.make_folder(tmp_path / place)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
  def read_only(**_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

  monkeypatch.setattr(places.tempfile, "TemporaryFile", read_only)
  with pytest.raises(UserError, match=f"into the folder {tmp_path}, got 'Read-only file"):
    places.make_folder(tmp_path)


def test_a_cache_that_cannot_be_written_is_read(tmp_path):
  (tmp_path / "file").touch()
  with cache.locked(tmp_path / "file" / "lock"):
    pass
  with pytest.raises(UserError, match="cache folder .*'Read-only.*set the environment variable"):
    with cache.locked(tmp_path / "lock"):
      raise OSError(errno.EROFS, os.strerror(errno.EROFS))
