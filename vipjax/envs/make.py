"""`vipjax.make_env`, and the environments that Gymnasium knows by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.solved import SOLVED

_ENTRY_POINT = "vipjax.envs:RobotEnv"


def _id(task: str, robot: str, control: str) -> str:
  return f"vipjax/{task}-{control}-{robot}-v0"


# Registered ids: task, robot and control of each that is known to be possible.
IDS = {
  _id(task, robot, control): (task, robot, control)
  for (robot, control), tasks in SOLVED.items()
  for task in tasks
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
  """Registers `IDS` with Gymnasium; importing `vipjax.envs` does it.

  They are the tasks and arms whose scripted expert succeeds in more than 80% of its episodes
  (docs/results/tasks.md); any other is there by `make_env`. In a process that also uses JAX,
  `gymnasium.make_vec` with vectorization_mode "async" wants vector_kwargs={"context": "spawn"}:
  JAX is multithreaded and does not survive a fork.
  """
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
