"""The shell set-up of demo.sh and test.sh, on pretended machines; nothing is downloaded.

A stand-in for Python makes a virtual environment whose Python is a stand-in again, and notes what
pip is asked for.
"""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"

# $PRETEND: words that tell what the machine lacks.
PYTHON = f"""#!{shutil.which("bash")}
case "$*" in
  *version_info*) [[ "$PRETEND" != *old* ]] ;;
  *ensurepip*) [[ "$PRETEND" != *no-ensurepip* ]] ;;
  "-") [[ "$PRETEND" != *no-gl* || -f "$HERE/gl-installed" ]] ;;
  "-m venv --clear .venv")
    rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo venv >>"$HERE/log" ;;
  "-m pip install"*)
    echo "$*" >>"$HERE/log"
    if [[ "$PRETEND" == *pip-fails* ]]; then echo "pip: no network" >&2; exit 1; fi ;;
  "-m launch.pipeline"*) echo "$PWD $*" ;;
  "-m ruff"*|"-m pytest"*) echo "$*" ;;
esac
"""
APT = f"""#!{shutil.which("bash")}
echo "apt $*" >>"$HERE/log"
# A release of Debian without OSMesa.
if [[ "$*" == *install*osmesa* && "$PRETEND" == *no-osmesa* ]]; then exit 100; fi
if [[ "$*" == *install*libegl1* ]]; then touch "$HERE/gl-installed"; fi
"""


class Clone:
  """A clone of the repository on a machine with a Python and little else."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.root, self.bin = folder, folder / "a clone", folder / "bin"
    (self.root / "launch").mkdir(parents=True)
    for name in ("setup.sh", "demo.sh", "test.sh", "constraints.txt"):
      shutil.copy(LAUNCH / name, self.root / "launch")
    (self.root / "setup.py").write_text("first")
    self.bin.mkdir()
    for name in ("bash", "cat", "cksum", "cp", "dirname", "env", "mkdir", "rm", "touch"):
      (self.bin / name).symlink_to(shutil.which(name))
    self.program("python3", PYTHON)
    self.program("id", f"#!{shutil.which('bash')}\necho 1000\n")

  def program(self, name, text):
    (self.bin / name).write_text(text)
    (self.bin / name).chmod(stat.S_IRWXU)

  def run(self, script, *arguments, pretend=""):
    environment = {"PATH": str(self.bin), "HERE": str(self.folder), "PRETEND": pretend}
    command = ["bash", str(self.root / "launch" / script), *arguments]
    return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

  def log(self):
    """What was asked of venv, pip and apt since the last call."""
    path = self.folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@pytest.fixture
def clone(tmp_path):
  return Clone(tmp_path)


RUN = "-m pip install --quiet --constraint launch/constraints.txt --editable ."
TEST = f"{RUN}[test]"


def test_the_demo_sets_up_once_and_runs_from_the_root(clone):
  done = clone.run("demo.sh", "--overwrite")
  assert done.returncode == 0, done.stderr
  expected = f"{clone.root} -m launch.pipeline --config=configs/demo.py --overwrite\n"
  assert done.stdout == expected
  assert clone.log() == ["venv", RUN]
  done = clone.run("demo.sh")
  assert (done.returncode, done.stderr, clone.log()) == (0, "", [])


def test_the_tests_need_more_than_the_demo(clone):
  clone.run("demo.sh")
  clone.log()
  done = clone.run("test.sh", "tests/losses")
  assert done.stdout.splitlines() == [
    "-m ruff check .",
    "-m ruff format --check .",
    "-m pytest -q tests/losses",
  ]
  assert clone.log() == [TEST]
  clone.run("test.sh")
  clone.run("demo.sh")
  assert clone.log() == []


@pytest.mark.parametrize("changed", ["setup.py", "launch/constraints.txt"])
def test_a_changed_setup_is_installed_again(clone, changed):
  clone.run("demo.sh")
  clone.log()
  (clone.root / changed).write_text("second")
  clone.run("demo.sh")
  assert clone.log() == [RUN]


def test_what_an_interrupt_left_is_completed(clone):
  done = clone.run("demo.sh", pretend="pip-fails")
  assert done.returncode == 1
  assert "pip: no network\nerror: pip could not install the package" in done.stderr
  assert done.stdout == ""
  assert clone.log() == ["venv", RUN]
  assert clone.run("demo.sh").returncode == 0
  assert clone.log() == [RUN]


def test_a_clone_that_was_moved_is_set_up_anew(clone):
  clone.run("demo.sh")
  clone.log()
  clone.root = clone.root.rename(clone.folder / "elsewhere")
  clone.run("demo.sh")
  assert clone.log() == ["venv", RUN]


@pytest.mark.parametrize(
  ("pretend", "words"),
  [
    ("old", "vipjax needs Python 3.11, 3.12 or 3.13, but none is on the PATH"),
    ("no-ensurepip", "ensurepip, which python3 has not: install Debian's python3-venv"),
    ("no-gl", "MuJoCo needs a headless GL library .* 'apt-get install libosmesa6 libegl1"),
  ],
)
def test_what_is_missing_is_one_sentence(clone, pretend, words):
  done = clone.run("demo.sh", pretend=pretend)
  assert done.returncode == 1
  assert done.stdout == ""
  assert len(done.stderr.splitlines()) == 1
  assert done.stderr.startswith("error: ")
  assert re.search(words, done.stderr)
  assert clone.log() == []


@pytest.mark.parametrize("pretend", ["no-gl", "no-gl no-osmesa"])
def test_root_gets_debians_libraries(clone, pretend):
  clone.program("id", f"#!{shutil.which('bash')}\necho 0\n")
  clone.program("apt-get", APT)
  done = clone.run("demo.sh", pretend=pretend)
  assert done.returncode == 0, done.stderr
  log = clone.log()
  assert log[0] == "apt -qq update"
  assert "install libosmesa6 libegl1" in log[1]
  if "no-osmesa" in pretend:
    assert "install libegl1" in log[3]
  assert log[-2:] == ["venv", RUN]


def test_a_setting_of_the_users_own_is_not_second_guessed(clone):
  script = clone.root / "launch" / "demo.sh"
  script.write_text("export MUJOCO_GL=egl\n" + script.read_text())
  assert clone.run("demo.sh", pretend="no-gl").returncode == 0


def test_the_check_of_libraries_is_true_here():
  """The real check, run by the real Python, says what vipjax.runtime.gl says."""
  from vipjax.runtime import gl

  source = (LAUNCH / "setup.sh").read_text()
  code = source.split("<<'PYTHON'\n")[1].split("\nPYTHON\n")[0]
  done = subprocess.run([sys.executable, "-"], input=code, text=True, env=dict(os.environ))
  assert (done.returncode == 0) == (gl.can_load("OSMesa") or gl.can_load("EGL"))
