"""Which GL library is chosen, and what is said where there is none."""

import os
import subprocess
import sys

import pytest

from vipjax.runtime import gl
from vipjax.runtime.errors import UserError


@pytest.fixture
def machine(monkeypatch):
  """Pretends a machine: machine("OSMesa", "EGL", nvidia=False)."""
  # setenv first, so that what the code sets is undone at the end.
  for name in ("MUJOCO_GL", "LP_NUM_THREADS", "VIPJAX_GL_REASON"):
    monkeypatch.setenv(name, "")
    monkeypatch.delenv(name)

  def pretend(*libraries, nvidia=False):
    monkeypatch.setattr(gl, "can_load", lambda library: library in libraries)
    monkeypatch.setattr(gl, "has_nvidia_device", lambda: nvidia)

  return pretend


@pytest.mark.parametrize(
  ("libraries", "nvidia", "user", "on_gpu"),
  [
    (["OSMesa", "EGL"], True, None, True),
    (["OSMesa", "EGL"], False, None, False),
    (["EGL"], False, None, False),  # EGL in software
    (["OSMesa", "EGL"], True, "osmesa", False),
  ],
)
def test_what_draws_on_a_gpu(machine, monkeypatch, libraries, nvidia, user, on_gpu):
  machine(*libraries, nvidia=nvidia)
  if user:
    monkeypatch.setenv("MUJOCO_GL", user)
  gl.configure()
  assert gl.draws_on_gpu() == on_gpu


@pytest.mark.parametrize(
  ("libraries", "nvidia", "chosen", "why"),
  [
    (["OSMesa", "EGL"], False, "osmesa", "OSMesa: no NVIDIA GPU is here"),
    (["OSMesa", "EGL"], True, "egl", "EGL: this machine has an NVIDIA GPU"),
    (["OSMesa"], True, "osmesa", "OSMesa: its NVIDIA GPU cannot be used without libEGL"),
    (["EGL"], False, "egl", "EGL: no NVIDIA GPU is here and there is no libOSMesa"),
    ([], True, None, ""),
  ],
)
def test_choice(machine, libraries, nvidia, chosen, why):
  machine(*libraries, nvidia=nvidia)
  assert gl.configure() == chosen
  assert os.environ.get("MUJOCO_GL") == chosen
  assert not chosen or gl.explain() == f"drawing frames with {why}"
  assert os.environ["LP_NUM_THREADS"] == "0"


def test_the_users_own_setting_stays(machine, monkeypatch):
  machine("OSMesa", "EGL")
  monkeypatch.setenv("MUJOCO_GL", "EGL")
  monkeypatch.setenv("LP_NUM_THREADS", "2")
  assert gl.require() == "egl"
  assert gl.explain() == "drawing frames with EGL: the environment variable MUJOCO_GL says so"
  assert os.environ["MUJOCO_GL"] == "EGL"
  assert os.environ["LP_NUM_THREADS"] == "2"


def test_no_library_says_what_to_install(machine):
  machine()
  with pytest.raises(UserError, match="headless GL library.*apt-get install libosmesa6"):
    gl.require()


def test_the_library_asked_for_is_missing(machine, monkeypatch):
  machine("EGL")
  monkeypatch.setenv("MUJOCO_GL", "osmesa")
  with pytest.raises(UserError, match="library libOSMesa, as .* MUJOCO_GL=osmesa says"):
    gl.require()


def test_rendering_switched_off(machine, monkeypatch):
  machine("EGL")
  monkeypatch.setenv("MUJOCO_GL", "disable")
  with pytest.raises(UserError, match="MUJOCO_GL=disable, which switches rendering off"):
    gl.require()


def test_can_load_tells_libraries_apart(monkeypatch, tmp_path):
  assert gl.can_load("c")
  assert not gl.can_load("surely_no_library_is_called_this")
  broken = tmp_path / "libbroken.so"
  broken.write_text("no library")
  monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: str(broken))
  assert not gl.can_load("broken")


def test_choosing_imports_neither_mujoco_nor_jax():
  code = (
    "import sys; from vipjax.runtime import gl; gl.configure(); "
    "print(sorted({'mujoco', 'jax'} & set(sys.modules)))"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"
