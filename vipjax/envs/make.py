"""`vipjax.make_env`."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from vipjax.envs.robot_env import RobotEnv
from vipjax.ids import ENTRY_POINT, env_id


def make_env(
  task: str = "window-open", robot: str = "sawyer", control: str = "torque", **options: Any
) -> gymnasium.Env:
  """Makes a Gymnasium environment of a robot at a Meta-World task.

  Args:
    task: a Meta-World task.
    robot: "sawyer", "panda" or "jaco".
    control: "torque" (8 actions) or "end_effector" (4).
    **options: see `RobotEnv`.

  Returns:
    A RobotEnv, whose docstring explains each number of action and observation.

  Raises:
    UserError: an unknown task, robot, control or option value, or the arm's files cannot be
      fetched.
  """
  kwargs = {"task": task, "robot": robot, "control": control, **options}
  env = RobotEnv(**kwargs)
  # As in `gymnasium.make`, so that wrappers and checkers can make another one like it.
  env.spec = EnvSpec(env_id(task, robot, control), entry_point=ENTRY_POINT, kwargs=kwargs)
  return env
