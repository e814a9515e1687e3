"""`vipjax.make_env` and the environment section of a config."""

from __future__ import annotations

import pytest

import vipjax
from configs import demo
from vipjax.envs import RobotEnv, env_options, task_names
from vipjax.runtime.errors import UserError


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
  config = demo.get_config().env
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
