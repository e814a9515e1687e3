"""Checkpoints: what goes in comes out; damage; refusals."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vipjax.runtime import checkpoint
from vipjax.runtime.errors import UserError


class Inner(NamedTuple):
  weights: dict
  none: None


def make_state(seed):
  rng = np.random.default_rng(seed)
  return {
    "key": jax.random.key(seed),
    "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
    "inner": Inner({"a/b.c": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}, None),
    "half": jnp.full((2,), seed + 0.5, jnp.bfloat16),
    "buffer": rng.integers(0, 255, (100, 8), dtype=np.uint8),
    "empty": np.zeros((0, 3), np.float32),
    "wide": np.int64(2**40 + seed),
    "step": seed,
    "rate": seed + 0.25,
    "flag": bool(seed % 2),
    "list": [np.array([True, False]), jnp.int32(seed)],
  }


def raw(leaf):
  is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same(state, expected):
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
    assert isinstance(leaf, jax.Array) == isinstance(wanted, jax.Array)
    if not isinstance(wanted, jax.Array):
      assert type(leaf) is type(wanted)
    assert raw(leaf).dtype == raw(wanted).dtype
    np.testing.assert_array_equal(raw(leaf), raw(wanted))


def damage(folder: pathlib.Path, step: int):
  """Turns some bytes of the largest file of the checkpoint."""
  files = [path for path in (folder / str(step)).rglob("*") if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  data = bytearray(largest.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 40] = bytes(255 - byte for byte in data[middle : middle + 40])
  largest.write_bytes(data)


def test_what_goes_in_comes_out(tmp_path):
  with checkpoint.Checkpointer(tmp_path / "checkpoints") as saver:
    assert saver.restore_latest(make_state(0)) is None
    saver.save(7, make_state(3), {"iterator": [1, {"a": None}]})
  with checkpoint.Checkpointer(tmp_path / "checkpoints") as saver:
    step, state, metadata = saver.restore_latest(make_state(0))
  assert step == 7
  assert metadata == {"iterator": [1, {"a": None}]}
  assert_same(state, make_state(3))
  # The keys work, and what is NumPy may be written to.
  np.testing.assert_array_equal(
    jax.random.uniform(state["key"]), jax.random.uniform(jax.random.key(3))
  )
  state["buffer"][0] = 1


def test_the_state_may_change_right_after_saving(tmp_path):
  buffer, weights = np.zeros(1_000_000, np.float32), jnp.zeros(1000)
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, {"buffer": buffer, "weights": weights})
    buffer[:] = 1.0
    jax.jit(lambda w: w + 1, donate_argnums=0)(weights)
    _, state, _ = saver.restore_latest({"buffer": buffer, "weights": jnp.zeros(1000)})
  assert not state["buffer"].any()
  assert not state["weights"].any()


def test_only_the_last_ones_stay(tmp_path):
  with checkpoint.Checkpointer(tmp_path, keep=2) as saver:
    for step in (1, 5, 9):
      saver.save(step, {"x": np.float32(step)})
    saver.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5", "9"]
    step, state, metadata = saver.restore_latest({"x": np.float32(0)})
    assert (step, state, metadata) == (9, {"x": np.float32(9)}, {})


def test_the_best_stays_beside_the_last_ones_and_comes_back(tmp_path):
  def state(step):
    return {"x": np.float32(step)}

  def kept():
    return sorted(int(path.name) for path in tmp_path.iterdir())

  with checkpoint.Checkpointer(tmp_path, keep=2, keep_best=True) as saver:
    assert saver.restore_best(state(0)) is None
    for step, score in ((1, None), (2, 0.5), (3, 0.25), (4, None), (5, 0.25)):
      saver.save(step, state(step), score=score)
    saver.wait()
    assert kept() == [2, 4, 5]
    assert saver.restore_best(state(0))[:2] == (2, state(2))
  # Another process knows as much, and a better one takes its place; one whose record is damaged
  # has no score any more.
  (tmp_path / "4" / "record" / "metadata").write_text("")
  with checkpoint.Checkpointer(tmp_path, keep=2, keep_best=True) as saver:
    for step, score in ((6, 0.75), (7, None), (8, None)):
      saver.save(step, state(step), score=score)
    saver.wait()
    assert kept() == [6, 7, 8]
    assert saver.restore_latest(state(0))[0] == 8
    assert saver.restore_best(state(0))[0] == 6


def test_a_damaged_one_gives_way_to_the_one_before(tmp_path, capsys):
  with checkpoint.Checkpointer(tmp_path) as saver:
    for step in (1, 2, 3):
      saver.save(step, make_state(step))
  damage(tmp_path, 3)
  with checkpoint.Checkpointer(tmp_path) as saver:
    step, state, _ = saver.restore_latest(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))
    assert "warning: the checkpoint of step 3" in capsys.readouterr().err
    # The run goes on from there and saves the same step again.
    saver.save(3, make_state(30))
    step, state, _ = saver.restore_latest(make_state(0))
    assert step == 3
    assert_same(state, make_state(30))
  assert capsys.readouterr().err == ""
  # What could not be read is not deleted: the fault may be the file system's.
  (aside,) = tmp_path.glob("damaged-3-*")
  assert (aside / "record").is_dir()
  with checkpoint.Checkpointer(tmp_path) as saver:
    assert saver.restore_latest(make_state(0))[0] == 3


def test_what_may_not_be_read_is_no_damage(tmp_path, monkeypatch):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, make_state(1))
    saver.save(2, make_state(2))

  def denied(*unused):
    raise PermissionError("denied")

  with checkpoint.Checkpointer(tmp_path) as saver:
    monkeypatch.setattr(saver, "_read", denied)
    with pytest.raises(UserError, match="step 2 .*, got 'Permission denied'"):
      saver.restore_latest(make_state(0))


def test_a_missing_file_is_damage_too(tmp_path, capsys):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, make_state(1))
    saver.save(2, make_state(2))
  (tmp_path / "2" / "record" / "metadata").unlink()
  with checkpoint.Checkpointer(tmp_path) as saver:
    assert saver.restore_latest(make_state(0))[0] == 1
  assert "step 2" in capsys.readouterr().err


def test_an_unfinished_one_is_none(tmp_path):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, make_state(1))
  (tmp_path / "2.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
  with checkpoint.Checkpointer(tmp_path) as saver:
    assert saver.restore_latest(make_state(0))[0] == 1


def test_all_damaged_is_an_error(tmp_path):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, make_state(1))
  damage(tmp_path, 1)
  with checkpoint.Checkpointer(tmp_path) as saver:
    with pytest.raises(UserError, match="got 1, all damaged; start over with --overwrite"):
      saver.restore_latest(make_state(0))


def test_a_state_of_another_kind_is_refused(tmp_path):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, {"a": np.zeros(3, np.float32), "b": 1})
    with pytest.raises(UserError, match=r"with \[\"\['b'\]\"\] more and \[\"\['c'\]\"\] missing"):
      saver.restore_latest({"a": np.zeros(3, np.float32), "c": 1})
    with pytest.raises(UserError, match=r"float32\[4\] for \['a'\] .*, got float32\[3\]"):
      saver.restore_latest({"a": np.zeros(4, np.float32), "b": 1})
    with pytest.raises(UserError, match=r"float64\[3\] for \['a'\] .*, got float32\[3\]"):
      saver.restore_latest({"a": np.zeros(3), "b": 1})


def test_steps_only_grow(tmp_path):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(5, {"x": 1})
    for step in (5, 4):
      with pytest.raises(UserError, match=f"step past 5, .* got {step}"):
        saver.save(step, {"x": 2})


def test_keep_has_to_be_positive(tmp_path):
  with pytest.raises(UserError, match="at least 1 checkpoint, got 0"):
    checkpoint.Checkpointer(tmp_path, keep=0)


def test_a_replicated_array_keeps_its_sharding(tmp_path):
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
  assert mesh.size > 1
  sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  state = {"x": jax.device_put(jnp.arange(4.0), sharding)}
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, state)
    _, restored, _ = saver.restore_latest(state)
  assert restored["x"].sharding == sharding
  np.testing.assert_array_equal(restored["x"], state["x"])


def test_nothing_is_pickled(tmp_path):
  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(1, make_state(1))
  names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
  assert names and not [name for name in names if name.endswith((".pkl", ".pickle", ".npy"))]
