"""PyTorch itself, where it is installed: what it reads of ours, and what we read of its."""

import collections

import chex
import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, seeded_state
from vipjax.encoder import export_official, init_value, read_vip_checkpoint
from vipjax.encoder.layers import BatchNorm
from vipjax.encoder.weights.torch_layout import from_state_dict

torch = pytest.importorskip("torch")


def test_pytorch_loads_what_we_export(tmp_path):
  value = init_value(jax.random.key(0), SMALL)
  export_official(value, tmp_path / "model.pt")
  state = torch.load(tmp_path / "model.pt", weights_only=True)["vip"]
  assert isinstance(state, collections.OrderedDict)
  assert state["module.convnet.bn1.num_batches_tracked"].item() == 0
  _, variables = from_state_dict({key: tensor.numpy() for key, tensor in state.items()})
  chex.assert_trees_all_equal(variables, value.variables)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_we_read_what_pytorch_saves(protocol, tmp_path):
  state = collections.OrderedDict(
    (key, torch.from_numpy(array)) for key, array in seeded_state(SMALL).items()
  )
  payload = {"vip": state, "global_step": 10**12}
  torch.save(payload, tmp_path / "model.pt", pickle_protocol=protocol)
  variables = read_vip_checkpoint(tmp_path / "model.pt")
  wanted = from_state_dict(seeded_state(SMALL))[1]
  chex.assert_trees_all_equal(variables, wanted)


def test_batchnorm_and_its_gradient_are_pytorchs():
  rng = np.random.default_rng(0)
  x, weights = rng.normal(size=(2, 6, 5, 4, 3)).astype(np.float32) * 3 + 1
  theirs = torch.nn.BatchNorm2d(3)
  their_x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
  their_y = theirs(their_x)
  (their_y * torch.from_numpy(weights.transpose(0, 3, 1, 2).copy())).sum().backward()

  variables = BatchNorm().init(jax.random.key(0), x, True)

  def loss(x):
    y, updated = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    return (y * weights).sum(), (y, updated["batch_stats"])

  gradient, (y, statistics) = jax.jit(jax.grad(loss, has_aux=True))(x)
  channels_last = lambda tensor: tensor.detach().numpy().transpose(0, 2, 3, 1)  # noqa: E731
  np.testing.assert_allclose(y, channels_last(their_y), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(gradient, channels_last(their_x.grad), rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(statistics["mean"], theirs.running_mean.numpy(), rtol=1e-5)
  np.testing.assert_allclose(statistics["var"], theirs.running_var.numpy(), rtol=1e-5)
