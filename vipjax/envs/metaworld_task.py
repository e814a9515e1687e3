"""Meta-World's task logic (placement, object features, success) on a scene that we edited."""

from __future__ import annotations

import contextlib
import functools
import warnings

import mujoco
import numpy as np
from metaworld.env_dict import ENV_CLS_MAP
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from vipjax.runtime.errors import UserError
from vipjax.scene import Robot, bound_workspace, use_joint_torques

CONTROLS = ("torque", "end_effector")
# Meta-World's hand limits of the window tasks, with a little slack: the walls stop the hand just
# outside of what the scripted policy ever uses.
WORKSPACE_SLACK = 0.02
_MOVED_BY_TASKS = ("body_pos", "body_quat", "site_pos", "geom_pos")


def task_names() -> list[str]:
  """Names of Meta-World's tasks as vipjax spells them ("window-open")."""
  return sorted(name.removesuffix("-v3") for name in ENV_CLS_MAP)


def make_task(task: str, robot: Robot, control: str) -> SawyerXYZEnv:
  """Meta-World's environment of a task, simulating our edit of its scene.

  Args:
    task: a name of `task_names()`.
    robot: the arm.
    control: "torque" (joint motors) or "end_effector" (Meta-World's own mocap weld).

  Returns:
    Meta-World's environment. Its `spec` attribute is the uncompiled scene; `model` and `data` are
    the simulation; its random placements come from its own `np_random`.
  """
  if f"{task}-v3" not in ENV_CLS_MAP:
    raise UserError(
      f"expected a Meta-World task such as window-open, got {task!r}; the tasks are "
      f"{', '.join(task_names())}."
    )
  if control not in CONTROLS:
    raise UserError(
      f"expected control among {', '.join(CONTROLS)}, got {control!r}; choose one of these."
    )
  base = ENV_CLS_MAP[f"{task}-v3"]
  with warnings.catch_warnings(), _quiet_hooks():
    env = _task_class(base, robot, control)()
  env._set_task_called = True
  env._partially_observable = False
  # Placements are drawn at every reset from np_random, which the caller seeds.
  env._freeze_rand_vec = False
  env.seeded_rand_vec = True
  return env


@contextlib.contextmanager
def _quiet_hooks():
  # Gymnasium complains of the render modes of Meta-World's classes at every construction.
  warnings.simplefilter("ignore", category=UserWarning)
  yield


@functools.cache
def _task_class(base: type, robot: Robot, control: str) -> type:
  if control == "end_effector":
    return type(base.__name__, (_EditedScene, base), {"_robot": robot, "_torque": False})
  return type(f"Torque{base.__name__}", (_EditedScene, base), {"_robot": robot, "_torque": True})


class _EditedScene:
  """Mixed in before a Meta-World class: compiles our scene where it would load an XML file."""

  _robot: Robot
  _torque: bool

  def _initialize_simulation(self):
    self.spec_of_scene = mujoco.MjSpec.from_file(self.model_name)
    if self._torque:
      use_joint_torques(self.spec_of_scene, self._robot)
      bound_workspace(
        self.spec_of_scene,
        self._robot,
        tuple(np.asarray(self.mocap_low) - WORKSPACE_SLACK),
        tuple(np.asarray(self.mocap_high) + WORKSPACE_SLACK),
      )
    model = self.spec_of_scene.copy().compile()
    self._pristine = {name: getattr(model, name).copy() for name in _MOVED_BY_TASKS}
    return model, mujoco.MjData(model)

  def _reset_hand(self, steps: int = 50) -> None:
    # Tasks move bodies and markers of the model and read features before they do: without this an
    # episode would depend on the one before it.
    for name, value in self._pristine.items():
      getattr(self.model, name)[:] = value
    mujoco.mj_resetData(self.model, self.data)
    if not self._torque:
      super()._reset_hand(steps)
      return
    # The home pose takes the place of 50 steps of the mocap weld.
    for joint, angle in zip(self._robot.arm_joints, self._robot.home, strict=True):
      self.data.joint(joint).qpos[0] = angle
    mujoco.mj_forward(self.model, self.data)
    self.init_tcp = self.tcp_center
