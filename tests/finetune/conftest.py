"""A small encoder for tests of the training step."""

import jax
import pytest

from vipjax.encoder import Preprocessing, ResNetConfig, init_value, resnet


@pytest.fixture(scope="module")
def one_block():
  """ResNet-18 cut down to one block, which compiles in a second."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
    yield


@pytest.fixture(scope="module")
def small_value(one_block):
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))
