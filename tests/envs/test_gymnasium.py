"""Gymnasium's checker, the registered ids, and options that there are not."""

from __future__ import annotations

import importlib.metadata
import pathlib
import runpy
import subprocess
import sys
import types

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import vipjax
from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError

ACTIONS = {"torque": 8, "end_effector": 4}

SETUP = pathlib.Path(__file__).parents[2] / "setup.py"
ID = "vipjax/window-open-torque-sawyer-v0"
# The import is enough and stays light; an id that names the module needs none, as where a worker
# process gets no more than the id.
PROGRAMS = {
  "imported": f"""
import sys, gymnasium, vipjax
assert gymnasium.spec("{ID}").kwargs["robot"] == "sawyer"
heavy = {{"jax", "mujoco", "metaworld", "av", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported: {{sorted(heavy)}}" if heavy else 0)
""",
  "named": f"""
import gymnasium
env = gymnasium.make("vipjax:{ID}", size=16)
assert env.reset(seed=0)[0].shape == (51,)
env.close()
""",
}

# Any warning of the checker fails the test.


@pytest.mark.parametrize(("control", "actions"), ACTIONS.items())
def test_the_checker_passes_through_make(control, actions):
  env = gymnasium.make(f"vipjax/window-open-{control}-sawyer-v0", size=16)
  assert env.action_space.shape == (actions,)
  assert env.unwrapped.control == control
  check_env(env.unwrapped)
  env.close()


@pytest.mark.parametrize("task", ["window-open", "drawer-close"])
def test_the_checker_passes_for_make_env(task):
  env = vipjax.make_env(task, size=16)
  check_env(env)
  env.close()


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_ids_are_known_to_a_new_process(program):
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


def test_the_entry_point_registers_the_ids(monkeypatch):
  said = {}
  setuptools = types.SimpleNamespace(setup=said.update, find_packages=lambda include: include)
  monkeypatch.setitem(sys.modules, "setuptools", setuptools)
  runpy.run_path(str(SETUP))
  (line,) = said["entry_points"]["gymnasium.envs"]
  name, value = line.split(" = ")
  monkeypatch.delitem(gymnasium.registry, ID)
  importlib.metadata.EntryPoint(name, value, "gymnasium.envs").load()()
  assert ID in gymnasium.registry


def test_an_episode_through_make():
  env = gymnasium.make("vipjax/window-open-torque-sawyer-v0", size=16, horizon=3)
  env.reset(seed=0)
  assert env.render().shape == (16, 16, 3)
  ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
  assert ends == [(False, False), (False, False), (False, True)]
  env.close()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"task": "open-window"}, "expected a Meta-World task .* got 'open-window'.*window-open"),
    ({"robot": "ur5"}, "expected a robot among .*sawyer.*'ur5'"),
    ({"control": "velocity"}, "expected control among torque, end_effector, got 'velocity'"),
    ({"render_mode": "human"}, "expected render_mode None or 'rgb_array', got 'human'"),
    ({"horizon": 0}, "expected a horizon of at least 1 step, got 0"),
    ({"frame_skip": 0}, "expected a frame_skip of at least 1 physics step, got 0"),
    ({"placement": -1}, "expected placement None or a seed of at least 0, got -1"),
    ({"size": 0}, "expected frames of at least 1 pixel, got size 0"),
    ({"quality": "best"}, "expected rendering quality 'fast' or 'full', got 'best'"),
  ],
)
def test_unknown_options(options, words):
  with pytest.raises(UserError, match=f"^{words}[^\n]*$"):
    RobotEnv(**options)
