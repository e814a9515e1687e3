"""Meta-World's scripted policies under joint-torque control."""

from __future__ import annotations

import warnings

import mujoco
import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from vipjax.envs.robot_env import RobotEnv
from vipjax.scene import hand_error

# Gains of the operational-space controller (1/s^2 and 1/s), alike for position and rotation, and of
# its null space, which pulls the arm towards its home pose.
_STIFFNESS, _DAMPING = 900.0, 60.0
_NULL_STIFFNESS, _NULL_DAMPING = 20.0, 5.0
# Meta-World moves its mocap body by 1 cm at action 1.
_METRES_PER_ACTION = 0.01
# Metres. The hand hangs below Meta-World's weld by up to this, and scripted policies rely on it:
# some wait for a height below the weld's limit.
_SAG = 0.01
# Metres below the start at which a hand that retreats has risen.
_RISEN = 0.03
# A joint that is in the zone before its limit (radians) and would reach it within the time
# (seconds) is held back, because the rest of the arm twists against a joint at its limit.
_LIMIT_MARGIN, _LIMIT_ZONE, _LIMIT_SECONDS = 0.02, 0.06, 0.03


class Expert:
  """Turns a scripted policy's displacements into actions of a RobotEnv.

  Torque control uses operational-space control (Khatib 1987) of a target that integrates the
  scripted displacement, as Meta-World's mocap body does, and compensates joint damping.
  """

  def __init__(self, env: RobotEnv):
    """Takes the environment to act in; call `reset` after each of its resets."""
    self._env = env
    self._policy = ENV_POLICY_MAP[f"{env.task_name}-v3"]()
    joints = [env.model.joint(name) for name in env.robot.arm_joints]
    self._qpos = np.array([joint.qposadr[0] for joint in joints])
    self._dofs = np.array([joint.dofadr[0] for joint in joints])
    self._low, self._high = np.array([joint.range for joint in joints]).T
    self._gears = np.asarray(env.robot.gears)

  def reset(self) -> None:
    """Starts an episode in the environment's present state."""
    self._target = self._hand()
    self._start = self._hand()

  def action(self) -> np.ndarray:
    """Returns the float32 action for the environment's present state."""
    with warnings.catch_warnings():
      # The scripted policies warn that their displacements are clipped, which is intended.
      warnings.simplefilter("ignore")
      scripted = self._policy.get_action(self._env.scripted_observation())
    return self._made(np.clip(np.asarray(scripted, np.float64), -1.0, 1.0))

  def retreat(self) -> np.ndarray:
    """Returns the float32 action that opens the gripper and takes the hand back to its start.

    It rises to the start's height first, so that it leaves what it may have hooked.
    """
    way = self._start - self._hand()
    if way[2] > _RISEN:
      way[:2] = 0.0
    return self._made(np.append(np.clip(way / _METRES_PER_ACTION, -1.0, 1.0), -1.0))

  def _hand(self) -> np.ndarray:
    """The hand's position, float64 [3], metres."""
    return self._env.data.body(self._env.robot.hand_body).xpos.copy()

  def _made(self, scripted: np.ndarray) -> np.ndarray:
    """The action of a scripted displacement and grip, float64 [4] in -1..1."""
    env, task = self._env, self._env.task
    if env.control == "end_effector":
      return scripted.astype(np.float32)
    target = self._target + _METRES_PER_ACTION * scripted[:3]
    self._target = np.clip(target, task.mocap_low - _SAG, task.mocap_high + _SAG)
    torques = self._torques()
    return np.append(np.clip(torques / self._gears, -1.0, 1.0), scripted[3]).astype(np.float32)

  def _torques(self) -> np.ndarray:
    model, data = self._env.model, self._env.data
    hand = model.body(self._env.robot.hand_body).id
    mujoco.mj_forward(model, data)
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], hand)
    jacobian = jacobian[:, self._dofs]
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, inertia, data.qM)
    inertia = inertia[np.ix_(self._dofs, self._dofs)]
    damping = model.dof_damping[self._dofs]
    # A torque is held for a whole control step, in which joint damping absorbs most of what it
    # gives to a light wrist. So this is the inertia that an implicit integrator of one step uses.
    inertia = inertia + np.diag(damping) * model.opt.timestep * self._env.task.frame_skip
    velocity = data.qvel[self._dofs]
    error = hand_error(data, hand, self._target)
    wanted = _STIFFNESS * error - _DAMPING * (jacobian @ velocity)
    away = np.asarray(self._env.task.home) - data.qpos[self._qpos]
    posture = _NULL_STIFFNESS * away - _NULL_DAMPING * velocity

    free = np.ones(7, bool)
    while True:
      torques, acceleration = _operational_space(inertia, jacobian, wanted, posture, free)
      blocked = free & self._arrives(data.qpos[self._qpos], velocity, acceleration)
      # Six joints are enough for six coordinates of the hand; five are not.
      if not blocked.any() or free.sum() - blocked.sum() < 5:
        break
      free &= ~blocked
    if not free.all():
      angles = data.qpos[self._qpos]
      inside = np.clip(angles, self._low + _LIMIT_MARGIN, self._high - _LIMIT_MARGIN)
      held = np.diag(inertia) * (_STIFFNESS * (inside - angles) - _DAMPING * velocity)
      torques = np.where(free, torques, held)
    return torques + damping * velocity

  def _arrives(self, angles, velocity, acceleration) -> np.ndarray:
    """Returns bool [7]: the joints that are near a limit and about to reach it."""
    t = _LIMIT_SECONDS
    soon = angles + t * velocity + 0.5 * t**2 * acceleration
    low, high = self._low, self._high
    at_low = (angles < low + _LIMIT_ZONE) & (soon < low + _LIMIT_MARGIN)
    at_high = (angles > high - _LIMIT_ZONE) & (soon > high - _LIMIT_MARGIN)
    return at_low | at_high


def _operational_space(inertia, jacobian, wanted, posture, free):
  """Returns torques [7] for a hand acceleration [6], and the joints' accelerations [7].

  The null space follows the joint accelerations `posture` [7]. Joints that are not free get 0.
  """
  inertia, jacobian = inertia[np.ix_(free, free)], jacobian[:, free]
  inverse = np.linalg.inv(inertia)
  task_inertia = np.linalg.pinv(jacobian @ inverse @ jacobian.T, rcond=1e-4)
  null = np.eye(free.sum()) - jacobian.T @ task_inertia @ jacobian @ inverse
  torques, acceleration = np.zeros(7), np.zeros(7)
  torques[free] = jacobian.T @ (task_inertia @ wanted) + null @ (inertia @ posture[free])
  acceleration[free] = inverse @ torques[free]
  return torques, acceleration


def steps_to_success(env: RobotEnv, seed: int) -> int | None:
  """Returns the steps after which the expert succeeds in the episode of a seed; None if never."""
  env.reset(seed=seed)
  expert = Expert(env)
  expert.reset()
  for step in range(1, env.horizon + 1):
    _, _, _, truncated, info = env.step(expert.action())
    if info["success"]:
      return step
    if truncated:
      break
  return None
