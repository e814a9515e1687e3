"""A value function for tests that look at more than its numbers."""

import jax
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value


@pytest.fixture(scope="module")
def value(one_block):
  return _made()


@pytest.fixture(scope="module")
def whole_value():
  """The same with all of ResNet-18, for programs that know no other; not beside `value`."""
  return _made()


def _made():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))
