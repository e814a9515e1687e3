"""A script as CleanRL's: one loop over a vector environment, with an agent of a few lines.

It is the example of how such scripts take the reward: one line wraps the environments.
"""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tests.reward.picture_env import GOAL, PictureEnv
from vipjax import EmbeddingRewardVectorWrapper, FrameInInfo
from vipjax.encoder import Preprocessing, ResNetConfig, init_value

NUM_ENVS, NUM_STEPS, ITERATIONS = 4, 6, 30


def policy_loss(logits, actions, advantages):
  """REINFORCE with a mean as baseline; the logits [16, 4] are a table over positions."""
  chosen = jax.nn.log_softmax(logits)[actions[:, 0], actions[:, 1]]
  return -jnp.mean(chosen * advantages)


def test_a_policy_learns_from_the_reward_alone():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  value = init_value(jax.random.key(0), config, Preprocessing(16, 16))
  envs = gymnasium.vector.SyncVectorEnv(
    [lambda: FrameInInfo(PictureEnv(horizon=NUM_STEPS))] * NUM_ENVS,
    autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
  )
  envs = EmbeddingRewardVectorWrapper(envs, value, GOAL)
  rng, logits = np.random.default_rng(0), jnp.zeros((16, 4))
  gradient = jax.jit(jax.grad(policy_loss))
  returns = []
  observation, _ = envs.reset(seed=0)
  for _ in range(ITERATIONS):
    taken, rewards = [], []
    for _ in range(NUM_STEPS):
      position = observation[:, 0].astype(int)
      chances = np.asarray(jax.nn.softmax(logits[position]), np.float64)
      action = np.array([rng.choice(4, p=each / each.sum()) for each in chances])
      taken.append(np.stack([position, action], axis=1))
      observation, reward, _, truncated, infos = envs.step(action)
      rewards.append(reward)
    assert truncated.all() and infos["_distance"].all()
    to_go = np.cumsum(np.array(rewards)[::-1], axis=0)[::-1]
    returns.append(to_go[0].mean())
    advantages = ((to_go - to_go.mean()) / (to_go.std() + 1e-8)).ravel()
    logits = logits - 2.0 * gradient(logits, np.concatenate(taken), jnp.asarray(advantages))
  # The task's own reward, 100 and more a step, is nowhere in it.
  assert np.mean(returns[-5:]) > np.mean(returns[:5]) and max(map(abs, returns)) < 50
  envs.close()
