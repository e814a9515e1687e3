"""`vipjax.make_env`, and the environments that Gymnasium knows by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from vipjax.envs.metaworld_task import task_names
from vipjax.envs.robot_env import RobotEnv

_ENTRY_POINT = "vipjax.envs:RobotEnv"


def _id(task: str, robot: str, control: str) -> str:
  return f"vipjax/{task}-{control}-{robot}-v0"


# Tasks that the scripted expert solves in 80% of its episodes or less: docs/results/tasks.md. The
# others are registered, for they are known to be possible.
UNSOLVED: dict[tuple[str, str], tuple[str, ...]] = {
  ("sawyer", "torque"): (),
  ("sawyer", "end_effector"): (),
}

# Registered ids: task, robot and control of each.
IDS = {
  _id(task, robot, control): (task, robot, control)
  for (robot, control), unsolved in UNSOLVED.items()
  for task in task_names()
  if task not in unsolved
}


def make_env(
  task: str = "window-open", robot: str = "sawyer", control: str = "torque", **options: Any
) -> gymnasium.Env:
  """A robot at a Meta-World task, as a Gymnasium environment.

  Args:
    task: a Meta-World task.
    robot: "sawyer", "panda" or "jaco".
    control: "torque" (8 actions) or "end_effector" (4).
    **options: see `RobotEnv`.

  Returns:
    A RobotEnv; its docstring says what each number of action and observation is.

  Raises:
    UserError: an unknown task, robot, control or option value, or the arm's files are not to be
      had.
  """
  kwargs = {"task": task, "robot": robot, "control": control, **options}
  env = RobotEnv(**kwargs)
  # As `gymnasium.make` does, so that wrappers and checkers can make another one like it.
  env.spec = EnvSpec(_id(task, robot, control), entry_point=_ENTRY_POINT, kwargs=kwargs)
  return env


def register() -> None:
  """Registers `IDS` with Gymnasium; importing `vipjax.envs` does it."""
  for name, (task, robot, control) in IDS.items():
    if name not in gymnasium.registry:
      gymnasium.register(
        name,
        entry_point=_ENTRY_POINT,
        kwargs={"task": task, "robot": robot, "control": control},
      )


def env_options(config: Mapping[str, Any]) -> dict[str, Any]:
  """RobotEnv's keyword arguments from the `env` section of a config (placement -1 is None)."""
  options = dict(config)
  options["placement"] = None if options["placement"] < 0 else options["placement"]
  return options
