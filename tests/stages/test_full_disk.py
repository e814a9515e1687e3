"""A disk that is full in the middle of fine-tuning, and has room again later."""

import errno
import json
import subprocess

import jax
import numpy as np
import pytest

from configs import demo
from vipjax.encoder import resnet
from vipjax.runtime.errors import full_disk
from vipjax.stages import finetune as run_lib
from vipjax.stages import finetune as stage
from vipjax.stages.finetune import finetune
from vipjax.types import Video
from vipjax.videos import write_videos


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 8 MiB; root alone may mount one."""
  folder = tmp_path / "disk"
  folder.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
  try:
    subprocess.run(mount, check=True, capture_output=True)
  except (OSError, subprocess.CalledProcessError):
    pytest.skip("a file system cannot be mounted here")
  yield folder
  subprocess.run(["umount", "--lazy", str(folder)], check=True)


def config_of(videos):
  config = demo.get_config()
  config.update_from_flattened_dict({
    "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 8,
    "encoder.resize": 8, "data.path": str(videos), "finetune.steps": 8, "finetune.batch_size": 2,
    "finetune.checkpoint_every": 2, "finetune.tcc.weight": 0.0,
  })  # fmt: skip
  return config


@pytest.fixture
def run(tmp_path, monkeypatch):
  """(workdir, what to do at step 3) -> the result of a run whose step is compiled once for all."""
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  monkeypatch.setattr(run_lib, "step_devices", lambda frames: jax.local_devices()[:1])
  compiled, progress = [], stage.Progress
  compile_step = run_lib.parallel.compile_step
  monkeypatch.setattr(
    run_lib.parallel,
    "compile_step",
    lambda *arguments: compiled[0] if compiled else compiled.append(compile_step(*arguments)) or
    compiled[0],
  )  # fmt: skip
  frames = np.random.default_rng(0).integers(0, 255, (6, 12, 12, 3), dtype=np.uint8)
  write_videos(tmp_path / "videos", [Video(frames, 10.0, episode=i) for i in range(2)])

  def call(workdir, at_three=lambda: None):
    class Bar(progress):
      def update(self, items=1, **metrics):
        super().update(items, **metrics)
        if self.count == 3:
          at_three()

    monkeypatch.setattr(stage, "Progress", Bar)
    return finetune(config_of(tmp_path / "videos"), workdir)

  return call


def steps(workdir):
  return sorted(int(path.name) for path in (workdir / "checkpoints" / "finetune").glob("[0-9]"))


# Orbax writes in threads, whose errors it raises later again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Metrics are written at every step, and the first to fail; or the next checkpoint is.
@pytest.mark.parametrize("metrics_every", [1, 10])
def test_it_says_so_and_goes_on_when_there_is_room(
  small_disk, run, tmp_path, monkeypatch, metrics_every
):
  monkeypatch.setattr(stage, "METRICS_EVERY", metrics_every)
  reference, workdir, ballast = tmp_path / "reference", small_disk / "run", small_disk / "ballast"
  run(reference)

  def fill():
    (run_lib.Checkpointer.wait)(opened[-1])  # the checkpoint of step 2 is whole
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
      while True:
        file.write(bytes(512))

  opened = []
  enter = run_lib.Checkpointer.__enter__
  monkeypatch.setattr(
    run_lib.Checkpointer, "__enter__", lambda self: opened.append(self) or enter(self)
  )
  with pytest.raises(Exception, match="No space left on device") as raised:
    run(workdir, fill)
  sentence = str(full_disk(raised.value))
  assert sentence.startswith("expected room on the disk, got none (")
  assert "\n" not in sentence and sentence.endswith("continues from the last checkpoint.")
  assert steps(workdir) == [2]
  assert not (workdir / "encoder").exists()

  ballast.unlink()
  run(workdir)
  for made in ("encoder/model.safetensors", "metrics.jsonl"):
    assert (workdir / made).read_bytes() == (reference / made).read_bytes(), made
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  assert rows[-1]["step"] == 8


def test_what_is_no_full_disk_is_none():
  assert full_disk(ValueError("x")) is None
  assert full_disk(OSError(errno.EACCES, "denied")) is None
  wrapped = RuntimeError("writing failed")
  wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
  assert "Disk quota exceeded" in str(full_disk(wrapped))
