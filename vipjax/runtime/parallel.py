"""Data parallelism over devices, of one process or of several. This module alone knows pmap.

Steps are written for the whole batch; how many devices share it is known here alone. `grad` gives
each device its share and averages what they find. A loss that couples its batch (VIP's log mean
exp, its negatives, TCC) is not the mean of the losses of shares: each device embeds its share, then
all `gather` the embeddings and compute the same loss. With N devices the numbers are those of one.

With several processes (`runtime.hosts`) `devices` are those of all, the same number each, in the
order of `jax.devices()`, and every process calls the same functions. Arguments and results lie on
the process's own devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError

_AXIS = "devices"


def grad(loss: Callable) -> Callable:
  """`jax.grad(loss, has_aux=True)` over a batch that the devices share.

  Args:
    loss: (parameters, items [n, ...], *others) -> (loss, pytree of further numbers); each number is
      a mean over its items, or computed from the result of `gather`.

  Returns:
    (parameters, items [N, ...], *others) -> (gradient, the further numbers), of all N items. It
    raises UserError where the devices cannot share N.
  """

  def compute(params, items, *others):
    found = jax.grad(loss, has_aux=True)(params, local_slice(items), *others)
    # JAX differentiates the sum of the devices' losses, with respect to each one's own parameters.
    return found if _num_devices() == 1 else jax.lax.pmean(found, _AXIS)

  return compute


def gather(tree: Any) -> Any:
  """A pytree of the whole batch's arrays [N, ...], in order, from each device's share [n, ...]."""
  return tree if _num_devices() == 1 else jax.lax.all_gather(tree, _AXIS, tiled=True)


def pmax(tree: Any) -> Any:
  """The greatest over the devices of each element of a pytree; without a gradient."""
  return tree if _num_devices() == 1 else jax.lax.pmax(jax.lax.stop_gradient(tree), _AXIS)


def axis_name() -> str | None:
  """The axis over which layers like BatchNorm combine the devices' shares; None on one device."""
  return _AXIS if _num_devices() > 1 else None


def local_slice(items: Any) -> Any:
  """This device's share [N / devices, ...] of a pytree of arrays [N, ...]."""
  devices = _num_devices()
  if devices == 1:
    return items

  def slice_of(array):
    _check_divisible(len(array), devices, "a batch")
    size = len(array) // devices
    return jax.lax.dynamic_slice_in_dim(array, jax.lax.axis_index(_AXIS) * size, size)

  return jax.tree.map(slice_of, items)


def _num_devices() -> int:
  """How many devices share the step that is being traced; 1 outside of one."""
  try:
    return jax.lax.axis_size(_AXIS)
  except NameError:  # JAX knows no axis of this name
    return 1


def compile_map(function: Callable, devices: Sequence[jax.Device]) -> Callable:
  """Compiles (common, items [N, ...]) -> pytree of [N, ...] for devices that share the items.

  Args:
    function: treats each item by itself.
    devices: one or more, of this process; where they cannot share N, some items are computed twice.

  Returns:
    The compiled function; it takes a result of `replicate` and NumPy arrays.
  """
  if len(devices) == 1:
    return jax.jit(function)
  mapped = jax.pmap(function, in_axes=(None, 0), devices=list(devices))

  def call(common, items):
    # Modulo, because there may be fewer items than devices.
    padded = items[np.arange(-(-len(items) // len(devices)) * len(devices)) % len(items)]
    results = mapped(common, shard(padded, devices))
    return jax.tree.map(lambda x: np.asarray(x).reshape((-1, *x.shape[2:]))[: len(items)], results)

  return call


def compile_step(step: Callable, devices: Sequence[jax.Device], data_axes: Any = None) -> Callable:
  """Compiles a step (state, data) -> (state, metrics) for the devices; the state is donated.

  Args:
    step: uses `grad` for what depends on the batch; its results must be the same on all devices.
    devices: one or more.
    data_axes: a prefix of the data's tree: 0 for results of `shard` (the step sees its device's
      share), None for those of `replicate`.

  Returns:
    The compiled step; the state must come from `replicate`, the results are replicated.
  """
  if len(devices) == 1:
    return jax.jit(step, donate_argnums=0)
  if jax.process_count() > 1:
    # CPUs of several processes must connect within 30 seconds of one another: they do it now,
    # because at the first step one process may compile longer than another.
    hosts.wait_for_all("the devices")
    compile_check(devices)(replicate(np.ones(1), devices), 0)
  return _replicated_map(step, devices, (None, data_axes), donate_argnums=1)


def _replicated_map(function: Callable, devices, in_axes: tuple, **options) -> Callable:
  """pmap of a function whose results are the same on all devices."""
  # Replicated arguments need no stacked copies, but pmap wants one argument to map over.
  ranks = shard(np.arange(len(own_devices(devices))), devices)
  mapped = jax.pmap(
    lambda rank, *arguments: function(*arguments), axis_name=_AXIS, in_axes=(0, *in_axes),
    out_axes=None, devices=list(devices), **options,
  )  # fmt: skip
  return functools.partial(mapped, ranks)


def own_devices(devices: Sequence[jax.Device]) -> list[jax.Device]:
  """The devices of this process."""
  return [device for device in devices if device.process_index == jax.process_index()]


def own_share(count: int, devices: Sequence[jax.Device]) -> slice:
  """The part of `count` items, shared by all devices, that this process's devices have."""
  each = count // len(devices)
  first = devices.index(own_devices(devices)[0])
  return slice(first * each, (first + len(own_devices(devices))) * each)


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Puts a pytree on all devices alike."""
  return jax.device_put(tree, _sharding(devices))


def shard(items: np.ndarray, devices: Sequence[jax.Device]) -> jax.Array:
  """Puts items [N, ...] on the devices, each of which gets its share.

  Args:
    items: with several processes `own_share` of them alone.
    devices: as many as divide them.
  """
  if len(devices) > 1:
    items = items.reshape((len(own_devices(devices)), -1, *items.shape[1:]))
  return jax.device_put(items, _sharding(devices, _AXIS))


def _sharding(devices: Sequence[jax.Device], *axes: str) -> jax.Device | NamedSharding:
  if len(devices) == 1:
    return devices[0]
  return NamedSharding(Mesh(np.array(own_devices(devices)), (_AXIS,)), PartitionSpec(*axes))


def dividing(devices: Sequence[jax.Device], count: int, what: str) -> list[jax.Device]:
  """As many of the devices as can share `count` items, the same number of each process.

  A warning says where accelerators stay idle for it; a CPU's devices are its cores, and nobody has
  chosen their number.

  Raises:
    UserError: the processes cannot share them, not even with one device each.
  """
  owners = [device.process_index for device in devices]
  processes = len(set(owners))
  _check_divisible(count, processes, what)
  most = len(devices) // processes
  each = max(n for n in range(1, most + 1) if count % (n * processes) == 0)
  if each < most and devices[0].platform != "cpu":
    logging.warning(
      "%d of %d devices are used, because the %d %s divide among no more: change that "
      "number to use all.", each * processes, len(devices), count, what,
    )  # fmt: skip
  return [device for i, device in enumerate(devices) if owners[:i].count(owners[i]) < each]


def _check_divisible(count: int, sharers: int, what: str) -> None:
  """Raises UserError, which names the nearest counts that divide, where `count` does not."""
  if count % sharers:
    below = count // sharers * sharers
    nearest = " and ".join(str(n) for n in (below, below + sharers) if n)
    raise UserError(
      f"expected {what} to divide among {sharers} devices, got {count}; the nearest that do are "
      f"{nearest}."
    )


def compile_check(devices: Sequence[jax.Device]) -> Callable[[Any, int], None]:
  """Compiles a check (replicated pytree, step) that raises UserError where replicas differ.

  Each device sums the bits of its own replica; only the sums, of all processes, are compared.
  """
  if len(devices) == 1:
    return lambda tree, step: None
  sums = _replicated_map(lambda tree: jax.lax.all_gather(_bit_sums(tree), _AXIS), devices, (None,))

  def check(tree, step):
    found = np.asarray(sums(tree))
    differing = np.flatnonzero((found != found[0]).any(axis=1)).tolist()
    if differing:
      raise UserError(
        f"expected the same numbers on all {len(devices)} devices at step {step}, got others on "
        f"device {differing[0]} ({devices[differing[0]]}) than on the first; run again to continue "
        "from the last checkpoint, on other devices if it happens again."
      )

  return check


def _bit_sums(tree: Any) -> jax.Array:
  """uint32 [leaves], a checksum of the bits of each array, which any single bit changes."""

  def of(array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
      array = jax.random.key_data(array)
    bits = array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}").astype(jnp.uint32)
    # Odd factors lose no bit of what they multiply, and tell places apart.
    return jnp.sum(bits * (2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1), dtype=jnp.uint32)

  return jnp.stack([of(array) for array in jax.tree.leaves(tree)])
