"""SAC updates, and the loop on environments that cost nothing, in stable-baselines3 and sbx-rl."""

import importlib
import time

import gymnasium
import numpy as np


class EmptyEnv(gymnasium.Env):
  """Returns random observations and rewards of 0 in episodes of 200 steps, almost without cost."""

  def __init__(self, observation_size, num_actions):
    self.observation_space = gymnasium.spaces.Box(-10, 10, (observation_size,), np.float32)
    self.action_space = gymnasium.spaces.Box(-1, 1, (num_actions,), np.float32)
    self._observation = np.random.default_rng(0).normal(size=observation_size).astype(np.float32)
    self._steps = 0

  def reset(self, *, seed=None, options=None):
    self._steps = 0
    return self._observation, {}

  def step(self, action):
    self._steps += 1
    return self._observation, 0.0, False, self._steps >= 200, {}


def update(package, updates, batch_size, hidden, observation_size, num_actions, replay_size):
  """Prepares `updates` gradient steps, each on a fresh batch of a replay of random transitions."""
  model = _model(
    package, 1, updates, batch_size, hidden, observation_size, num_actions, replay_size
  )
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  for _ in range(replay_size):
    model.replay_buffer.add(
      normal(1, observation_size), normal(1, observation_size),
      np.clip(normal(1, num_actions), -1, 1), normal(1), np.zeros(1), [{}],
    )  # fmt: skip

  def run():
    _train(model, updates, batch_size)

  return run, _facts(package, run)


def loop(
  package, num_envs, steps, updates, batch_size, hidden, observation_size, num_actions, replay_size
):
  """Prepares `steps` steps of all environments together, each with `updates` gradient steps."""
  model = _model(
    package, num_envs, updates, batch_size, hidden, observation_size, num_actions, replay_size
  )
  model.learn(2 * num_envs + 1)  # past the steps without updates

  def run():
    model.learn(steps * num_envs, reset_num_timesteps=False)
    _wait(model)

  return run, _facts(package, run)


def _model(
  package, num_envs, updates, batch_size, hidden, observation_size, num_actions, replay_size
):
  from stable_baselines3.common.vec_env import DummyVecEnv

  algorithm = importlib.import_module(package).SAC
  envs = DummyVecEnv([lambda: EmptyEnv(observation_size, num_actions)] * num_envs)
  return algorithm(
    "MlpPolicy", envs, buffer_size=replay_size, batch_size=batch_size, learning_starts=num_envs,
    train_freq=1, gradient_steps=updates, policy_kwargs={"net_arch": list(hidden)}, seed=0,
  )  # fmt: skip


def _train(model, updates, batch_size):
  if getattr(model, "_logger", None) is None:
    model._setup_learn(total_timesteps=1)
  # The packages differ only in the order of the arguments.
  model.train(gradient_steps=updates, batch_size=batch_size)
  _wait(model)


def _wait(model):
  """Waits for the device, because sbx-rl's updates run asynchronously in JAX."""
  state = getattr(getattr(model.policy, "qf_state", None), "params", None)
  if state is not None:
    import jax

    jax.block_until_ready((state, model.policy.actor_state.params))


def _facts(package, run):
  facts = {package: importlib.import_module(package).__version__}
  if package == "stable_baselines3":
    facts["threads"] = _best_threads(run)
  return facts


def _best_threads(run):
  """Makes PyTorch use one thread or all, the faster of the two; small matrices often need one."""
  import torch

  seconds = {}
  for threads in (torch.get_num_threads(), 1):
    torch.set_num_threads(threads)
    run()
    start = time.perf_counter()
    run()
    seconds[threads] = time.perf_counter() - start
  best = min(seconds, key=seconds.get)
  torch.set_num_threads(best)
  return best
