"""A robot at a Meta-World task, as a Gymnasium environment."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import mujoco
import numpy as np

from vipjax.envs.metaworld_task import (
  CONTROL_STEP,
  MOVED_BY_TASKS,
  make_task,
  num_actions,
  object_to_target,
)
from vipjax.runtime.errors import UserError
from vipjax.scene import SceneRenderer, View, get_robot
from vipjax.scene.rendering import check_drawing

_OBJECT_FEATURES = 14
_FRAME = 9 + 1 + _OBJECT_FEATURES
_HAND = 4  # numbers of `observes="hand"`
# Radians and metres. The scene spans a few metres, so no number comes near and clipping is a guard.
LIMIT = 10.0
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
# Attributes of Meta-World's environment that hold the compiled scene.
_HOLD_THE_SCENE = ("spec_of_scene", "model", "data", "mujoco_renderer", "_pristine")
_DIVERGENCE = (
  mujoco.mjtWarning.mjWARN_BADQPOS,
  mujoco.mjtWarning.mjWARN_BADQVEL,
  mujoco.mjtWarning.mjWARN_BADQACC,
)


class RobotEnv(gymnasium.Env):
  """One episode is `horizon` control steps of 0.0125 s (80 Hz).

  Action, float32 in [-1, 1]:
    torque: [8], seven joint torques as shares of each joint's limit, base to wrist, and the
      gripper's force (positive closes).
    end_effector: [4], Meta-World's own: the hand's displacement (x, y, z, 1 cm at 1) and gripper.

  Observation, float32 [51] in [-10, 10] = 2 x 24 + 3 (the published count; this make-up of it is
  our reading):
    0..6    positions of the seven arm joints, radians, base to wrist
    7, 8    positions of the right and left finger, metres (Jaco: of thumb and index, radians)
    9       gripper opening, 0 (shut) to 1
    10..23  Meta-World's object features: position (metres) and quaternion of up to two objects,
            padded by zeros; for window-open 10..12 is the handle, the rest 0
    24..47  the same 24 numbers one control step earlier (at reset: the present ones)
    48..50  the task's goal position, metres
  Or, with `observes="hand"`, float32 [4], for a policy that looks where the object is:
    0..2    the hand's position, metres
    3       gripper opening, 0 (shut) to 1

  Reward is 0: vipjax computes it from pictures. `info` holds "success" (bool, Meta-World's own
  criterion), "task_reward" (float, Meta-World's shaped reward) and "object_to_target" (metres, as
  `distances` gives it) for those who measure; no policy from pictures is trained on them. Episodes
  never terminate; they truncate at the horizon.

  When the simulation diverges, MuJoCo would continue from a reset state. RobotEnv restores the
  state before that step instead and truncates the episode, with info["diverged"] True: the last
  step changes nothing, and training continues with the next episode.

  The hand is kept inside Meta-World's own limits by invisible walls (torque control).
  """

  metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

  def __init__(
    self,
    task: str = "window-open",
    robot: str = "sawyer",
    control: str = "torque",
    *,
    horizon: int = 200,
    frame_skip: int = CONTROL_STEP,
    placement: int | None = None,
    joint_noise: float = 0.02,
    render_mode: str | None = "rgb_array",
    size: int = 112,
    view: View | None = None,
    quality: str = "fast",
    observes: str = "state",
  ):
    """Builds the scene.

    Args:
      task: a Meta-World task.
      robot: "sawyer", "panda" or "jaco"; pip fetches the files of the last two on first use.
      control: "torque" or "end_effector".
      horizon: control steps in an episode.
      frame_skip: physics steps of 0.0025 s in a control step. The end effector's displacement is
        made anew in every fifth of them, so that the hand is as fast with more (an action held).
      placement: None places the objects at random in every episode; an integer is the seed of
        the one placement of all episodes.
      joint_noise: half-width in radians of the uniform noise on the arm's joints at reset (torque
        control).
      render_mode: "rgb_array" or None.
      size: height and width of frames in pixels.
      view: the viewpoint of `render`; None is `View()`.
      quality: "fast" or "full" rendering.
      observes: "state" or "hand".

    Raises:
      UserError: an argument is unknown or out of range, or the arm's files cannot be fetched.
    """
    if render_mode not in (None, "rgb_array"):
      raise UserError(
        f"expected render_mode None or 'rgb_array', got {render_mode!r}; choose one of the two."
      )
    if observes not in ("state", "hand"):
      raise UserError(f"expected observes 'state' or 'hand', got {observes!r}; choose one.")
    if horizon < 1:
      raise UserError(f"expected a horizon of at least 1 step, got {horizon}; raise it.")
    if frame_skip < 1:
      raise UserError(
        f"expected a frame_skip of at least 1 physics step, got {frame_skip}; raise it."
      )
    if placement is not None and placement < 0:
      raise UserError(
        f"expected placement None or a seed of at least 0, got {placement}; raise it."
      )
    check_drawing(size, quality)
    self._arguments = {
      "task": task, "robot": robot, "control": control, "horizon": horizon,
      "frame_skip": frame_skip, "placement": placement, "joint_noise": joint_noise,
      "render_mode": render_mode, "size": size, "view": view, "quality": quality,
      "observes": observes,
    }  # fmt: skip
    self.robot = get_robot(robot)
    self.task_name, self.control, self.observes = task, control, observes
    self.horizon, self.placement, self.joint_noise = horizon, placement, joint_noise
    self.task = make_task(task, self.robot, control)
    self.task.frame_skip = frame_skip
    seconds = self.model.opt.timestep * frame_skip
    self.metadata = {**self.metadata, "render_fps": round(1.0 / seconds)}
    self.render_mode = render_mode
    self._size, self._quality = size, quality
    self.view = view or View()
    self._renderer, self._lender = None, None
    self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (num_actions(control),), np.float32)
    numbers = 2 * _FRAME + 3 if observes == "state" else _HAND
    self.observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (numbers,), np.float32)
    joints = self.robot.arm_joints + self.robot.finger_joints
    self._joint_addresses = np.array([self.model.joint(name).qposadr[0] for name in joints])
    self._steps = 0
    self._previous = None
    self._state = np.zeros(mujoco.mj_stateSize(self.model, _STATE))

  def __copy__(self) -> RobotEnv:
    return copy.deepcopy(self)  # two that share a generator would disturb each other

  def __getstate__(self) -> dict[str, Any]:
    """Returns the arguments and the state of the episode and its generator.

    A copy (`copy.deepcopy`, `pickle`) continues exactly as the original would. It compiles its own
    scene and makes its own renderer, which takes as long as the constructor does.
    """
    own, task = dict(vars(self)), dict(vars(self.task))
    for name in ("task", "robot", "_joint_addresses", "_renderer", "_lender"):
      del own[name]
    views = self._views_of_data()
    for name in (*_HOLD_THE_SCENE, *views):
      del task[name]
    present = np.zeros_like(self._state)
    mujoco.mj_getState(self.model, self.data, present, _STATE)
    moved = {name: getattr(self.model, name).copy() for name in MOVED_BY_TASKS}
    return {"own": own, "task": task, "views": views, "moved": moved, "present": present}

  def __setstate__(self, state: dict[str, Any]) -> None:
    RobotEnv.__init__(self, **state["own"]["_arguments"])
    vars(self).update(state["own"])
    vars(self.task).update(state["task"])
    for name, (field, row) in state["views"].items():
      setattr(self.task, name, getattr(self.data, field)[row])
    for name, values in state["moved"].items():
      getattr(self.model, name)[:] = values
    # Set twice, because mj_forward changes the solver's start, which is part of the state.
    mujoco.mj_setState(self.model, self.data, state["present"], _STATE)
    mujoco.mj_forward(self.model, self.data)
    mujoco.mj_setState(self.model, self.data, state["present"], _STATE)
    if self._previous is not None:
      self._place_markers()

  @property
  def model(self) -> mujoco.MjModel:
    return self.task.model

  @property
  def data(self) -> mujoco.MjData:
    return self.task.data

  @property
  def drawn_model(self) -> mujoco.MjModel:
    """The model whose colours `render` shows."""
    return self._scene_renderer().model

  def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
    super().reset(seed=seed)
    place = self.np_random if self.placement is None else np.random.default_rng(self.placement)
    self.task.np_random = place
    self.task.curr_path_length = 0
    self.task.reset_model()
    if self.control == "torque" and self.joint_noise:
      noise = self.np_random.uniform(-self.joint_noise, self.joint_noise, 7)
      self.data.qpos[self._joint_addresses[:7]] += noise
    mujoco.mj_forward(self.model, self.data)
    self._place_markers()
    self.task._prev_obs = self.task._get_curr_obs_combined_no_goal()
    self._previous = self._frame()
    self._steps = 0
    mujoco.mj_getState(self.model, self.data, self._state, _STATE)
    return self._observation(), self._info(np.zeros(4, np.float32))

  def step(self, action):
    action = self._checked(action)
    if self._previous is None:
      raise UserError("expected reset() before the first step(), got step(); reset first.")
    if self.control == "torque":
      self.data.ctrl[:] = action
      task_action = np.array([0, 0, 0, action[-1]], np.float32)
      mujoco.mj_step(self.model, self.data, self.task.frame_skip)
    else:
      self.data.ctrl[:] = (action[-1], -action[-1])
      task_action = action
      for done in range(0, self.task.frame_skip, CONTROL_STEP):
        self.task.set_xyz_action(action[:3])
        mujoco.mj_step(self.model, self.data, min(CONTROL_STEP, self.task.frame_skip - done))
    # mj_step leaves positions from before its last integration; features and pictures need the
    # present ones.
    diverged = self._restore_if_diverged()
    mujoco.mj_kinematics(self.model, self.data)
    self._place_markers()
    self._steps += 1
    observation = self._observation()
    truncated = diverged or self._steps >= self.horizon
    return observation, 0.0, False, truncated, self._info(task_action, diverged)

  def render(self) -> np.ndarray | None:
    """Returns an upright frame from `view`, uint8 [size, size, 3]; None without a render mode."""
    return None if self.render_mode is None else self.frame(self.view)

  def frame(self, view: View, robot_visible: bool = True, out: np.ndarray | None = None):
    """Returns a frame of the present state from a viewpoint, uint8 [size, size, 3]."""
    return self._scene_renderer().render(self.model, self.data, view, robot_visible, out)

  def labels(self, view: View, robot_visible: bool = True) -> np.ndarray:
    """Returns what each pixel of `frame` shows, uint8 [size, size]: see `SceneRenderer.labels`."""
    return self._scene_renderer().labels(self.model, self.data, view, robot_visible)

  def distances(self) -> tuple[float, float]:
    """Returns the present distances in metres from hand to object and from object to target.

    The second is `object_to_target`; for window-open it is the rest of the slide.
    """
    _, info = self.task.evaluate_state(self.scripted_observation(), np.zeros(4, np.float32))
    return self.hand_to_object(), object_to_target(self.task_name, self.task, info)

  def hand_to_object(self) -> float:
    """Returns the first of `distances` alone, which is ten times as fast."""
    return float(np.linalg.norm(self.task.tcp_center - self.task._get_pos_objects()[:3]))

  def put_objects_back(self, qpos: np.ndarray) -> None:
    """Puts everything but the robot where it was earlier in the episode; nothing is stepped.

    The arm may then reach into an object. `frame`, `labels` and `distances` are of the new state;
    the episode is over.

    Args:
      qpos: float64 [nq], a copy of `data.qpos` then; of its numbers those of the robot are ignored.
    """
    # Only resets move bodies of the model, so that joints are all that an episode moves.
    joints = np.diff(np.append(self.model.jnt_qposadr, self.model.nq))
    base = self.model.body(self.robot.base_body).id
    of_robot = self.model.body_rootid[self.model.jnt_bodyid] == base
    self.data.qpos[:] = np.where(np.repeat(of_robot, joints), self.data.qpos, qpos)
    mujoco.mj_kinematics(self.model, self.data)
    self._place_markers()
    self._previous = None  # step() then asks for a reset

  def share_renderer(self, other: RobotEnv) -> None:
    """Draws with the renderer of `other`, an environment of the same scene, which closes it."""
    self._lender = other

  def close(self) -> None:
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None

  def scripted_observation(self) -> np.ndarray:
    """Returns float64 [39], the observation that Meta-World's scripted policies read."""
    present = self.task._get_curr_obs_combined_no_goal()
    return np.hstack((present, self.task._prev_obs, self.task._get_pos_goal()))

  def joint_positions(self) -> np.ndarray:
    """Returns float64 [9], the positions of the arm's joints and the fingers."""
    return self.data.qpos[self._joint_addresses]

  def _scene_renderer(self) -> SceneRenderer:
    if self._lender is not None:
      return self._lender._scene_renderer()
    if self._renderer is None:
      self._renderer = SceneRenderer(self.task.spec_of_scene, self.robot, self._size, self._quality)
    return self._renderer

  def _checked(self, action) -> np.ndarray:
    action = np.asarray(action, np.float32)
    if action.shape != self.action_space.shape:
      raise UserError(
        f"expected an action of shape {self.action_space.shape} for {self.control} control, got "
        f"{action.shape}; give one action of that shape."
      )
    if not np.isfinite(action).all():
      raise UserError(
        f"expected a finite action, got {action.tolist()}; check the policy, which has diverged."
      )
    return np.clip(action, -1.0, 1.0)

  def _frame(self) -> np.ndarray:
    features = self.task._get_curr_obs_combined_no_goal()
    return np.hstack((self.joint_positions(), features[3:])).astype(np.float32)

  def _views_of_data(self) -> dict[str, tuple[str, int]]:
    """Returns the task's attributes that are views of rows of the data, with field and row."""
    found = {}
    for name, value in vars(self.task).items():
      for field in ("xpos", "site_xpos", "geom_xpos"):
        rows = getattr(self.data, field)
        if isinstance(value, np.ndarray) and np.may_share_memory(value, rows):
          found[name] = (field, [np.may_share_memory(value, row) for row in rows].index(True))
    return found

  def _observation(self) -> np.ndarray:
    present = self._frame()
    goal = np.asarray(self.task._get_pos_goal(), np.float32)
    observation = np.hstack((present, self._previous, goal)).astype(np.float32)
    if self.observes == "hand":
      observation = self.scripted_observation()[:_HAND].astype(np.float32)
    observation = np.clip(observation, -LIMIT, LIMIT)
    self._previous = present
    return observation

  def _restore_if_diverged(self) -> bool:
    """Restores the last good state and returns True if MuJoCo diverged; else saves this state."""
    # MuJoCo resets the data and counts a warning when values are NaN or huge.
    warned = [self.data.warning[warning] for warning in _DIVERGENCE]
    diverged = any(warning.number for warning in warned)
    if diverged:
      mujoco.mj_setState(self.model, self.data, self._state, _STATE)
      for warning in warned:
        warning.number = 0
    else:
      mujoco.mj_getState(self.model, self.data, self._state, _STATE)
    return diverged

  def _info(self, action: np.ndarray, diverged: bool = False) -> dict[str, Any]:
    observation = self.scripted_observation()
    reward, info = self.task.evaluate_state(observation, action)
    self.task._prev_obs = observation[:18]
    return {
      "success": bool(info["success"]),
      "task_reward": float(reward),
      "object_to_target": object_to_target(self.task_name, self.task, info),
      "diverged": diverged,
    }

  def _place_markers(self) -> None:
    # Success and features read sites that only the task's own code moves.
    for name, position in self.task._target_site_config:
      self.task._set_pos_site(name, position)
