"""Weights & Biases: what it is sent, by a package that only notes it and by the real one."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

from vipjax.runtime import files, wandb_run
from vipjax.runtime.errors import UserError
from vipjax.runtime.metrics import MetricsWriter


class Wandb(types.ModuleType):
  """The parts of wandb that are used."""

  class Error(Exception):
    pass

  def __init__(self):
    super().__init__("wandb")
    self.run, self.refuses = None, False
    self.started, self.finished, self.logged, self.axes = [], [], [], {}

  def init(self, **options):
    if self.refuses:
      raise self.Error("no API key configured.")
    self.started.append(options)

    def define_metric(name, step_metric):
      self.axes[name] = step_metric

    self.run = types.SimpleNamespace(id=options["id"], define_metric=define_metric)

  def finish(self):
    self.finished.append(self.run.id)
    self.run = None

  def log(self, values):
    self.logged.append(values)

  def Image(self, image):
    return ("image", image.shape)

  def Video(self, file, format):
    return (format, file.read(6))


@pytest.fixture
def package(monkeypatch):
  package = Wandb()
  monkeypatch.setitem(sys.modules, "wandb", package)
  monkeypatch.setenv("WANDB_SILENT", "true")
  wandb_run.enable("windows")
  yield package
  wandb_run.enable(None)


def write(workdir, stage):
  with MetricsWriter(workdir, stage) as writer:
    writer.write(3, {"loss": np.float32(0.5)})
    writer.image(3, "goal", np.zeros((4, 6, 3), np.uint8))
    writer.film(4, "episode", np.zeros((2, 4, 6, 3), np.uint8), 10.0)


def test_it_gets_scalars_pictures_and_films(package, tmp_path):
  files.write_json(tmp_path / "config.json", {"seed": 3})
  write(tmp_path, "policy")
  assert package.logged == [
    {"policy/step": 3, "policy/loss": 0.5},
    {"policy/step": 3, "policy/goal": ("image", (4, 6, 3))},
    {"policy/step": 4, "policy/episode": ("gif", b"GIF89a")},
  ]
  assert package.axes == {"policy/*": "policy/step"}
  (options,) = package.started
  assert (options["project"], options["name"]) == ("windows", tmp_path.name)
  assert options["config"] == {"seed": 3} and options["dir"] == str(tmp_path)


def test_a_run_folder_is_one_run(package, tmp_path):
  write(tmp_path / "a", "finetune")
  write(tmp_path / "a", "policy")
  assert len(package.started) == 1
  write(tmp_path / "b", "finetune")
  write(tmp_path / "a", "policy")  # as after an interruption
  first, second, again = (options["id"] for options in package.started)
  assert first == again != second and package.finished == [first, second]
  assert all(options["resume"] == "allow" for options in package.started)


def test_nothing_is_sent_unasked(package, tmp_path):
  wandb_run.enable(None)
  write(tmp_path, "policy")
  assert not package.logged and not (tmp_path / "wandb.json").exists()


def test_refusals_are_one_sentence(package, tmp_path, monkeypatch):
  package.refuses = True
  with pytest.raises(UserError, match="got 'no API key configured'; run 'wandb login'"):
    MetricsWriter(tmp_path, "policy")
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(UserError, match="pip install wandb, or leave the flag out"):
    wandb_run.enable("windows")


PROGRAM = """
import sys
import numpy as np
from vipjax.runtime import wandb_run
from vipjax.runtime.metrics import MetricsWriter
wandb_run.enable("windows")
for stage in ("finetune", "policy"):
  with MetricsWriter(sys.argv[1], stage) as writer:
    writer.write(3, {"loss": 0.5})
    writer.image(3, "goal", np.zeros((4, 6, 3), np.uint8))
    writer.film(4, "episode", np.zeros((2, 4, 6, 3), np.uint8), 10.0)
"""


def test_the_real_package_offline(tmp_path):
  pytest.importorskip("wandb")
  environment = {**os.environ, "WANDB_MODE": "offline"}
  command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  (folder,) = (tmp_path / "wandb").glob("offline-run-*")
  assert folder.name.endswith(files.read_json(tmp_path / "wandb.json")["id"])
  assert len(list(folder.glob("*.wandb"))) == 1
  media = [path.relative_to(folder / "files/media") for path in folder.rglob("media/*/*/*")]
  kinds = sorted((path.parts[0], path.parts[1], path.suffix) for path in media)
  assert kinds == [
    ("images", "finetune", ".png"), ("images", "policy", ".png"),
    ("videos", "finetune", ".gif"), ("videos", "policy", ".gif"),
  ]  # fmt: skip
