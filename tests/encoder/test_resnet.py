"""The networks, against PyTorch's numbers and against arithmetic."""

import functools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, assert_one_sentence, seeded_state
from vipjax.encoder import Preprocessing, ResNet, ResNetConfig, ValueFunction
from vipjax.encoder.layers import BatchNorm, Conv, max_pool
from vipjax.encoder.resnet import init_variables
from vipjax.encoder.weights.torch_layout import entries, from_state_dict
from vipjax.runtime.errors import UserError

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"


@functools.cache
def goldens():
  with np.load(TESTDATA / "resnet.npz") as file:
    return dict(file)


def relative_error(got, wanted):
  return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_embeddings_and_batchnorm_are_pytorchs(arch):
  config, variables = from_state_dict(seeded_state(ResNetConfig(arch)))
  assert config == ResNetConfig(arch)
  images = goldens()[f"{arch}/image_224"]
  value = ValueFunction(config, Preprocessing(224, 224), variables)
  with jax.default_matmul_precision("highest"):
    assert relative_error(value.embed(images), goldens()[f"{arch}/embedding_224"]) < 1e-5

    train = jax.jit(functools.partial(value.module().apply, train=True, mutable=["batch_stats"]))
    embeddings, updated = train(variables, value.preprocessing(images))
  wanted = goldens()[f"{arch}/embedding_224_batchnorm_train"]
  assert relative_error(np.asarray(embeddings), wanted) < 1e-4
  paths = {key: path for key, path, _ in entries(config)}
  running = [key for key in goldens() if key.startswith(f"{arch}/train_running/")]
  assert len(running) == 4
  for key in running:
    got = updated
    for name in paths["module." + key.rpartition("/")[2]]:
      got = got[name]
    assert relative_error(np.asarray(got), goldens()[key]) < 1e-4, key


def test_whole_preprocessing_follows_the_official_examples():
  config, variables = from_state_dict(seeded_state(ResNetConfig("resnet50")))
  embedding = ValueFunction(config, Preprocessing(), variables).embed(
    goldens()["resnet50/image_480"]
  )
  assert relative_error(embedding, goldens()["resnet50/embedding_480_pil"]) < 5e-3


def test_batchnorm_by_hand():
  x = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(4, 1, 1, 1)  # mean 3, variance 3.5, unbiased 14/3
  module = BatchNorm()
  variables = module.init(jax.random.key(0), x, True)
  y, updated = module.apply(variables, x, True, mutable=["batch_stats"])
  np.testing.assert_allclose(y.ravel(), (x.ravel() - 3) / np.sqrt(3.5 + 1e-5), rtol=1e-6)
  np.testing.assert_allclose(updated["batch_stats"]["mean"], [0.3], rtol=1e-6)
  np.testing.assert_allclose(updated["batch_stats"]["var"], [0.9 + 0.1 * 14 / 3], rtol=1e-6)
  np.testing.assert_allclose(module.apply(variables, x, False), x / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_batchnorm_keeps_its_digits_far_from_zero():
  x = 1000 + jax.random.normal(jax.random.key(0), (64, 4, 4, 2))
  variables = {
    "params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
    "batch_stats": {"mean": jnp.full(2, 999.0), "var": jnp.ones(2)},
  }
  y, _ = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
  exact = np.asarray(x, np.float64)
  exact = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
  np.testing.assert_allclose(y, exact, atol=2e-4)


def test_synced_batchnorm_is_that_of_the_whole_batch():
  x = jax.random.normal(jax.random.key(0), (6, 2, 2, 3)) * 2 + 1
  module = BatchNorm()
  variables = module.init(jax.random.key(0), x, True)
  whole, wanted = module.apply(variables, x, True, mutable=["batch_stats"])
  synced = functools.partial(BatchNorm("devices").apply, train=True, mutable=["batch_stats"])
  parts, updated = jax.vmap(synced, (None, 0), axis_name="devices")(
    variables, x.reshape(3, 2, 2, 2, 3)
  )
  np.testing.assert_allclose(parts.reshape(x.shape), whole, rtol=1e-5, atol=1e-6)
  for name in ("mean", "var"):
    for device in range(3):
      np.testing.assert_allclose(
        updated["batch_stats"][name][device], wanted["batch_stats"][name], rtol=1e-5
      )


def test_frozen_batchnorm_still_lets_gradients_through():
  module = ResNet(SMALL)
  variables = init_variables(jax.random.key(0), SMALL)
  x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)

  def loss(params):
    return jnp.sum(module.apply({**variables, "params": params}, x, train=False) ** 2)

  gradients = jax.jit(jax.grad(loss))(variables["params"])
  assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["layer4_1"]))


def test_max_pool_is_reduce_window_with_its_gradient():
  x = np.maximum(np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32), 0)

  def reference(x):
    return jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )

  np.testing.assert_array_equal(max_pool(x), reference(x))
  # Where zeros tie the two split differently, but ReLU's gradient there is 0.
  weights = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype(np.float32)
  gradients = [
    jax.jit(jax.grad(lambda x, f=f: jnp.sum(f(x) * weights)))(x) for f in (max_pool, reference)
  ]
  np.testing.assert_allclose(*[np.where(x > 0, gradient, 0) for gradient in gradients], rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_1x1_convolution_is_one(stride):
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
  module = Conv(4, 1, stride)
  variables = module.init(jax.random.key(1), x)
  wanted = jax.lax.conv_general_dilated(
    x,
    variables["params"]["kernel"],
    (stride, stride),
    "VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  np.testing.assert_allclose(module.apply(variables, x), wanted, rtol=1e-5, atol=1e-6)


def test_features_and_head_make_the_embedding():
  module = ResNet(SMALL)
  x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
  variables = init_variables(jax.random.key(0), SMALL)
  features = jax.jit(functools.partial(module.apply, method="features"))(variables, x)
  assert features.shape == (2, 4, 4, 64)
  head = module.apply(variables, features, method="head")
  embedding = jax.jit(module.apply)(variables, x)
  assert embedding.shape == (2, 16)
  np.testing.assert_allclose(head, embedding, rtol=1e-4, atol=1e-6)


def test_bfloat16_computes_near_float32_and_gives_float32():
  x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
  variables = init_variables(jax.random.key(0), SMALL)
  full, half = (
    jax.jit(ResNet(SMALL, dtype=dtype).apply)(variables, x) for dtype in (jnp.float32, jnp.bfloat16)
  )
  assert half.dtype == jnp.float32
  assert 0 < relative_error(np.asarray(half), np.asarray(full)) < 0.03


def test_fresh_weights_are_distributed_as_pytorchs():
  variables = init_variables(jax.random.key(0), ResNetConfig("resnet18", 16, 256))
  params = variables["params"]
  module = ResNet(ResNetConfig("resnet18", 16, 256))
  wanted = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  chex.assert_trees_all_equal_shapes_and_dtypes(variables, wanted)
  for name, fan_out in (("layer4_1", 9 * 128), ("layer2_0", 9 * 32)):
    kernel = np.asarray(params[name]["conv2"]["kernel"])
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.03)
  fc = np.asarray(params["fc"]["kernel"])
  assert 0.99 / np.sqrt(128) < np.abs(fc).max() <= 1 / np.sqrt(128)
  assert fc.std() == pytest.approx(1 / np.sqrt(3 * 128), rel=0.03)
  first, second = (np.asarray(params["layer4_1"][name]["kernel"]) for name in ("conv1", "conv2"))
  assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
  np.testing.assert_array_equal(params["norm1"]["scale"], 1)
  np.testing.assert_array_equal(variables["batch_stats"]["norm1"]["mean"], 0)


def test_groupnorm_treats_each_image_alone():
  config = ResNetConfig("resnet18", 8, 16, norm="group", stem="small")
  module = ResNet(config)
  x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
  variables = init_variables(jax.random.key(0), config)
  assert set(variables) == {"params"}
  apply = jax.jit(functools.partial(module.apply, train=True))
  together = apply(variables, x)
  changed = apply(variables, x * np.float32([[[[2]]], [[[1]]], [[[0]]]]))
  np.testing.assert_allclose(changed[1], together[1], rtol=1e-4, atol=1e-5)
  assert np.abs(changed[2] - together[2]).max() > 1e-3


@pytest.mark.parametrize(
  "wrong",
  [
    {"arch": "vit"},
    {"norm": "layer"},
    {"stem": "tiny"},
    {"width": 12},
    {"width": 64.0},
    {"embedding_dim": 0},
  ],
)
def test_wrong_configs_are_refused(wrong):
  with pytest.raises(UserError, match=str(list(wrong.values())[0])) as error:
    ResNetConfig(**wrong)
  assert_one_sentence(error)


def test_max_pool_gives_the_gradient_to_the_first_of_equals():
  # As PyTorch: of four windows over 4 x 4 ones, the first one (row by row) inside each.
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x))))(jnp.ones((1, 4, 4, 1)))
  wanted = np.zeros((4, 4))
  wanted[:2, :2] = 1
  np.testing.assert_array_equal(gradient[0, :, :, 0], wanted)
