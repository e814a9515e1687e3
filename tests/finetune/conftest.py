"""A small encoder for tests of the training step."""

import jax
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value


@pytest.fixture(scope="module")
def small_value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))
