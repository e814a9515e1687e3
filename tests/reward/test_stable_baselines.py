"""The wrapper for stable-baselines3 and sbx, and both learning on its reward."""

import jax
import numpy as np
import pytest

from tests.reward.picture_env import GOAL, PictureEnv, picture, short_env
from vipjax import EmbeddingRewardWrapper, FrameInInfo
from vipjax.runtime.errors import UserError

vec_env = pytest.importorskip("stable_baselines3.common.vec_env")

# Other people's packages may warn.
pytestmark = pytest.mark.filterwarnings("default")


def make_envs(value, number=2, horizon=4):
  from vipjax.reward.stable_baselines import EmbeddingRewardVecEnvWrapper

  def make():
    return FrameInInfo(PictureEnv(horizon=horizon, continuous=True))

  return EmbeddingRewardVecEnvWrapper(vec_env.DummyVecEnv([make] * number), value, GOAL)


@pytest.mark.parametrize("kind", ["DummyVecEnv", "SubprocVecEnv"])
def test_the_last_step_is_rewarded_by_the_frame_before_the_reset(value, kind):
  from vipjax.reward.stable_baselines import EmbeddingRewardVecEnvWrapper

  distances = value.distance(np.stack([picture(position) for position in range(3)]), GOAL)
  falls = -np.diff(distances)
  options = {"start_method": "spawn"} if kind == "SubprocVecEnv" else {}
  envs = EmbeddingRewardVecEnvWrapper(
    getattr(vec_env, kind)([short_env] * 2, **options), value, GOAL
  )
  envs.reset()
  for fall, end in ((falls[0], False), (falls[1], True), (falls[0], False)):
    _, rewards, ended, infos = envs.step(np.array([1, 1]))
    np.testing.assert_allclose(rewards, [fall, fall], rtol=1e-3, atol=1e-4)
    assert list(ended) == [end, end]
    assert infos[0]["task_reward"] > 100 and "frame" not in infos[0]
  envs.close()


def test_environments_without_frames_are_refused(value):
  from vipjax.reward.stable_baselines import EmbeddingRewardVecEnvWrapper

  envs = EmbeddingRewardVecEnvWrapper(vec_env.DummyVecEnv([PictureEnv]), value, GOAL)
  with pytest.raises(UserError, match="put vipjax.FrameInInfo around each"):
    envs.reset()


@pytest.mark.parametrize("package", ["stable_baselines3", "sbx"])
def test_sac_learns_on_it(value, package):
  algorithms = pytest.importorskip(package)
  envs = vec_env.VecMonitor(make_envs(value))
  agent = algorithms.SAC("MlpPolicy", envs, learning_starts=8, batch_size=8, seed=0, buffer_size=64)
  with jax.numpy_rank_promotion("allow"):  # sbx promotes
    agent.learn(24)
  assert agent.num_timesteps == 24
  # What it has learnt from are falls of the distance, a fraction of the task's 100 and more.
  rewards = agent.replay_buffer.rewards[: agent.replay_buffer.pos]
  assert len(rewards) == 12 and 0 < np.abs(rewards).max() < 50


def test_a_single_environment_goes_into_stable_baselines_as_it_is(value):
  from stable_baselines3 import PPO

  env = EmbeddingRewardWrapper(PictureEnv(horizon=4), value, GOAL)
  agent = PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0).learn(8)
  assert np.abs(agent.rollout_buffer.rewards).max() < 50
