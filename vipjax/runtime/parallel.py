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
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vipjax.runtime.errors import UserError

AXIS = "devices"


def shard(items: Any, num_devices: int) -> Any:
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


def compile_step(step: Callable, devices: Sequence[jax.Device], data_axes: Any = None) -> Callable:
  """Compiles a step (state, data) -> (state, metrics) for the devices; the state is donated.

  Args:
    step: uses `shard`, `gather` and `mean` with as many devices; its results must be the same on
      all of them.
    devices: one or more.
    data_axes: a prefix of the data's tree: 0 for what comes from `split`, of which the step sees
      its device's share; None for what comes from `replicate`.

  Returns:
    The compiled step; the state must come from `replicate`, its results are replicated.
  """
  if len(devices) == 1:
    return jax.jit(step, donate_argnums=0)
  # Replicated arguments need no stacked copies, but pmap wants one argument to map over.
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


def split(items: np.ndarray, devices: Sequence[jax.Device]) -> jax.Array:
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


def check_divisible(count: int, num_devices: int, what: str) -> None:
  """Raises UserError, naming the nearest counts that do, when devices cannot share `count`."""
  if count % num_devices:
    below = count // num_devices * num_devices
    nearest = [str(n) for n in (below, below + num_devices) if n]
    raise UserError(
      f"expected {what} to divide among {num_devices} devices, got {count}; the nearest that do "
      f"are {' and '.join(nearest)}."
    )


def replicas_agree(tree: Any) -> bool:
  """Whether every device holds the same bits of each array of a replicated pytree."""
  for array in jax.tree.leaves(tree):
    if not isinstance(array, jax.Array):
      continue
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
      array = jax.random.key_data(array)
    first, *others = [np.asarray(piece.data) for piece in array.addressable_shards]
    if any(first.tobytes() != other.tobytes() for other in others):
      return False
  return True
