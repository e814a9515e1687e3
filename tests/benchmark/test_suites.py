"""Every suite runs at tiny sizes, alone or beside the peers that are installed."""

import json
import pathlib
import subprocess
import types

import pytest

from tests.compilation import FAST
from vipjax.benchmark import peers, run_suite, start_up
from vipjax.benchmark.sac import SacSettings
from vipjax.encoder import resnet
from vipjax.runtime.errors import UserError

TINY = {
  "embed": {
    "archs": ("resnet18",), "width": 8, "size": 32, "frames": 3, "sweep_sizes": (16,),
    "sweep_batches": (1, 2),
  },
  "finetune": {
    "archs": ("resnet18",), "width": 8, "size": 28, "clips": 1,
    "tcc_sizes": [
      {"B": 2, "K": "all pairs", "T": 2, "N": 4, "D": 8},
    ],
    "video_counts": (1, 3), "resident": 0.5,
  },
  "sac": {
    "hidden": (8,), "batch_size": 4, "updates": 2, "loop_steps": 3, "replay_size": 64,
    "replay_sizes": (64,), "agents": (1, 2),
  },
  "render": {
    "sizes": (16,), "num_envs": 1, "steps": 1, "single_sizes": (16,),
    "single_robots": ("sawyer", "absent"), "drawn": (("fast", 16),),
  },
  "env": {"num_envs": 1, "steps": 2, "sweep_envs": (2,)},
  "pipeline": {
    "num_envs": 2, "size": 24, "width": 8, "input_size": 16, "updates": 1, "steps": 1,
    "sac": SacSettings(hidden=(8,), batch_size=4), "start_clips": 1,
  },
}  # fmt: skip
TABLES = {
  "embed": "pixels", "finetune": "[K, N, N, D] would be, MiB", "sac": "transitions",
  "render": "fast / full", "env": "environments", "pipeline": "part",
}  # fmt: skip


def programs_cached(monkeypatch):
  """The compiled programs that are kept after each process of start-up, as they come."""
  cached, start = [], subprocess.run

  def run(*arguments, env, **keywords):
    start(*arguments, env={**env, "XLA_FLAGS": FAST}, **keywords)
    kept = pathlib.Path(env["JAX_COMPILATION_CACHE_DIR"]).glob("*-cache")
    cached.append({path.name for path in kept})

  patched = types.SimpleNamespace(run=run)
  monkeypatch.setattr(start_up, "subprocess", patched)
  return cached


@pytest.mark.parametrize("suite", TINY)
def test_suite(suite, tmp_path, monkeypatch):
  cached = programs_cached(monkeypatch)
  if peers.find_python(("torch",), []) is None:  # PyTorch's network is whole
    monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  page = run_suite(suite, tmp_path, "command", repeats=2, peak_size=64, **TINY[suite])
  record = json.loads(page.with_suffix(".json").read_text())
  assert record["suite"] == suite and record["cases"]
  for case in record["cases"]:
    assert case["rates"]["vipjax"]["median"] > 0
    assert len(case["seconds"]["vipjax"]) == 2
    assert case["memory_mb"]["vipjax"] > 0
  table = next(iter(record["tables"].values()))
  assert table and all(TABLES[suite] in row for row in table)
  for package, name in (("torch", "PyTorch"), ("sbx", "sbx-rl")):
    if suite in ("embed", "finetune", "sac") and peers.find_python((package,), []) is None:
      ran = any(name in case["seconds"] for case in record["cases"])
      assert not ran
  if suite == "render":
    # An arm whose files cannot be had is left out.
    assert [row["arm"] for row in table] == ["sawyer"] and "absent" in record["skipped"]
    (row,) = list(record["tables"].values())[1]
    assert row["workers"] > 0 and row["one process"] > 0
  if suite == "sac":
    rows = record["tables"]["Agents that learn at once"]
    assert [row["agents"] for row in rows] == ["1", "2"]
    assert all(row["updates/s of all"] > 0 for row in rows)
  if suite == "finetune":
    rows = list(record["tables"].values())[1]
    assert [row["kept"] for row in rows] == ["device", "host"]
    assert all(row["frames/s"] > 0 for row in rows)
  if suite == "pipeline":
    first, second = list(record["tables"].values())[1]
    assert min(first["seconds"], second["seconds"]) > 0
    # What the first process has compiled no later one compiles again.
    assert len(cached) == 3 and cached[0] and cached[1:] == cached[:1] * 2
    # The median of two is their mean, so that times add up.
    rows = {row["part"]: 1 / row["steps/s"] for row in table}
    parts = sum(rows[name] for name in ("step and draw", "embed", "update"))
    assert rows["these in a row"] == pytest.approx(parts)


def test_pytorch_computes_the_same_embeddings(tmp_path):
  pytest.importorskip("torch")
  page = run_suite("embed", tmp_path, "command", repeats=1, peak_size=64, **TINY["embed"])
  (case,) = json.loads(page.with_suffix(".json").read_text())["cases"]
  assert case["facts"]["difference"] < 1e-4


def test_wrong_suite_and_python_are_one_sentence(tmp_path):
  with pytest.raises(UserError, match="embed, finetune, .*, pipeline, agent, warp, got 'fly'"):
    run_suite("fly", tmp_path, "command")
  with pytest.raises(UserError, match="got /no/such/python"):
    run_suite("sac", tmp_path, "command", peer_pythons=["/no/such/python"])
