"""Launchers, as a user meets them: in a process of their own."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

CONFIG = """
from ml_collections import config_dict

from vipjax.runtime.errors import UserError


def get_config(preset="big"):
  if preset not in ("big", "small"):
    raise UserError(f"expected the preset big or small, got {preset}; choose one.")
  config = config_dict.ConfigDict()
  config.seed = 0
  config.action = "print"
  config.finetune = config_dict.ConfigDict({"steps": 500, "rate": 1e-4, "augment": True})
  config.finetune.sizes = (64, 64)
  config.finetune.limit = config_dict.placeholder(int)
  return config
"""

FIXED_CONFIG = CONFIG.replace('get_config(preset="big"):', 'get_config():\n  preset = "big"')

LAUNCHER = '''
"""Prints what it was given."""

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags(DEFAULT)


def main(_):
  config = _FLAGS.config
  if config.action == "interrupt":
    raise KeyboardInterrupt
  if config.action == "bug":
    raise ValueError("our fault")
  if config.action == "set":
    config.finetune.stepz = 1
  if config.action == "jax":
    import jax
    print(jax.config.jax_compilation_cache_dir)
  finetune = config.finetune
  print(finetune.steps, finetune.rate, finetune.augment, finetune.sizes, finetune.limit)
  print(_FLAGS.workdir, _FLAGS.overwrite)


if __name__ == "__main__":
  launcher.run(main, renders=RENDERS)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("launchers")
  (folder / "config.py").write_text(CONFIG)
  (folder / "fixed.py").write_text(FIXED_CONFIG)
  (folder / "empty.py").write_text("")
  for name, default, renders in (
    ("plain", "None", "False"),
    ("default", "'config.py:small'", "False"),
    ("renders", "'config.py'", "True"),
  ):
    source = LAUNCHER.replace("DEFAULT", default).replace("RENDERS", renders)
    (folder / f"{name}.py").write_text(source)
  return folder


def launch(folder, name, *arguments, **environment):
  environment = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "VIPJAX_CACHE": str(folder / "cache"),
    **environment,
  }
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  return subprocess.run(
    [sys.executable, f"{name}.py", *arguments],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize(
  ("name", "arguments", "output"),
  [
    ("plain", ["--config=config.py"], "500 0.0001 True (64, 64) None\nruns/config False\n"),
    (
      "plain",
      ["--config=config.py:small", "--config.finetune.steps=7", "--workdir=runs/x", "--overwrite"],
      "7 0.0001 True (64, 64) None\nruns/x True\n",
    ),
    (
      "plain",
      [
        *("--config", "config.py:small", "--config.finetune.rate", "2", "--workdir", "/x/y"),
        *("--noconfig.finetune.augment", "--config.finetune.sizes=(3,4)"),
        "--config.finetune.limit=5",
      ],
      "500 2.0 False (3, 4) 5\n/x/y False\n",
    ),
    ("default", [], "500 0.0001 True (64, 64) None\nruns/config_small False\n"),
    ("default", ["--config.finetune.steps=7"], "7 0.0001 True (64, 64) None\n"),
    ("default", ["--config=fixed.py"], "runs/fixed False\n"),
  ],
)
def test_flags(folder, name, arguments, output):
  done = launch(folder, name, *arguments)
  assert (done.returncode, done.stderr) == (0, "")
  assert done.stdout.endswith(output) or done.stdout.startswith(output)


@pytest.mark.parametrize(
  ("name", "arguments", "sentence"),
  [
    (
      "plain",
      ["--config=config.py", "--config.finetune.stepz=5"],
      "expected a key of config.py, got 'finetune.stepz', which it does not have; "
      "did you mean --config.finetune.steps?",
    ),
    ("default", ["--config.stepz=5"], "got 'stepz'"),
    ("plain", ["--config=config.py", "--config.rate=5"], "did you mean --config.finetune.rate?"),
    (
      "plain",
      ["--config=config.py", "--config.zzzzzzz=5"],
      "its sections are action, finetune, seed.",
    ),
    (
      "plain",
      ["--config=config.py", "--config.finetune=5"],
      "got the section 'finetune' of config.py; set one of its keys",
    ),
    (
      "plain",
      ["--config=config.py", "--config.finetune.steps=many"],
      "expected a whole number for --config.finetune.steps (the config has 500), got 'many'",
    ),
    ("default", ["--config.finetune.steps=1.5"], "a whole number"),
    ("plain", ["--config=config.py", "--config.finetune.rate=x"], "expected a number for"),
    ("plain", ["--config=config.py", "--config.finetune.augment=7"], "expected true or false for"),
    ("plain", ["--config=config.py", "--config.finetune.limit=x"], "expected a whole number for"),
    ("plain", ["--overwrite=7"], "expected true or false for --overwrite, got '7'"),
    ("plain", ["--config=absent.py"], "got none at 'absent.py'"),
    ("plain", ["--config=config.py:huge"], "expected the preset big or small, got huge"),
    ("plain", ["--config=fixed.py:huge"], "expected no preset, as fixed.py has none"),
    ("plain", ["--config=empty.py"], "expected a function get_config in empty.py"),
    ("plain", [], "expected a config, got none; give --config=configs/demo.py."),
    ("plain", ["--config="], "expected --config=FILE, got no file"),
    ("plain", ["--config"], "expected --config=FILE, got no file"),
    ("plain", ["--config.seed=1"], "expected --config=FILE before --config.seed"),
    ("plain", ["--config.seed=1", "--config=config.py"], "got it after"),
    ("plain", ["--workdirr=x"], "got --workdirr; did you mean --workdir?"),
    ("default", ["--workdir"], "Missing value for flag --workdir"),
    ("default", ["config.py"], "expected flags only, got 'config.py'"),
    ("renders", [], "MUJOCO_GL=off, which switches rendering off"),
  ],
)
def test_what_the_user_can_mend_is_one_line(folder, name, arguments, sentence):
  done = launch(folder, name, *arguments, MUJOCO_GL="off")
  assert done.returncode == 1
  assert done.stdout == ""
  assert len(done.stderr.splitlines()) == 1
  assert done.stderr.startswith("error: ")
  assert sentence in done.stderr


def test_an_interrupt_says_how_to_go_on(folder):
  done = launch(folder, "default", "--config.action=interrupt")
  assert done.returncode == 130
  assert done.stderr.strip() == "interrupted; run the same command again to go on"


def test_a_bug_shows_where_it_is(folder):
  done = launch(folder, "default", "--config.action=bug")
  assert done.returncode == 1
  assert "Traceback" in done.stderr and "ValueError: our fault" in done.stderr


def test_the_config_is_locked(folder):
  done = launch(folder, "default", "--config.action=set")
  assert done.returncode == 1
  assert "stepz" in done.stderr


def test_help_explains_and_succeeds(folder):
  done = launch(folder, "default", "--help")
  assert done.returncode == 0
  assert "Prints what it was given." in done.stdout
  for flag in ("--config:", "--workdir:", "--[no]overwrite:", "(default: config.py:small)"):
    assert flag in done.stdout


def test_compiled_programs_are_kept_in_the_cache(folder):
  done = launch(folder, "default", "--config.action=jax")
  assert done.stdout.splitlines()[0] == str(folder / "cache" / "xla")


def test_without_a_writable_cache_there_is_a_warning(folder):
  done = launch(folder, "default", VIPJAX_CACHE=str(folder / "config.py"))
  assert done.returncode == 0
  assert done.stderr.startswith("warning: compiled programs are not kept: expected to write")


def test_a_platform_that_is_not_here_is_one_line(folder):
  done = launch(folder, "default", JAX_PLATFORMS="rocm")
  assert (done.returncode, done.stdout) == (1, "")
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: expected a device for JAX, got none for JAX_PLATFORMS=rocm")


def test_weights_and_biases_are_asked_for_before_any_work(folder, tmp_path):
  (tmp_path / "wandb.py").write_text("raise ImportError")
  paths = f"{tmp_path}{os.pathsep}{ROOT}"
  done = launch(folder, "plain", "--config=config.py", "--wandb=windows", PYTHONPATH=paths)
  assert (done.returncode, done.stdout) == (1, "")
  assert done.stderr.startswith("error: expected the package wandb for --wandb")
