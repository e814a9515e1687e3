"""The GL library is chosen before MuJoCo is imported, and a missing one is told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError

# Ends the process where MuJoCo is about to be imported, saying what it would find.
WATCH = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name == "mujoco":
      print(os.environ.get("MUJOCO_GL"), os.environ.get("LP_NUM_THREADS"))
      sys.exit(0)

sys.meta_path.insert(0, Watch())
"""

# A machine without OSMesa: there PyOpenGL fails like this inside `import mujoco`.
WITHOUT_OSMESA = """
import importlib.abc, sys
from vipjax.runtime import gl

class Missing(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name == "mujoco.osmesa":
      raise AttributeError("'NoneType' object has no attribute 'glGetError'")

sys.meta_path.insert(0, Missing())
gl.can_load = lambda library: False
"""


def run(code, **environment):
  kept = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "LP_NUM_THREADS")}
  return subprocess.run(
    [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True
  )


@pytest.mark.parametrize("module", ["vipjax.scene", "vipjax.envs", "vipjax.envs.vector"])
def test_mujoco_finds_the_choice_made(module):
  choice = "from vipjax.runtime import gl; gl.choose = lambda: ('osmesa', 'so it is told')\n"
  done = run(WATCH + choice + f"import {module}")
  assert done.stdout.split() == ["osmesa", "0"], done.stderr


def test_the_users_choice_reaches_mujoco():
  done = run(WATCH + "import vipjax.envs", MUJOCO_GL="egl", LP_NUM_THREADS="2")
  assert done.stdout.split() == ["egl", "2"], done.stderr


def test_the_library_asked_for_is_missing_where_mujoco_is_imported():
  done = run(WITHOUT_OSMESA + "import vipjax.envs", MUJOCO_GL="osmesa")
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("vipjax.runtime.errors.UserError: ")
  assert "library libOSMesa, as the environment variable MUJOCO_GL=osmesa says" in last


def test_only_rendering_needs_a_library(monkeypatch):
  monkeypatch.setenv("MUJOCO_GL", "off")
  with RobotEnv(size=16) as env:
    env.reset(seed=0)
    env.step(env.action_space.sample())
    with pytest.raises(UserError, match="MUJOCO_GL=off, which switches rendering off"):
      env.render()
