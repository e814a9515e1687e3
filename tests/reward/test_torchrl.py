"""TorchRL's own wrapper of Gymnasium environments around ours."""

import jax
import numpy as np
import pytest

from tests.reward.picture_env import GOAL, PictureEnv, picture
from vipjax import EmbeddingRewardWrapper
from vipjax.encoder import Preprocessing, ResNetConfig, init_value

envs = pytest.importorskip("torchrl.envs")

# Other people's packages may warn.
pytestmark = pytest.mark.filterwarnings("default")


def test_a_rollout_has_the_embedding_reward():
  import torch

  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  value = init_value(jax.random.key(0), config, Preprocessing(16, 16))
  distances = value.distance(np.stack([picture(position) for position in range(4)]), GOAL)
  env = envs.GymWrapper(EmbeddingRewardWrapper(PictureEnv(horizon=3, continuous=True), value, GOAL))
  forward = torch.ones(env.action_spec.shape)
  steps = env.rollout(5, policy=lambda observation: forward)
  assert steps.shape == (3,)
  np.testing.assert_allclose(
    steps["next", "reward"][:, 0].numpy(), -np.diff(distances), rtol=1e-3, atol=1e-4
  )
  assert steps["next", "truncated"][:, 0].tolist() == [False, False, True]
  np.testing.assert_array_equal(steps["next", "observation"][:, 0].numpy(), [1, 2, 3])
