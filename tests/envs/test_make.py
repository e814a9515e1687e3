"""`vipjax.make_env` and the environment section of a config."""

from __future__ import annotations

import pathlib

import gymnasium
import pytest

import vipjax
from configs import demo
from vipjax.envs import RobotEnv, task_names
from vipjax.ids import IDS
from vipjax.runtime.errors import UserError
from vipjax.stages.inputs import env_options
from vipjax.stages.task import filled


def test_make_env_is_public():
  env = vipjax.make_env(task="window-open", robot="sawyer", control="end_effector", horizon=7)
  assert isinstance(env, RobotEnv)
  assert (env.task_name, env.robot.name, env.control, env.horizon) == (
    "window-open",
    "sawyer",
    "end_effector",
    7,
  )
  assert vipjax.make_env().control == "torque"


def test_make_env_refuses_what_is_unknown():
  with pytest.raises(UserError, match="got 'panda-stack'"):
    vipjax.make_env("panda-stack")


def test_metaworlds_tasks():
  names = task_names()
  assert len(names) == 50
  assert {"window-open", "window-close", "drawer-open"} < set(names)
  assert names == sorted(names)


def test_options_from_a_config():
  config = filled(demo.get_config()).env
  config.placement = -1
  assert env_options(config)["placement"] is None
  config.placement = 5
  options = env_options(config)
  assert options["placement"] == 5
  assert RobotEnv(**options).placement == 5


def test_the_package_lists_its_public_names():
  for name in ("make_env", "envs", "videos", "load", "read_video", "__version__"):
    assert name in dir(vipjax)
  assert vipjax.envs.make_env is vipjax.make_env
  with pytest.raises(AttributeError, match="module 'vipjax' has no attribute 'make_envs'"):
    vipjax.make_envs  # noqa: B018


# Registered ids.


def solved_by_the_table():
  """Task, robot and control of all that the first table of docs/results/tasks.md has above 80%."""
  text = (pathlib.Path(__file__).parents[2] / "docs/results/tasks.md").read_text(encoding="utf-8")
  table = text[text.index("| task |") :].split("\n\n")[0]
  header, _, *lines, counts = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()
  ]
  columns = [tuple(name.split(", ")) for name in header[1:]]
  assert len(columns) == 6 and [line[0] for line in lines] == task_names()
  found = {
    (task, *column)
    for task, *cells in lines
    for column, cell in zip(columns, cells, strict=True)
    if int(cell.split("%")[0]) > 80
  }
  assert [int(count) for count in counts[1:]] == [
    sum(column == each[1:] for each in found) for column in columns
  ]
  return found


def test_what_the_experts_solve_is_registered():
  assert set(IDS.values()) == solved_by_the_table()
  registered = {name for name in gymnasium.registry if name.startswith("vipjax/")}
  assert registered == set(IDS)
  assert IDS["vipjax/window-open-torque-panda-v0"] == ("window-open", "panda", "torque")
  # The published environments.
  for robot in ("sawyer", "panda", "jaco"):
    assert ("window-open", robot, "torque") in IDS.values()


def test_an_id_of_another_task_makes_it():
  env = gymnasium.make("vipjax/drawer-open-torque-sawyer-v0", size=16)
  assert (env.unwrapped.task_name, env.unwrapped.control) == ("drawer-open", "torque")
  observation, _ = env.reset(seed=0)
  assert observation in env.observation_space
  env.close()


# Once JAX has computed anything, a process must not fork.
@pytest.mark.parametrize(("mode", "context"), [("sync", {}), ("async", {"context": "spawn"})])
def test_vectors_of_environments(mode, context):
  name = "vipjax/window-open-torque-sawyer-v0"
  env = gymnasium.make_vec(
    name, num_envs=2, vectorization_mode=mode, vector_kwargs=context, render_mode=None
  )
  observation, _ = env.reset(seed=0)
  assert observation.shape == (2, 51) and (observation[0] != observation[1]).any()
  observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
  assert observation.shape == (2, 51) and not terminated.any() and not truncated.any()
  assert info["success"].tolist() == [False, False]
  env.close()


@pytest.mark.parametrize("robot", ["panda", "jaco"])
def test_an_arm_by_its_id(robot, arms_files):
  # Gymnasium imports the module before the colon: nothing else needs to be imported.
  env = gymnasium.make(f"vipjax.envs:vipjax/window-open-torque-{robot}-v0", render_mode=None)
  assert env.unwrapped.robot.name == robot
  assert env.reset(seed=0)[0] in env.observation_space
  env.close()
