"""Grad-CAM against pytorch-grad-cam (golden maps, and PyTorch's autograd where it is installed)."""

import pathlib

import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, seeded_state
from vipjax import evaluation
from vipjax.encoder import Preprocessing, ResNetConfig, ValueFunction, init_value
from vipjax.encoder.weights.torch_layout import from_state_dict
from vipjax.evaluation.grad_cam import enlarge
from vipjax.runtime.errors import UserError

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"


@pytest.fixture(scope="module")
def golden():
  with np.load(TESTDATA / "grad_cam.npz") as data:
    return dict(data)


def seeded_value(arch):
  config = ResNetConfig(arch, width=8, embedding_dim=16)
  variables = from_state_dict(seeded_state(config))[1]
  return ValueFunction(config, Preprocessing(96, 96), variables)


@pytest.mark.parametrize(("arch", "stage"), [("resnet18", 4), ("resnet18", 3), ("resnet50", 4)])
def test_maps_are_those_of_pytorch_grad_cam(golden, arch, stage):
  value, wanted = seeded_value(arch), golden[f"{arch}/stage{stage}"]
  for goal, maps in zip(golden["frames"], wanted, strict=True):
    made = evaluation.grad_cam(value, golden["frames"], goal, stage)
    np.testing.assert_allclose(made, maps, rtol=1e-3, atol=1e-5)
  assert (wanted.max((2, 3)) > 0).sum() >= 4  # some are nothing after the ReLU


def test_maps_are_the_gradient_of_the_value_by_pytorch_itself(golden):
  torch = pytest.importorskip("torch")
  value, frames = seeded_value("resnet18"), golden["frames"]
  module, variables = value.module(), value.variables
  x = value.preprocessing(frames)
  features = np.asarray(module.apply(variables, x, method="features"))
  kernel, bias = (np.asarray(variables["params"]["fc"][key]) for key in ("kernel", "bias"))
  activations = torch.from_numpy(features.copy()).requires_grad_()
  embeddings = activations.mean((1, 2)) @ torch.from_numpy(kernel) + torch.from_numpy(bias)
  goal = torch.from_numpy(value.embed(frames[3:])[0])
  (-torch.linalg.norm(embeddings - goal, dim=-1)).sum().backward()
  weights = activations.grad.mean((1, 2), keepdim=True)
  wanted = torch.relu((weights * activations).sum(-1)).detach().numpy()
  made = evaluation.grad_cam(value, frames, frames[3])
  np.testing.assert_allclose(made[:3], wanted[:3], rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def value():
  return init_value(jax.random.key(0), SMALL, Preprocessing(64, 64))


@pytest.fixture(scope="module")
def frames():
  return np.random.default_rng(0).integers(0, 256, (11, 64, 64, 3), np.uint8)


def test_a_long_video_is_its_frames_one_by_one(value, frames):
  whole = evaluation.grad_cam(value, frames, frames[-1])
  assert whole.shape == (11, 4, 4) and whole.dtype == np.float32 and (whole >= 0).all()
  assert (whole[:-1].max((1, 2)) > 0).any()
  # At the goal the value has no slope.
  assert (whole[-1] == 0).all()
  single = np.concatenate([evaluation.grad_cam(value, frame[None], frames[-1]) for frame in frames])
  np.testing.assert_allclose(whole, single, atol=1e-6)


def test_several_goals_are_their_mean(value, frames):
  both = evaluation.grad_cam(value, frames[:3], frames[8:10])
  one = evaluation.grad_cam(value, frames[:3], frames[8])
  assert np.abs(both - one).max() > 1e-6
  same = evaluation.grad_cam(value, frames[:3], np.stack([frames[8]] * 2))
  np.testing.assert_allclose(same, one, rtol=1e-4, atol=1e-6)


def test_group_norm_has_maps_too(frames):
  config = ResNetConfig("resnet18", width=8, embedding_dim=4, norm="group", stem="small")
  value = init_value(jax.random.key(1), config, Preprocessing(32, 32))
  assert evaluation.grad_cam(value, frames[:2], frames[5], 2).shape == (2, 8, 8)


def test_fine_stage(value):
  # 64 pixels, a stem of stride 2: stages of 32, 16, 8 and 4 cells.
  assert [evaluation.fine_stage(value, cells) for cells in (4, 5, 8, 9, 99)] == [4, 3, 3, 2, 1]


def test_enlarging_is_bilinear():
  maps = np.random.default_rng(2).uniform(size=(3, 2, 4)).astype(np.float32)
  wanted = jax.image.resize(maps, (3, 9, 9), "linear")
  np.testing.assert_allclose(enlarge(maps, 9), wanted, atol=1e-6)


def test_network_view_is_what_the_network_gets():
  frames = np.random.default_rng(1).integers(0, 256, (9, 20, 30, 3), np.uint8)
  same = evaluation.network_view(Preprocessing(20, 20), frames)
  np.testing.assert_array_equal(same, frames[:, :, 5:25])
  assert evaluation.network_view(Preprocessing(16, 12), frames).shape == (9, 12, 12, 3)


def test_overlay_colours_what_counts():
  frames = np.full((2, 8, 8, 3), 100, np.uint8)
  maps = np.zeros((2, 2, 2), np.float32)
  maps[0, 0, 0] = 3.0
  made = evaluation.overlay(frames, maps)
  np.testing.assert_array_equal(made[1], frames[1])
  # Turbo: dark red at the peak, dark blue where there is nothing.
  assert made[0, 0, 0, 0] > made[0, 0, 0, 2] and made[0, 7, 7, 2] > made[0, 7, 7, 0]
  np.testing.assert_array_equal(evaluation.overlay(frames, maps, strength=0.0), frames)


@pytest.mark.parametrize("stage", [0, 5])
def test_refusals(value, frames, stage):
  with pytest.raises(UserError, match=f"from 1 to 4, got {stage}"):
    evaluation.grad_cam(value, frames, frames[-1], stage)
  with pytest.raises(UserError, match="a goal of 64x64"):
    evaluation.grad_cam(value, frames, frames[0, :16])
