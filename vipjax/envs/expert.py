"""Meta-World's scripted policies under joint-torque control."""

from __future__ import annotations

import warnings

import mujoco
import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from vipjax.envs.robot_env import RobotEnv

# Gains of the operational-space controller (1/s^2 and 1/s), the same for position and rotation,
# and of its null space, which pulls the arm towards its home pose.
_STIFFNESS, _DAMPING = 900.0, 60.0
_NULL_STIFFNESS, _NULL_DAMPING = 20.0, 5.0
# Meta-World moves its mocap body by 1 cm at action 1.
_METRES_PER_ACTION = 0.01


class Expert:
  """Turns a scripted policy's displacements into actions of a RobotEnv.

  Under torque control: operational-space control (Khatib 1987) of a target that integrates the
  scripted displacement, as Meta-World's mocap body does; joint damping is compensated.
  """

  def __init__(self, env: RobotEnv):
    """Args: env: the environment to act in; call `reset` after each of its resets."""
    self._env = env
    self._policy = ENV_POLICY_MAP[f"{env.task_name}-v3"]()
    joints = [env.model.joint(name) for name in env.robot.arm_joints]
    self._qpos = np.array([joint.qposadr[0] for joint in joints])
    self._dofs = np.array([joint.dofadr[0] for joint in joints])
    self._gears = np.asarray(env.robot.gears)
    self._quat = np.array([1.0, 0.0, 1.0, 0.0]) / np.sqrt(2.0)

  def reset(self) -> None:
    """Starts an episode at the environment's present state."""
    self._target = self._env.data.body(self._env.robot.hand_body).xpos.copy()

  def action(self) -> np.ndarray:
    """float32 action for the environment's present state."""
    env = self._env
    with warnings.catch_warnings():
      # The scripted policies warn that their displacements get clipped; they are meant to be.
      warnings.simplefilter("ignore")
      scripted = np.asarray(self._policy.get_action(env.scripted_observation()), np.float64)
    scripted = np.clip(scripted, -1.0, 1.0)
    if env.control == "end_effector":
      return scripted.astype(np.float32)
    self._target = np.clip(
      self._target + _METRES_PER_ACTION * scripted[:3], env.task.mocap_low, env.task.mocap_high
    )
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
    velocity = data.qvel[self._dofs]

    error = np.zeros(6)
    error[:3] = self._target - data.xpos[hand]
    rotation, conjugate = np.zeros(4), np.zeros(4)
    mujoco.mju_negQuat(conjugate, data.xquat[hand])
    mujoco.mju_mulQuat(rotation, self._quat, conjugate)
    mujoco.mju_quat2Vel(error[3:], rotation, 1.0)

    inverse = np.linalg.inv(inertia)
    task_inertia = np.linalg.pinv(jacobian @ inverse @ jacobian.T, rcond=1e-4)
    wrench = task_inertia @ (_STIFFNESS * error - _DAMPING * (jacobian @ velocity))
    home = np.asarray(self._env.robot.home)
    posture = inertia @ (
      _NULL_STIFFNESS * (home - data.qpos[self._qpos]) - _NULL_DAMPING * velocity
    )
    null = np.eye(7) - jacobian.T @ task_inertia @ jacobian @ inverse
    return jacobian.T @ wrench + null @ posture + model.dof_damping[self._dofs] * velocity
