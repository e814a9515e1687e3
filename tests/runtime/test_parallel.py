"""Sharing a batch among devices: gradients, how many can, and replicas that differ."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.runtime import parallel
from vipjax.runtime.errors import UserError


def mean_loss(weights, items):
  each = jnp.square(items @ weights)
  return jnp.mean(each), {"largest": parallel.pmax(jnp.max(each))}


def coupled_loss(weights, items):
  values = parallel.gather(items @ weights)
  return jax.nn.logsumexp(values), {"largest": jnp.max(values)}


@pytest.mark.parametrize("loss", [mean_loss, coupled_loss])
def test_gradients_are_those_of_the_whole_batch(loss):
  items = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
  weights = np.array([0.3, -0.2, 0.5], np.float32)
  wanted = jax.grad(loss, has_aux=True)(weights, items)  # without devices the loss is itself
  for count in (1, 2, 3):
    devices = jax.devices()[:count]
    step = parallel.compile_step(lambda state, data: parallel.grad(loss)(state, data), devices)
    found = step(*(parallel.replicate(array, devices) for array in (weights, items)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted)


class Accelerator(NamedTuple):
  process_index: int
  index: int
  platform: str = "gpu"


@pytest.mark.parametrize(
  ("frames", "processes", "each", "used"),
  [(80, 1, 3, 2), (80, 1, 6, 5), (80, 1, 7, 5), (80, 1, 8, 8), (80, 2, 3, 2), (81, 3, 2, 1)],
)
def test_as_many_devices_as_divide_share_the_frames(frames, processes, each, used, caplog):
  found = [Accelerator(p, i) for p in range(processes) for i in range(each)]
  shared = parallel.dividing(found, frames, "frames")
  assert shared == [device for device in found if device.index < used]
  words = [record.getMessage() for record in caplog.records]
  if used == each:
    assert not words
  else:
    (said,) = words
    assert said.startswith(f"{used * processes} of {each * processes} devices are used, because")
  # A CPU's devices are its cores: nobody has asked for them all.
  caplog.clear()
  cores = [device._replace(platform="cpu") for device in found]
  assert len(parallel.dividing(cores, frames, "frames")) == len(shared) and not caplog.records


def test_frames_that_no_devices_of_all_processes_share_are_one_sentence():
  found = [Accelerator(p, i) for p in range(2) for i in range(3)]
  with pytest.raises(UserError, match="expected frames to divide among 2 .*, got 81; .* 80 and 82"):
    parallel.dividing(found, 81, "frames")


def test_a_replica_that_has_drifted_ends_the_run():
  devices = jax.devices()
  check = parallel.compile_check(devices)
  state = {"key": jax.random.key(0), "x": np.arange(6, dtype=np.float32), "n": jnp.int32(3)}
  state = parallel.replicate(state | {"flags": np.array([True, False])}, devices)
  check(state, 1)
  pieces = [np.array(piece.data) for piece in state["x"].addressable_shards]
  pieces[5][2] = np.nextafter(pieces[5][2], np.float32(9))  # the last bit of one number
  drifted = jax.make_array_from_single_device_arrays(
    (6,), state["x"].sharding, [jax.device_put(p, d) for p, d in zip(pieces, devices, strict=True)]
  )
  with pytest.raises(UserError, match="on all 8 devices at step 7, got others on device 5 "):
    check(state | {"x": drifted}, 7)
