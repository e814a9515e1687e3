"""Meta-World's own scene and renderer in Gymnasium's AsyncVectorEnv, and envpool."""

import importlib.metadata

import numpy as np


def metaworld(num_envs, steps, size):
  """Prepares `steps` steps of all environments with random actions, with pictures if size > 0."""
  import gymnasium
  import metaworld  # noqa: F401 (registers its environments)

  def make():
    return gymnasium.make(
      "Meta-World/MT1", env_name="window-open-v3", render_mode="rgb_array", camera_name="corner",
      width=size or 64, height=size or 64, disable_env_checker=True,
    )  # fmt: skip

  envs = gymnasium.vector.AsyncVectorEnv([make] * num_envs)
  rng = np.random.default_rng(0)
  envs.reset(seed=0)

  def run():
    for _ in range(steps):
      envs.step(rng.uniform(-1, 1, envs.action_space.shape).astype(np.float32))
      if size:
        frames = np.stack(envs.call("render"))
        assert frames.shape == (num_envs, size, size, 3)

  return run, _versions("metaworld", "gymnasium", "mujoco")


def envpool(num_envs, steps):
  """Prepares `steps` steps of all environments, random actions; envpool cannot draw headless."""
  import envpool as package

  envs = package.make_gymnasium("MetaWorld/WindowOpen-v3", num_envs=num_envs)
  rng = np.random.default_rng(0)
  envs.reset()

  def run():
    for _ in range(steps):
      envs.step(rng.uniform(-1, 1, (num_envs, *envs.action_space.shape)).astype(np.float32))

  return run, _versions("envpool")


def _versions(*packages):
  return {package: importlib.metadata.version(package) for package in packages}
