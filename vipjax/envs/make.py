"""`vipjax.make_env`, and the environments that Gymnasium knows by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from vipjax.envs.robot_env import RobotEnv

# Registered ids: task, robot and control of each.
IDS = {
  "vipjax/window-open-torque-sawyer-v0": ("window-open", "sawyer", "torque"),
  "vipjax/window-open-end_effector-sawyer-v0": ("window-open", "sawyer", "end_effector"),
}


def make_env(
  task: str = "window-open", robot: str = "sawyer", control: str = "torque", **options: Any
) -> gymnasium.Env:
  """A robot at a Meta-World task, as a Gymnasium environment.

  Args:
    task: a Meta-World task.
    robot: the arm.
    control: "torque" (8 actions) or "end_effector" (4).
    **options: see `RobotEnv`.

  Returns:
    A RobotEnv; its docstring says what each number of action and observation is.

  Raises:
    UserError: an unknown task, robot, control or option value.
  """
  return RobotEnv(task, robot, control, **options)


def register() -> None:
  """Registers `IDS` with Gymnasium; importing `vipjax.envs` does it."""
  for name, (task, robot, control) in IDS.items():
    if name not in gymnasium.registry:
      gymnasium.register(
        name,
        entry_point="vipjax.envs:RobotEnv",
        kwargs={"task": task, "robot": robot, "control": control},
      )


def env_options(config: Mapping[str, Any]) -> dict[str, Any]:
  """RobotEnv's keyword arguments from the `env` section of a config (placement -1 is None)."""
  options = dict(config)
  options["placement"] = None if options["placement"] < 0 else options["placement"]
  return options
