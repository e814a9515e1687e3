"""Two real processes on this machine, two devices each, against one process with four."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

from tests.compilation import FAST
from vipjax.types import Video
from vipjax.videos import write_videos

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = {
  "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 16,
  "encoder.resize": 16, "finetune.batch_size": 4, "finetune.steps": 300,
  "finetune.learning_rate": 1e-6, "finetune.checkpoint_every": 25, "data.resident_mb": 0,
}  # fmt: skip

_STARTED = []


@pytest.fixture(autouse=True)
def no_process_stays():
  yield
  for process in _STARTED:
    process.kill()
    process.communicate()
  _STARTED.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("hosts")
  videos = []
  for number in range(4):
    frames = np.full((8, 24, 24, 3), 40, np.uint8)
    for t in range(8):
      frames[t, 8:16, 2 * t : 2 * t + 6] = 220 - 40 * number
    videos.append(Video(frames, 10.0, episode=number))
  write_videos(folder / "videos", videos)
  return folder


def start(folder, name, devices, *arguments, home=None, **overrides):
  config = {**CONFIG, "data.path": folder / "videos", **overrides}
  environment = {
    **os.environ, "PYTHONPATH": str(ROOT),
    "XLA_FLAGS": f"{FAST} --xla_force_host_platform_device_count={devices}",
    "VIPJAX_CACHE": str(folder / "cache"), **({"HOME": str(home)} if home else {}),
  }  # fmt: skip
  process = subprocess.Popen(
    [sys.executable, "tests/launch/tiny.py", "launch.finetune", "--config=configs/demo.py",
     f"--workdir={folder / name}", *(f"--config.{key}={value}" for key, value in config.items()),
     *arguments],
    cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip
  _STARTED.append(process)
  return process


def start_two(folder, name, homes=(None, None), **overrides):
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
  together = (f"--coordinator=127.0.0.1:{port}", "--num_processes=2")
  return [
    start(folder, name, 2, *together, f"--process_id={i}", home=home, **overrides)
    for i, home in enumerate(homes)
  ]


def wait_for_step(folder, name, step, processes):
  """Until a checkpoint past that step is there."""
  saved = folder / name / "checkpoints" / "finetune"
  deadline = time.monotonic() + 300
  while not [path for path in saved.glob("*") if path.name.isdigit() and int(path.name) > step]:
    assert all(process.poll() is None for process in processes), processes[0].stderr.read()
    assert time.monotonic() < deadline, f"no checkpoint past step {step} in 300 s"
    time.sleep(0.1)


def newest(folder, name):
  saved = folder / name / "checkpoints" / "finetune"
  return max(int(path.name) for path in saved.iterdir() if path.name.isdigit())


def rows(folder, name):
  return [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]


def assert_same_metrics(two, one):
  assert [row["step"] for row in two] == [row["step"] for row in one]
  for a, b in zip(two, one, strict=True):
    for name in sorted(set(a) - {"stage"}):
      np.testing.assert_allclose(a[name], b[name], rtol=2e-3, atol=1e-4, err_msg=name)


def test_two_processes_are_one_whatever_ends_them(folder):
  # One of them is killed, the one or the other: the survivor ends by itself and says why.
  victim = np.random.default_rng().integers(2)
  processes = start_two(folder, "two")
  wait_for_step(folder, "two", 0, processes)
  processes[victim].kill()
  said = processes[1 - victim].communicate(timeout=60)[1]
  assert processes[1 - victim].returncode == 1, (victim, said[-3000:])
  *_, last = said.splitlines()
  assert last.startswith("error: expected all processes of this run, got one that has ended")
  assert "start all processes again" in last and "continue from the last checkpoint" in last
  step = newest(folder, "two")

  # SIGTERM to one stops both, at the same step.
  processes = start_two(folder, "two")
  wait_for_step(folder, "two", step, processes)
  processes[1].send_signal(signal.SIGTERM)
  said = [process.communicate(timeout=60)[0] for process in processes]
  assert [process.returncode for process in processes] == [143, 143]
  step = newest(folder, "two")
  assert f"saved at step {step} and stopped, as SIGTERM asked" in said[0]
  assert said[1].count("SIGTERM") == 0  # the first process alone talks
  assert 0 < step < CONFIG["finetune.steps"]

  # To the end: the metrics and the weights of one process with four devices.
  processes = [*start_two(folder, "two"), start(folder, "one", 4)]
  for process in processes:
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said[-3000:]
  assert_same_metrics(rows(folder, "two"), rows(folder, "one"))
  weights = [
    safetensors.numpy.load_file(folder / name / "encoder" / "model.safetensors")
    for name in ("two", "one")
  ]
  for name in weights[0]:
    np.testing.assert_allclose(
      weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4, err_msg=name
    )


def test_each_process_decodes_its_share_of_the_videos(folder):
  # Each is given the other's files empty: it could not decode them.
  manifest = json.loads((folder / "videos" / "videos.json").read_text())
  names = [entry["file"] for entry in manifest]
  for process in range(2):
    shutil.copytree(folder / "videos", folder / f"home{process}" / "videos")
    for name in names[1 - process :: 2]:
      (folder / f"home{process}" / "videos" / name).write_bytes(b"")
  short = {"finetune.steps": 3, "data.resident_mb": 64}
  homes = [folder / "home0", folder / "home1"]
  processes = start_two(folder, "shares", homes, **short, **{"data.path": "~/videos"})
  processes.append(start(folder, "all", 4, **short))
  for process in processes:
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said[-3000:]
  assert_same_metrics(rows(folder, "shares"), rows(folder, "all"))


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    (["--num_processes=2"], "expected --coordinator=HOST:PORT with --num_processes and"),
    (["--coordinator=localhost", "--num_processes=2", "--process_id=0"], "--coordinator=localhost"),
    (["--coordinator=h:1", "--num_processes=2", "--process_id=2"], "--process_id from 0 to 1"),
    (["--coordinator=auto"], "expected to meet the other processes at auto, got no connection"),
  ],
)
def test_processes_that_cannot_meet_are_one_sentence(folder, arguments, sentence):
  process = start(folder, "none", 1, *arguments)
  said = process.communicate(timeout=60)[1]
  assert process.returncode == 1
  *_, last = said.splitlines()
  assert last.startswith("error: ") and sentence in last, said
  assert not (folder / "none").exists()
