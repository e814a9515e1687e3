"""A table of bad inputs: one sentence each, exit status 1, and nothing overwritten.

That the launchers make "error: ..." and status 1 of every UserError is tested with them
(tests/runtime/test_launcher.py); here one case of the table goes through a real one.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest
from PIL import Image

from configs import demo
from tests.videos.clips import (
  assert_one_sentence,
  encode,
  moving_picture,
  without_permission,
  write_frames,
)
from vipjax import encoder
from vipjax.encoder import resnet
from vipjax.runtime import run_folder
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.errors import UserError
from vipjax.sac import replay
from vipjax.stages.finetune import finetune
from vipjax.videos import read_video, write_video

ROOT = pathlib.Path(__file__).parents[2]
FRAMES = moving_picture(6, 16, 16)


def config_of(data):
  config = demo.get_config()
  config.update_from_flattened_dict({
    "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 8,
    "encoder.resize": 8, "finetune.steps": 2, "data.path": str(data),
  })  # fmt: skip
  return config


def truncated(data, config):
  write_video(data / "clip.mp4", FRAMES, 10)
  content = (data / "clip.mp4").read_bytes()
  (data / "clip.mp4").write_bytes(content[: len(content) * 2 // 3])


def of_no_bytes(data, config):
  write_video(data / "a.mp4", FRAMES, 10)
  (data / "b.mp4").write_bytes(b"")


def with_gaps(data, config):
  write_frames(data / "0", FRAMES)
  (data / "0" / "3.png").unlink()


def lying(data, config):
  write_video(data / "a.mp4", FRAMES, 10)
  (data / "videos.json").write_text('[{"file": "a.mp4"}, {"file": "b.mp4"}]')


def lying_about_a_rate(data, config):
  write_video(data / "a.mp4", FRAMES, 10)
  (data / "videos.json").write_text('[{"file": "a.mp4", "fps": -3}]')


def of_two_sizes(data, config):
  write_video(data / "a.mp4", FRAMES, 10)
  write_video(data / "b.mp4", moving_picture(6, 32, 16), 10)


def of_one_frame(data, config):
  write_video(data / "a.mp4", FRAMES[:1], 10)


def not_there(data, config):
  config.data.path = str(data / "elsewhere")


def of_another_kind(data, config):
  (data / "notes.txt").write_text("no video")


def artefact(data, config, change):
  write_video(data / "a.mp4", FRAMES, 10)
  folder = data.parent / "artefact"
  value = encoder.init_value(jax.random.key(0), encoder.ResNetConfig("resnet18", 8, 8))
  encoder.save(folder, value)
  content = json.loads((folder / "config.json").read_text())
  change(content)
  (folder / "config.json").write_text(json.dumps(content))
  config.encoder.init = str(folder)


def wider(data, config):
  artefact(data, config, lambda content: content["architecture"].update(width=16))


def unknown(data, config):
  artefact(data, config, lambda content: content["architecture"].update(arch="vit"))


def newer(data, config):
  artefact(data, config, lambda content: content.update(format="vipjax-encoder-9"))


def nonsense(data, config):
  write_video(data / "a.mp4", FRAMES, 10)
  config.finetune.batch_size = -1


@pytest.mark.parametrize(
  ("spoil", "words"),
  [
    (truncated, ["clip.mp4", "truncated or corrupt"]),
    (of_no_bytes, ["b.mp4", "got an empty one (0 bytes)"]),
    (with_gaps, ["4.png after 2.png, where others are 1 apart", "restore the missing"]),
    (lying, ["'b.mp4'", "got nothing at"]),
    (lying_about_a_rate, ["'fps'", "a number above 0", "-3"]),
    (of_two_sizes, ["a.mp4", "16x16", "32x16"]),
    (of_one_frame, ["a.mp4", "2 frames"]),
    (not_there, ["elsewhere"]),
    (of_another_kind, [".mp4"]),
    (wider, ["artefact", "instead of (16,)"]),
    (unknown, ["'vit'", "resnet18"]),
    (newer, ["vipjax-encoder-1"]),
    (nonsense, ["batch_size", "at least 1 ", "got -1"]),
  ],
)
def test_fine_tuning_on_bad_input_is_one_sentence(tmp_path, monkeypatch, spoil, words):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  data = tmp_path / "data"
  data.mkdir()
  config = config_of(data)
  spoil(data, config)
  workdir = run_folder.open_run(tmp_path / "run", config)
  before = contents(tmp_path)
  with pytest.raises(UserError) as error:
    finetune(config, workdir)
  assert_one_sentence(error, *words)
  after = contents(tmp_path)
  assert {name: after[name] for name in before} == before


def test_what_may_not_be_read_is_one_sentence(tmp_path):
  data = tmp_path / "data"
  data.mkdir()
  write_video(data / "a.mp4", FRAMES, 10)
  with without_permission(data / "a.mp4"), pytest.raises(UserError) as error:
    finetune(config_of(data), tmp_path / "run")
  assert_one_sentence(error, "a.mp4", "got 'Permission denied'")


def test_a_launcher_says_it_and_ends_with_1(tmp_path):
  (tmp_path / "data").mkdir()
  truncated(tmp_path / "data", None)
  before = contents(tmp_path)
  done = subprocess.run(
    [sys.executable, "-m", "launch.finetune", "--config=configs/demo.py",
     f"--workdir={tmp_path / 'run'}", f"--config.data.path={tmp_path / 'data'}"],
    cwd=ROOT, env=dict(os.environ), capture_output=True, text=True,
  )  # fmt: skip
  assert (done.returncode, done.stdout) == (1, "")
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: ") and "truncated or corrupt" in line
  after = contents(tmp_path)
  assert {name: after[name] for name in before} == before
  assert {name.split("/")[0] for name in set(after) - set(before)} <= {"run"}


def test_checkpoints_of_another_run_or_a_newer_version_are_one_sentence(tmp_path):
  def state(observation_size):
    return {"replay": replay.init(4, observation_size, 2)}

  with Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, state(5))
  before = contents(tmp_path)
  with Checkpointer(tmp_path) as checkpoints, pytest.raises(UserError) as error:
    checkpoints.restore_latest(state(7))
  assert_one_sentence(error, "expected float32[4, 7]", "got float32[4, 5]", "another folder")
  assert contents(tmp_path) == before

  (record,) = (tmp_path / "1" / "record").glob("metadata")
  content = json.loads(record.read_text())
  assert content["format"] == 1
  record.write_text(json.dumps({**content, "format": 2}))
  before = contents(tmp_path)
  with Checkpointer(tmp_path) as checkpoints, pytest.raises(UserError) as error:
    checkpoints.restore_latest(state(5))
  assert_one_sentence(error, "step 1", "format 1 or older", "got format 2", "update vipjax")
  assert contents(tmp_path) == before


# What looks bad and is not: it is taken as it is, every frame of it.
def test_variable_rates_odd_sizes_and_other_colours_are_taken(tmp_path):
  encode(tmp_path / "variable.mp4", FRAMES, "libx264", pts=[0, 1, 5, 6, 20, 21])
  assert read_video(tmp_path / "variable.mp4").frames.shape == FRAMES.shape
  encode(tmp_path / "odd.avi", moving_picture(4, 17, 31), "ffv1", pixel_format="bgr0")
  assert read_video(tmp_path / "odd.avi").frames.shape == (4, 17, 31, 3)
  (tmp_path / "images").mkdir()
  for number, mode in enumerate(("L", "RGBA", "RGB", "1")):
    Image.new(mode, (9, 7)).save(tmp_path / "images" / f"{10 * number}.png")  # every tenth
  assert read_video(tmp_path / "images").frames.shape == (4, 7, 9, 3)


def contents(folder):
  """The files below it, and what is in each."""
  return {
    path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }
