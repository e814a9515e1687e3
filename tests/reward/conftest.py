"""A value function for tests that look at more than its numbers."""

import jax
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value


@pytest.fixture(scope="session")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))
