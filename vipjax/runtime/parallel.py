"""Data parallelism over devices, of one process or of several. This module alone knows pmap.

A step that couples its whole batch (VIP's log mean exp, its negatives, TCC) cannot average losses
of shards: each device embeds its share, all gather the embeddings, compute the same global loss,
and average gradients. With N devices the numbers are those of one.

With several processes (`runtime.hosts`) `devices` are those of all of them, as many of each, in the
order of `jax.devices()`, and every process calls the same functions. Arrays that go in and come out
lie on the process's own devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError

AXIS = "devices"


def local_slice(items: Any, num_devices: int) -> Any:
  """This device's share of arrays whose leading axis is the whole batch; call inside the step.

  Args:
    items: a pytree of arrays [N, ...] that all devices hold alike, N divisible by `num_devices`.
    num_devices: how many devices the step runs on; 1 returns the items.

  Returns:
    The pytree with arrays [N / num_devices, ...].
  """
  if num_devices == 1:
    return items
  index = jax.lax.axis_index(AXIS)

  def slice_of(array):
    size = array.shape[0] // num_devices
    return jax.lax.dynamic_slice_in_dim(array, index * size, size)

  return jax.tree.map(slice_of, items)


def gather(array: jax.Array, num_devices: int) -> jax.Array:
  """The whole batch [N, ...] from each device's share [N / num_devices, ...], in order."""
  return array if num_devices == 1 else jax.lax.all_gather(array, AXIS, tiled=True)


def mean(tree: Any, num_devices: int) -> Any:
  """Averages a pytree over the devices.

  Of gradients of a global loss that every device computes from gathered values this is the
  gradient: each device's is that of the sum of N equal losses with respect to its own replica.
  """
  return tree if num_devices == 1 else jax.lax.pmean(tree, AXIS)


def pmax(tree: Any, num_devices: int) -> Any:
  """The greatest over the devices of each element of a pytree."""
  return tree if num_devices == 1 else jax.lax.pmax(jax.lax.stop_gradient(tree), AXIS)


def compile_map(function: Callable, devices: Sequence[jax.Device]) -> Callable:
  """Compiles (common, items [N, ...]) -> pytree of [N, ...] for the devices, which share the items.

  Args:
    function: treats each item by itself.
    devices: one or more, of this process; where they do not divide N, some are computed twice.

  Returns:
    The compiled function of what comes from `replicate` and of NumPy arrays.
  """
  if len(devices) == 1:
    return jax.jit(function)
  mapped = jax.pmap(function, in_axes=(None, 0), devices=list(devices))

  def call(common, items):
    # Modulo: of fewer items than devices some are taken many times.
    padded = items[np.arange(-(-len(items) // len(devices)) * len(devices)) % len(items)]
    results = mapped(common, shard(padded, devices))
    return jax.tree.map(lambda x: np.asarray(x).reshape((-1, *x.shape[2:]))[: len(items)], results)

  return call


def compile_step(step: Callable, devices: Sequence[jax.Device], data_axes: Any = None) -> Callable:
  """Compiles a step (state, data) -> (state, metrics) for the devices; the state is donated.

  Args:
    step: uses `local_slice`, `gather` and `mean` with as many devices; its results must be the
      same on all of them.
    devices: one or more.
    data_axes: a prefix of the data's tree: 0 for what comes from `shard`, of which the step sees
      its device's share; None for what comes from `replicate`.

  Returns:
    The compiled step; the state must come from `replicate`, its results are replicated.
  """
  if len(devices) == 1:
    return jax.jit(step, donate_argnums=0)
  # Replicated arguments need no stacked copies, but pmap wants one argument to map over.
  _introduce(devices)
  mine = own_devices(devices)
  ranks = jax.device_put(
    np.arange(len(mine)), NamedSharding(Mesh(np.array(mine), (AXIS,)), PartitionSpec(AXIS))
  )
  mapped = jax.pmap(
    lambda state, data, rank: step(state, data),
    axis_name=AXIS,
    in_axes=(None, data_axes, 0),
    out_axes=None,
    devices=list(devices),
    donate_argnums=0,
  )
  return lambda state, data: mapped(state, data, ranks)


def _introduce(devices: Sequence[jax.Device]) -> None:
  """Has devices of several processes connect now, which on CPUs has to happen within 30 seconds.

  They would at the first step otherwise, for which one process may compile longer than another.
  """
  if jax.process_count() > 1:
    hosts.wait_for_all("the devices")
    meet = jax.pmap(lambda x: jax.lax.psum(x, AXIS), axis_name=AXIS, devices=list(devices))
    jax.block_until_ready(meet(np.ones(len(own_devices(devices)))))


def own_devices(devices: Sequence[jax.Device]) -> list[jax.Device]:
  """Those that this process feeds."""
  return [device for device in devices if device.process_index == jax.process_index()]


def own_share(count: int, devices: Sequence[jax.Device]) -> slice:
  """Which of `count` items, that the devices share, this process's own devices have."""
  each = count // len(devices)
  first = devices.index(own_devices(devices)[0])
  return slice(first * each, (first + len(own_devices(devices))) * each)


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Puts a pytree on all devices alike."""
  if len(devices) == 1:
    return jax.device_put(tree, devices[0])
  sharding = NamedSharding(Mesh(np.array(own_devices(devices)), (AXIS,)), PartitionSpec())
  return jax.device_put(tree, sharding)


def shard(items: np.ndarray, devices: Sequence[jax.Device]) -> jax.Array:
  """Puts items [N, ...] on the devices, each of which gets its share.

  Args:
    items: with several processes `own_share` of them alone.
    devices: as many as divide them.
  """
  if len(devices) == 1:
    return jax.device_put(items, devices[0])
  mine = own_devices(devices)
  sharding = NamedSharding(Mesh(np.array(mine), (AXIS,)), PartitionSpec(AXIS))
  return jax.device_put(items.reshape((len(mine), -1, *items.shape[1:])), sharding)


def dividing(devices: Sequence[jax.Device], count: int, what: str) -> list[jax.Device]:
  """As many of the devices as can share `count`, of each process the same number.

  Where accelerators stay idle by that, a warning says so; a CPU's devices are its cores, whose
  number nobody has chosen. Where no number of them divides, all.
  """
  owners = [device.process_index for device in devices]
  processes = len(set(owners))
  most = len(devices) // processes
  each = max((n for n in range(1, most + 1) if count % (n * processes) == 0), default=most)
  if each < most and devices[0].platform != "cpu":
    logging.warning(
      "%d of %d devices are used, because the %d %s divide among no more: change that "
      "number to use all.", each * processes, len(devices), count, what,
    )  # fmt: skip
  return [device for i, device in enumerate(devices) if owners[:i].count(owners[i]) < each]


def check_divisible(count: int, num_devices: int, what: str) -> None:
  """Raises UserError, naming the nearest counts that do, when devices cannot share `count`."""
  if count % num_devices:
    below = count // num_devices * num_devices
    nearest = [str(n) for n in (below, below + num_devices) if n]
    raise UserError(
      f"expected {what} to divide among {num_devices} devices, got {count}; the nearest that do "
      f"are {' and '.join(nearest)}."
    )


def compile_check(devices: Sequence[jax.Device]) -> Callable[[Any, int], None]:
  """Compiles a check (replicated pytree, step) that raises UserError where devices hold other bits.

  Each device sums the bits of its own replica, and only the sums are compared: of all processes.
  """
  if len(devices) == 1:
    return lambda tree, step: None
  mine = own_devices(devices)
  ranks = jax.device_put(
    np.arange(len(mine)), NamedSharding(Mesh(np.array(mine), (AXIS,)), PartitionSpec(AXIS))
  )
  sums = jax.pmap(
    lambda tree, rank: jax.lax.all_gather(_bit_sums(tree), AXIS),
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=None,
    devices=list(devices),
  )

  def check(tree, step):
    found = np.asarray(sums(tree, ranks))
    differing = np.flatnonzero((found != found[0]).any(axis=1)).tolist()
    if differing:
      raise UserError(
        f"expected the same numbers on all {len(devices)} devices, but at step {step} device "
        f"{differing[0]} ({devices[differing[0]]}) differs from the first; the last checkpoint is "
        "from before: run again to go on from it, on other devices if it happens again."
      )

  return check


def _bit_sums(tree: Any) -> jax.Array:
  """uint32 [leaves], a number for the bits of each array; another where one bit is another."""

  def of(array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
      array = jax.random.key_data(array)
    if jnp.issubdtype(array.dtype, jnp.bool_):
      array = array.astype(jnp.uint8)
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[array.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(array, unsigned).reshape(-1).astype(jnp.uint32)
    # Odd factors lose no bit of what they multiply, and tell places apart.
    return jnp.sum(bits * (2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1), dtype=jnp.uint32)

  return jnp.stack([of(array) for array in jax.tree.leaves(tree)])
