"""Runs Meta-World's task logic (placement, object features, success) on our edited scene."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.metadata
import warnings

import mujoco
import numpy as np
from metaworld.env_dict import ENV_CLS_MAP
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from vipjax.runtime.errors import UserError, require_among
from vipjax.scene import Robot, bound_workspace, home_at, replace_arm, use_joint_torques

# How many numbers the actions of each control have.
_NUM_ACTIONS = {"torque": 8, "end_effector": 4}
CONTROLS = tuple(_NUM_ACTIONS)
# Meta-World's hand limits of the window tasks with a little slack: the walls stop the hand just
# outside the space that the scripted policy uses.
WORKSPACE_SLACK = 0.02
# Its physics steps, of 0.0025 s each, in a control step.
CONTROL_STEP = 5
_SAWYER_JOINTS = 9
# Tasks that tell no distance from object to target (theirs is 0, or that of the hand).
_UNMEASURED = {"assembly", "box-close", "disassemble", "door-open", "hammer", "lever-pull"}
# Fields of the model that tasks write at resets.
MOVED_BY_TASKS = ("body_pos", "body_quat", "site_pos", "geom_pos")


# The one whose scenes, experts and success all of this is.
_METAWORLD = "3.1.1"


def require_pinned() -> str:
  """Returns the version of Meta-World; raises UserError unless it is the base install's."""
  found = importlib.metadata.version("metaworld")
  if found != _METAWORLD:
    raise UserError(
      f"expected metaworld {_METAWORLD}, whose scenes and success the environments have, got "
      f"{found}; run this in an environment of the base install, without the extra warp, where "
      "python -m launch.export_scene writes scenes for vipjax.envs.warp."
    )
  return found


def task_names() -> list[str]:
  """Returns the names of Meta-World's tasks as vipjax spells them ("window-open")."""
  return sorted(name.removesuffix("-v3") for name in ENV_CLS_MAP)


def num_actions(control: str) -> int:
  """Returns how many numbers an action has; raises UserError for an unknown control."""
  require_among("control", control, CONTROLS)
  return _NUM_ACTIONS[control]


def make_task(task: str, robot: Robot, control: str) -> SawyerXYZEnv:
  """Makes Meta-World's environment of a task on our edit of its scene.

  Args:
    task: a name of `task_names()`.
    robot: the arm.
    control: "torque" (joint motors) or "end_effector" (Meta-World's own mocap weld).

  Returns:
    Meta-World's environment. `spec_of_scene` is the uncompiled scene, `model` and `data` are the
    simulation, and `np_random` draws the placements.
  """
  if f"{task}-v3" not in ENV_CLS_MAP:
    raise UserError(
      f"expected a Meta-World task such as window-open, got {task!r}; choose among "
      f"{', '.join(task_names())}."
    )
  require_pinned()
  num_actions(control)  # It says what is wrong.
  base = ENV_CLS_MAP[f"{task}-v3"]
  with warnings.catch_warnings(), _quiet_hooks():
    env = _task_class(base, robot, control)()
  env._set_task_called = True
  env._partially_observable = False
  # Every reset draws placements from np_random, which the caller seeds.
  env._freeze_rand_vec = False
  env.seeded_rand_vec = True
  return env


def object_to_target(name: str, env: SawyerXYZEnv, info: dict[str, float]) -> float:
  """Returns the present distance in metres from a task's object to its target.

  It is Meta-World's own measure where a task has one, else the plain distance of the object, which
  for the hammer is the nail; of the door's handle along x alone, as its success is judged, because
  its arc passes the target at some distance.

  Args:
    name: of the task.
    env: its environment.
    info: what `env.evaluate_state` says of the present state.
  """
  if name in _UNMEASURED:
    apart = env._get_pos_objects()[-3:] - env._target_pos
    return float(abs(apart[0]) if name == "door-open" else np.linalg.norm(apart))
  return float(info["obj_to_target"])


@contextlib.contextmanager
def _quiet_hooks():
  # Gymnasium warns of the render modes of Meta-World's classes at every construction.
  warnings.simplefilter("ignore", category=UserWarning)
  yield


# Only a few, because each keeps its compiled scene of about 30 MB.
@functools.lru_cache(maxsize=4)
def _task_class(base: type, robot: Robot, control: str) -> type:
  name = f"{robot.name.title()}{control.title().replace('_', '')}{base.__name__}"
  return type(name, (_EditedScene, base), {"_robot": robot, "_control": control})


class _EditedScene:
  """Mixin before a Meta-World class that compiles our scene instead of loading an XML file.

  Attributes:
    spec_of_scene: the uncompiled scene.
    home: the arm's joint angles at reset, which hold the hand where Meta-World's own reset brings
      it; None before the first reset.
  """

  _robot: Robot
  _control: str
  # Compiled once for all environments of a task, because it takes up to a few seconds.
  _compiled: tuple[mujoco.MjSpec, mujoco.MjModel] | None = None
  home: np.ndarray | None = None

  def _initialize_simulation(self):
    if self._compiled is None:
      spec = self._edited()
      type(self)._compiled = (spec, spec.copy().compile())
    self.spec_of_scene, model = self._compiled
    model = copy.deepcopy(model)  # resets move its bodies
    self._pristine = {name: getattr(model, name).copy() for name in MOVED_BY_TASKS}
    return model, mujoco.MjData(model)

  def _edited(self) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(self.model_name)
    if self._robot.mount is not None:
      replace_arm(spec, self._robot)
    if self._control == "torque":
      use_joint_torques(spec, self._robot)
      bound_workspace(
        spec,
        self._robot,
        tuple(np.asarray(self.mocap_low) - WORKSPACE_SLACK),
        tuple(np.asarray(self.mocap_high) + WORKSPACE_SLACK),
      )
    return spec

  def _reset_hand(self, steps: int = 50) -> None:
    # Tasks read features before they move bodies and markers of the model: without this an episode
    # would depend on the previous one.
    for name, value in self._pristine.items():
      getattr(self.model, name)[:] = value
    mujoco.mj_resetData(self.model, self.data)
    if self.home is None:
      self.home = home_at(self.model, self._robot, np.asarray(self.hand_init_pos, float))
    for joint, position in self._robot.fingers_home:
      self.data.joint(joint).qpos[0] = position
    if self._control == "torque" or self._robot.mount is not None:
      for joint, angle in zip(self._robot.arm_joints, self.home, strict=True):
        self.data.joint(joint).qpos[0] = angle
    if self._control == "end_effector":
      # As long for all, so that an agent whose actions are held starts as the films do.
      held, self.frame_skip = self.frame_skip, CONTROL_STEP
      super()._reset_hand(steps)
      self.frame_skip = held
      return
    # The home pose replaces 50 steps of the mocap weld.
    mujoco.mj_forward(self.model, self.data)
    self.init_tcp = self.tcp_center

  def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
    """Sets the state as Meta-World does, also for arms with other than the Sawyer's nine joints.

    Tasks change a copy of the state at indices that assume nine joints before those of their
    objects. Changes at index 9 and above are therefore meant for the objects.
    """
    extra = len(self._robot.arm_joints) + len(self._robot.fingers_home) - _SAWYER_JOINTS
    if self._robot.mount is not None and extra and self._robot_comes_first():
      qpos, qvel = (
        _shifted(new, old, extra) for new, old in ((qpos, self.data.qpos), (qvel, self.data.qvel))
      )
    super().set_state(qpos, qvel)

  def _robot_comes_first(self) -> bool:
    return self.model.joint(self._robot.arm_joints[0]).qposadr[0] == 0


def _shifted(new: np.ndarray, old: np.ndarray, extra: int) -> np.ndarray:
  """Returns `old` with the changes of `new` from index 9 on, `extra` places later."""
  result = old.copy()
  result[:_SAWYER_JOINTS] = new[:_SAWYER_JOINTS]
  changed = np.flatnonzero(new != old)
  changed = changed[changed >= _SAWYER_JOINTS]
  # The Sawyer's scene ends `extra` numbers earlier: what lies beyond was counted from the end.
  by_number = not (changed >= len(new) - extra).any()
  result[changed + extra * by_number] = new[changed]
  return result
