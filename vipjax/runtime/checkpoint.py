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

# What a checkpoint holds beside the state; to be raised when older versions cannot read it.
_FORMAT = 1


class Checkpointer:
  """Saves a state under its step, keeps the last few (and the best), restores the newest readable.

  The state is any pytree of JAX arrays, typed random keys, NumPy arrays and Python numbers. It is
  copied when `save` is called and written in the background, so the caller may change it at once.
  A checkpoint appears under its name only when it is complete; nothing is pickled.

  Of several processes (`runtime.hosts`), which hold the same state, the first alone saves; all
  restore, and check that they restored the same.
  """

  def __init__(self, folder: str | os.PathLike, keep: int = 3, keep_best: bool = False):
    """Opens the folder, which is made if missing.

    Args:
      folder: where the checkpoints lie, one folder each, named by the step.
      keep: how many of the newest stay, at least 1; 2 or more leave one to fall back to.
      keep_best: whether the one of the highest score stays beside them.

    Raises:
      UserError: keep is below 1.
    """
    if keep < 1:
      raise UserError(f"Expected to keep at least 1 checkpoint, but {keep} came: give 1 or more.")
    self._folder = pathlib.Path(folder).absolute()
    self._unreadable: list[int] = []
    self._saves = hosts.is_first()
    self._kept = _LastAndBest(keep, keep_best)
    if self._saves:
      self._folder.mkdir(parents=True, exist_ok=True)
    hosts.wait_for_all(f"the folder {self._folder}")
    if not self._folder.is_dir():
      raise UserError(
        f"Expected the folder {self._folder}, which the first process has made, but this one does "
        "not see it: give all the same --workdir, on a file system that they share."
      )
    # Each process has a manager of its own, which waits for no other: the state is the same in all
    # of them, and nothing of it is to be put together from parts.
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
    for step in self._manager.all_steps() if keep_best else ():
      with contextlib.suppress(Exception):  # damage, which restoring will tell of
        self._kept.scores[step] = self._record(step).get("score")

  def save(
    self, step: int, state: Any, metadata: dict | None = None, score: float | None = None
  ) -> None:
    """Saves the state; waits only for an earlier save that is still being written.

    Args:
      step: the step that the state has reached, past that of every checkpoint kept.
      state: a pytree.
      metadata: what else to remember, as JSON.
      score: with `keep_best`, how good the state is, finite; None where nobody knows.

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
        f"Expected a step past {latest}, the newest checkpoint in {self._folder}, but {step} "
        "came: restore it first or use another folder."
      )
    arrays = {name: _to_numpy(leaf) for name, leaf in _named_leaves(state)}
    record = {
      "format": _FORMAT,
      "metadata": metadata or {},
      "score": None if score is None else float(score),
      "checksums": {name: _checksum(array) for name, array in arrays.items()},
    }
    # Orbax refuses arrays without elements; the template has all that there is to them.
    arrays = {name: array for name, array in arrays.items() if array.size}
    self._kept.scores[step] = record["score"]
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record)
      ),
    )

  def restore_latest(self, template: Any) -> tuple[int, Any, dict] | None:
    """Restores the newest checkpoint; where it is damaged, warns and takes the one before.

    Args:
      template: a state of the same structure, shapes and types, whose values do not matter. A JAX
        array comes back as one with the same sharding, a NumPy array as NumPy, a number as one.

    Returns:
      (step, state, metadata), or None when there is no checkpoint.

    Raises:
      UserError: the checkpoint is of a state of another structure, shape or type, or of a newer
        version of this package; or there are checkpoints but all are damaged.
    """
    self.wait()
    restored = self._first_readable(sorted(self._manager.all_steps(), reverse=True), template)
    # Nothing is saved before all have restored.
    hosts.require_same(restored[0] if restored else -1, f"the checkpoint in {self._folder}")
    return restored

  def restore_best(self, template: Any) -> tuple[int, Any, dict] | None:
    """As `restore_latest`, of those saved with a score the one of the highest; of equals the later.

    Each process restores for itself.
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
          f"Expected to read the checkpoint of step {step} in {self._folder}, but permission was "
          "denied: give it back, then run the same command."
        ) from error
      except Exception as error:  # noqa: BLE001 (damage shows as almost any exception of Orbax)
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
        f"Expected a readable checkpoint in {self._folder}, but all {len(steps)} are damaged: "
        "start over with --overwrite."
      )
    return None

  def wait(self) -> None:
    """Waits until what was saved is on the disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, then frees what Orbax holds."""
    self.wait()
    self._manager.close()

  def __enter__(self) -> Checkpointer:
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def _put_aside(self) -> None:
    """Renames what could not be read: not deleted, for the fault may be the file system's."""
    for step in self._unreadable:
      folder = self._folder / str(step)
      if folder.exists():
        folder.rename(self._folder / f"damaged-{step}-{time.time_ns()}")
    if self._unreadable:
      self._unreadable = []
      self._manager.reload()

  def _record(self, step: int) -> dict[str, Any]:
    return self._manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))[
      "record"
    ]

  def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict]:
    args = ocp.args.Composite(state=ocp.args.StandardRestore(), record=ocp.args.JsonRestore())
    restored = self._manager.restore(step, args=args)
    written = restored["record"].get("format", 1)
    if written > _FORMAT:
      raise UserError(
        f"The checkpoint of step {step} in {self._folder} is of format {written}, newer than "
        f"{_FORMAT}, the newest that this version reads: update vipjax, or use another folder."
      )
    checksums = restored["record"]["checksums"]
    arrays = {name: np.asarray(array) for name, array in restored["state"].items()}
    for name, checksum in checksums.items():
      if checksum and (name not in arrays or _checksum(arrays[name]) != checksum):
        raise ValueError(f"{name} is not what was saved")
    arrays |= {name: None for name in checksums if name not in arrays}
    return arrays, restored["record"]["metadata"]

  def _fill(self, template: Any, arrays: dict[str, np.ndarray | None]) -> Any:
    names = [name for name, _ in _named_leaves(template)]
    unknown, missing = sorted(set(arrays) - set(names)), sorted(set(names) - set(arrays))
    if unknown or missing:
      raise UserError(
        f"The checkpoint in {self._folder} is of another state: it has {unknown[:3] or 'nothing'} "
        f"that this one has not, and lacks {missing[:3] or 'nothing'}: use the settings that made "
        "it, or another folder."
      )
    leaves = [self._like(name, arrays[name], leaf) for name, leaf in _named_leaves(template)]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)

  def _like(self, name: str, array: np.ndarray | None, leaf: Any) -> Any:
    expected = _to_numpy(leaf)
    if array is None:
      array = np.zeros((0,), expected.dtype) if expected.size else expected
    if array.shape != expected.shape or array.dtype != expected.dtype:
      raise UserError(
        f"The checkpoint in {self._folder} has {array.dtype}{list(array.shape)} for {name}, but "
        f"{expected.dtype}{list(expected.shape)} is expected: use the settings that made it, or "
        "another folder."
      )
    if _is_key(leaf):
      return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array):
      return jax.device_put(array, leaf.sharding)
    if isinstance(leaf, np.ndarray):
      # Orbax may hand out arrays that cannot be written to.
      return array if array.flags.writeable else array.copy()
    return type(leaf)(array.item())


class _LastAndBest(managers.PreservationPolicy):
  """Keeps the newest few and, with `keep_best`, the one of the highest score.

  Attributes:
    scores: of checkpoints by step; None where nobody knows.
  """

  def __init__(self, keep: int, keep_best: bool):
    self._keep, self._keep_best = keep, keep_best
    self.scores: dict[int, float | None] = {}

  def ranked(self, steps: Iterable[int]) -> list[int]:
    """Those with a score, the best first; of equals the later."""
    known = [step for step in steps if self.scores.get(step) is not None]
    return sorted(known, key=lambda step: (self.scores[step], step), reverse=True)

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """For each checkpoint, in the order of their steps, whether it stays."""
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
  """A copy, so that neither donation nor writing in place can change what is being saved."""
  return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _checksum(array: np.ndarray) -> int:
  """CRC-32 of the bytes, never 0 but for an array without elements."""
  if not array.size:
    return 0
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) or 1
