"""The environments that Gymnasium knows by id; of light imports, as `import vipjax` registers them.

They are the tasks that the scripted experts solve: more than 80% of 20 episodes, each within 200
steps. Measured by `launch.tasks`; docs/results/tasks.md has the numbers, and a test that this is
the same.
"""

from __future__ import annotations

import gymnasium

ENTRY_POINT = "vipjax.envs:RobotEnv"

# Names of tasks by arm and control.
SOLVED: dict[tuple[str, str], tuple[str, ...]] = {
  ("sawyer", "torque"): tuple(
    """
    button-press button-press-topdown button-press-topdown-wall button-press-wall coffee-button
    coffee-push disassemble door-close door-lock door-open door-unlock drawer-close drawer-open
    faucet-close faucet-open hammer handle-press handle-press-side handle-pull peg-insert-side
    pick-place plate-slide plate-slide-back plate-slide-back-side plate-slide-side reach
    reach-wall stick-push sweep window-close window-open
    """.split()
  ),
  ("sawyer", "end_effector"): tuple(
    """
    assembly basketball bin-picking box-close button-press button-press-topdown
    button-press-topdown-wall button-press-wall coffee-button coffee-pull coffee-push dial-turn
    disassemble door-close door-lock door-open door-unlock drawer-close drawer-open faucet-close
    faucet-open hammer hand-insert handle-press handle-press-side handle-pull handle-pull-side
    lever-pull peg-unplug-side pick-out-of-hole pick-place pick-place-wall plate-slide
    plate-slide-back plate-slide-back-side plate-slide-side push push-wall reach reach-wall
    shelf-place soccer stick-pull stick-push sweep sweep-into window-close window-open
    """.split()
  ),
  ("panda", "torque"): tuple(
    """
    button-press button-press-topdown-wall button-press-wall coffee-button disassemble
    door-close drawer-close drawer-open faucet-close faucet-open handle-press handle-press-side
    handle-pull-side pick-place plate-slide plate-slide-back-side push-back reach reach-wall
    window-close window-open
    """.split()
  ),
  ("panda", "end_effector"): tuple(
    """
    assembly button-press button-press-topdown button-press-topdown-wall button-press-wall
    coffee-button disassemble door-close door-lock door-unlock drawer-close drawer-open
    faucet-close faucet-open hammer handle-press handle-press-side handle-pull-side lever-pull
    peg-unplug-side pick-place-wall plate-slide plate-slide-back plate-slide-back-side
    plate-slide-side push-back reach reach-wall soccer sweep window-close window-open
    """.split()
  ),
  ("jaco", "torque"): tuple(
    """
    basketball button-press-topdown-wall button-press-wall coffee-button door-close drawer-close
    drawer-open faucet-close faucet-open handle-press handle-press-side plate-slide
    plate-slide-back plate-slide-back-side push-back reach reach-wall window-close window-open
    """.split()
  ),
  ("jaco", "end_effector"): tuple(
    """
    button-press button-press-topdown button-press-topdown-wall button-press-wall coffee-button
    door-close door-lock door-unlock drawer-close drawer-open faucet-close faucet-open
    handle-press handle-press-side lever-pull plate-slide-back plate-slide-back-side
    plate-slide-side push-back reach reach-wall window-close window-open
    """.split()
  ),
}


def env_id(task: str, robot: str, control: str) -> str:
  """Gymnasium's id of a task, a robot and its control."""
  return f"vipjax/{task}-{control}-{robot}-v0"


# Registered ids: task, robot and control of each.
IDS = {
  env_id(task, robot, control): (task, robot, control)
  for (robot, control), tasks in SOLVED.items()
  for task in tasks
}


def register() -> None:
  """Registers `IDS` with Gymnasium; importing `vipjax` does it.

  Any other task and arm is there by `make_env`. A process that has not imported vipjax gets them by
  "vipjax:vipjax/window-open-torque-sawyer-v0". In a process that also uses JAX,
  `gymnasium.make_vec` with vectorization_mode "async" wants vector_kwargs={"context": "spawn"}:
  JAX is multithreaded and does not survive a fork.
  """
  for name, (task, robot, control) in IDS.items():
    if name not in gymnasium.registry:
      gymnasium.register(
        name, entry_point=ENTRY_POINT, kwargs={"task": task, "robot": robot, "control": control}
      )
