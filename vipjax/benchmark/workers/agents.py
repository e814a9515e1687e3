"""Agents of sbx-rl, in environments on the other side of the pipe.

Their settings are the package's defaults but for what the other side says. SimBa
(arXiv:2410.09754) is its SAC with the policy of that name, and with the running normalization of
observations that belongs to the paper and that the package leaves to stable-baselines3.
"""

import time

import numpy as np
import sbx
from exchange import compile_clock, pack, unpack
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

AGENTS = {"sac": (sbx.SAC, "MlpPolicy"), "crossq": (sbx.CrossQ, "MlpPolicy")}
AGENTS["simba"] = (sbx.SAC, "SimbaPolicy")


class RemoteEnvs(VecEnv):
  """N environments, whose other side answers "reset" and actions, and resets them at their ends."""

  def __init__(self, ask, num_envs, observation_size, num_actions):
    self._ask, self._actions = ask, None
    observations = spaces.Box(-10, 10, (observation_size,), np.float32)
    super().__init__(num_envs, observations, spaces.Box(-1, 1, (num_actions,), np.float32))

  def reset(self):
    return unpack(self._ask("reset"))

  def step_async(self, actions):
    self._actions = actions

  def step_wait(self):
    answer = self._ask(pack(self._actions))
    observations, rewards, last = (
      unpack(answer[name]) for name in ("observation", "reward", "last_observation")
    )
    # Episodes end by their time limit alone, so that every end can be bootstrapped through.
    infos = [
      {"terminal_observation": last[i], "TimeLimit.truncated": True} if ended else {}
      for i, ended in enumerate(answer["ended"])
    ]
    return observations, rewards, np.array(answer["ended"]), infos

  def close(self):
    pass

  def get_attr(self, attr_name, indices=None):
    return [None] * self.num_envs  # stable-baselines3 asks for the render mode alone

  def set_attr(self, attr_name, value, indices=None):
    raise NotImplementedError

  def env_method(self, method_name, *arguments, indices=None, **keywords):
    raise NotImplementedError

  def env_is_wrapped(self, wrapper_class, indices=None):
    return [False] * self.num_envs


class Learner:
  """An agent and its environments."""

  def __init__(self, model):
    self._model = model

  def learn(self, actions):
    """Acts and learns until `actions` have been taken in all; returns what it took, in numbers."""
    model, compiled, start = self._model, compile_clock()(), time.perf_counter()
    updates = model._n_updates
    # train() waits for the losses, and so for the updates.
    model.learn(actions - model.num_timesteps, reset_num_timesteps=False)
    seconds, compilation = time.perf_counter() - start, compile_clock()() - compiled
    return {
      "actions": model.num_timesteps, "updates": model._n_updates - updates,
      "seconds": seconds - compilation, "compile_seconds": compilation,
    }  # fmt: skip

  def act(self, observation):
    """Returns the packed actions of the deterministic policy."""
    observation = unpack(observation)
    normalizer = self._model.get_vec_normalize_env()
    if normalizer is not None:
      observation = normalizer.normalize_obs(observation)
    return pack(self._model.predict(observation, deterministic=True)[0])


def make(ask, agent, num_envs, observation_size, num_actions, updates, capacity, seed):
  """Prepares an agent.

  Args:
    ask: asks the other side.
    agent: a name of AGENTS.
    num_envs, observation_size, num_actions: of the environments.
    updates: after each step of all environments.
    capacity: transitions that its replay holds.
    seed: of the agent.
  """
  compile_clock()
  algorithm, policy = AGENTS[agent]
  envs = RemoteEnvs(ask, num_envs, observation_size, num_actions)
  if agent == "simba":
    envs = VecNormalize(envs, norm_reward=False)
  model = algorithm(policy, envs, gradient_steps=updates, buffer_size=capacity, seed=seed)
  return Learner(model), {"sbx": sbx.__version__}
