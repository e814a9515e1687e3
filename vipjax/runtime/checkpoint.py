"""Checkpoints of one state pytree, through Orbax. The only module that knows Orbax."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from vipjax.runtime import hosts
from vipjax.runtime.errors import UserError

# Version of the format; raise it when older versions of vipjax cannot read the new one.
_FORMAT = 1


class Checkpointer(contextlib.AbstractContextManager):
  """Saves a state under its step, keeps the last few (and the best), restores the newest readable.

  The state is any pytree of JAX arrays, typed random keys, NumPy arrays and Python numbers. `save`
  copies it and writes in the background, so the caller may change it at once. A checkpoint appears
  under its name only when it is complete; nothing is pickled.

  Several processes (`runtime.hosts`) hold the same state: the first one saves, all restore and
  check that they restored the same step.
  """

  def __init__(self, folder: str | os.PathLike, keep: int = 3, keep_best: bool = False):
    """Opens the folder and makes it if missing.

    Args:
      folder: gets one folder per checkpoint, named by the step.
      keep: number of newest checkpoints to keep, at least 1; with 2 or more there is a fallback.
      keep_best: whether the checkpoint of the highest score stays beside them.

    Raises:
      UserError: keep is below 1.
    """
    if keep < 1:
      raise UserError(f"expected to keep at least 1 checkpoint, got {keep}; give 1 or more.")
    self._folder = pathlib.Path(folder).absolute()
    self._unreadable: list[int] = []
    self._saves = hosts.is_first()
    self._kept = _LastAndBest(keep, keep_best)
    if self._saves:
      self._folder.mkdir(parents=True, exist_ok=True)
    hosts.wait_for_all(f"the folder {self._folder}")
    hosts.require_shared(self._folder)
    # Each process has its own manager, which waits for no other process: every process holds the
    # whole state.
    me = jax.process_index()
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self._kept if self._saves else None,
        create=False,
        cleanup_tmp_directories=self._saves,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
          primary_host=me, active_processes={me}
        ),
      ),
    )
    of_record = ocp.args.Composite(record=ocp.args.JsonRestore())
    for step in self._manager.all_steps() if keep_best else ():
      with contextlib.suppress(Exception):  # restoring reports the damage
        record = self._manager.restore(step, args=of_record)["record"]
        self._kept.scores[step] = record.get("score")

  def save(
    self, step: int, state: Any, metadata: dict | None = None, score: float | None = None
  ) -> None:
    """Saves the state; waits only until an earlier save is on the disk.

    Args:
      step: the state's step, greater than that of every checkpoint kept.
      state: a pytree.
      metadata: further JSON-able values to store.
      score: with `keep_best`, the quality of the state, finite; None if unknown.

    Raises:
      UserError: there is a checkpoint of this or a later step.
    """
    if not self._saves:
      return
    self.wait()
    self._put_aside()
    latest = self._manager.latest_step()
    if latest is not None and step <= latest:
      raise UserError(
        f"expected a step past {latest}, the newest checkpoint in {self._folder}, got {step}; "
        "restore that checkpoint first or use another folder."
      )
    arrays = {name: _to_numpy(leaf) for name, leaf in _named_leaves(state)}
    record = {
      "format": _FORMAT,
      "metadata": metadata or {},
      "score": None if score is None else float(score),
      "checksums": {name: _checksum(array) for name, array in arrays.items()},
    }
    # Orbax refuses arrays without elements; restoring takes these from the template.
    arrays = {name: array for name, array in arrays.items() if array.size}
    self._kept.scores[step] = record["score"]
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record)
      ),
    )

  def restore_latest(self, template: Any) -> tuple[int, Any, dict] | None:
    """Restores the newest checkpoint; if it is damaged, warns and takes the one before.

    Args:
      template: a state of the same structure, shapes and types; its values do not matter. JAX
        arrays come back with the template's sharding, NumPy arrays as NumPy, numbers as numbers.

    Returns:
      (step, state, metadata), or None without a checkpoint.

    Raises:
      UserError: the checkpoint has another structure, shape or type, or a newer version of this
        package wrote it; or all checkpoints are damaged.
    """
    self.wait()
    restored = self._first_readable(sorted(self._manager.all_steps(), reverse=True), template)
    # No process saves before all have restored.
    hosts.require_same(restored[0] if restored else -1, f"the checkpoint in {self._folder}")
    return restored

  def restore_best(self, template: Any) -> tuple[int, Any, dict] | None:
    """Restores the checkpoint of the highest score as `restore_latest`; a tie goes to the later.

    Ignores checkpoints without a score. Each process restores for itself.
    """
    self.wait()
    return self._first_readable(self._kept.ranked(self._manager.all_steps()), template)

  def _first_readable(self, steps: list[int], template: Any) -> tuple[int, Any, dict] | None:
    for step in steps:
      try:
        arrays, metadata = self._read(step)
      except (UserError, MemoryError):
        raise
      except PermissionError as error:
        raise UserError(
          f"expected to read the checkpoint of step {step} in {self._folder}, got 'Permission "
          "denied'; allow reading it, then run the same command."
        ) from error
      except Exception as error:  # Orbax raises almost any exception for damage
        self._unreadable.append(step)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        print(
          f"warning: the checkpoint of step {step} in {self._folder} is damaged ({reason}); "
          "trying the next one",
          file=sys.stderr,
        )
        continue
      return step, self._fill(template, arrays), metadata
    if steps:
      raise UserError(
        f"expected a readable checkpoint in {self._folder}, got {len(steps)}, all damaged; start "
        "over with --overwrite."
      )
    return None

  def wait(self) -> None:
    """Waits until all saved checkpoints are on the disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits as `wait` does, then frees Orbax's resources."""
    self.wait()
    self._manager.close()

  def __exit__(self, *unused) -> None:
    self.close()

  def _put_aside(self) -> None:
    """Renames unreadable checkpoints; it deletes none, because the file system may be at fault."""
    for step in self._unreadable:
      folder = self._folder / str(step)
      if folder.exists():
        folder.rename(self._folder / f"damaged-{step}-{time.time_ns()}")
    if self._unreadable:
      self._unreadable = []
      self._manager.reload()

  def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict]:
    args = ocp.args.Composite(state=ocp.args.StandardRestore(), record=ocp.args.JsonRestore())
    restored = self._manager.restore(step, args=args)
    written = restored["record"].get("format", 1)
    if written > _FORMAT:
      raise UserError(
        f"expected a checkpoint of format {_FORMAT} or older for step {step} in {self._folder}, "
        f"got format {written}; update vipjax, or use another folder."
      )
    checksums = restored["record"]["checksums"]
    arrays = {name: np.asarray(array) for name, array in restored["state"].items()}
    for name, checksum in checksums.items():
      if checksum and (name not in arrays or _checksum(arrays[name]) != checksum):
        raise ValueError(f"{name} has another checksum than when saved")
    arrays |= {name: None for name in checksums if name not in arrays}
    return arrays, restored["record"]["metadata"]

  def _fill(self, template: Any, arrays: dict[str, np.ndarray | None]) -> Any:
    names = [name for name, _ in _named_leaves(template)]
    unknown, missing = sorted(set(arrays) - set(names)), sorted(set(names) - set(arrays))
    if unknown or missing:
      raise UserError(
        f"expected this run's state in the checkpoint in {self._folder}, got one with "
        f"{unknown[:3] or 'nothing'} more and {missing[:3] or 'nothing'} missing; use the settings "
        "of the run that made it, or another folder."
      )
    leaves = [self._like(name, arrays[name], leaf) for name, leaf in _named_leaves(template)]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)

  def _like(self, name: str, array: np.ndarray | None, leaf: Any) -> Any:
    expected = _to_numpy(leaf)
    if array is None:
      array = np.zeros((0,), expected.dtype) if expected.size else expected
    if array.shape != expected.shape or array.dtype != expected.dtype:
      raise UserError(
        f"expected {expected.dtype}{list(expected.shape)} for {name} in the checkpoint in "
        f"{self._folder}, got {array.dtype}{list(array.shape)}; use the settings of the run that "
        "made it, or another folder."
      )
    if _is_key(leaf):
      return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array):
      return jax.device_put(array, leaf.sharding)
    if isinstance(leaf, np.ndarray):
      # Orbax may return read-only arrays.
      return array if array.flags.writeable else array.copy()
    return type(leaf)(array.item())


class _LastAndBest(managers.PreservationPolicy):
  """Keeps the newest few and, with `keep_best`, the one of the highest score.

  Attributes:
    scores: score of each checkpoint, by step; None if unknown.
  """

  def __init__(self, keep: int, keep_best: bool):
    self._keep, self._keep_best = keep, keep_best
    self.scores: dict[int, float | None] = {}

  def ranked(self, steps: Iterable[int]) -> list[int]:
    """Returns the steps that have a score, the best first; a tie goes to the later step."""
    known = [step for step in steps if self.scores.get(step) is not None]
    return sorted(known, key=lambda step: (self.scores[step], step), reverse=True)

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """Returns whether each checkpoint, in the order of their steps, stays."""
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    best = self.ranked(steps)[:1] if self._keep_best else []
    return [step in steps[-self._keep :] or step in best for step in steps]


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
  return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> np.ndarray:
  """Returns a copy, so that neither donation nor writing in place changes a state being saved."""
  return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _checksum(array: np.ndarray) -> int:
  """Returns the CRC-32 of the bytes; 0 only for an array without elements."""
  if not array.size:
    return 0
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) or 1
