"""The script of measurements for a GPU: its parts at next to no size, its page, its limits."""

import json
import pathlib
import re
import subprocess
import types

import pytest

from vipjax.benchmark import gpu_check, gpu_page
from vipjax.benchmark.gpu_check import PARTS, SMALL, Sizes
from vipjax.runtime import files

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "launch/gpu_check.sh"


def put(folder, name, found):
  versions = {"devices": ["gpu:H"], "git_commit": "abc", "date": "today"}
  content = {"seconds": 1.0, "found": found, "versions": versions}
  files.write_json(folder / f"check_{name}.json", content)


# What drawing measures is held by the suite "render", whose function it is.
@pytest.mark.parametrize("name", ["training", "embedding", "agents", "policy"])
def test_a_part_gives_its_rows(one_block, tmp_path, name):
  gpu_check.run_part(name, SMALL, tmp_path)
  found = json.loads((tmp_path / f"check_{name}.json").read_text())["found"]
  assert set(gpu_page.expected(SMALL)[name]) <= set(found)
  profiles = [found.pop(each) for each in list(found) if isinstance(found[each], dict)]
  assert all(value >= 0 for value in found.values())
  for shares in profiles:
    assert sum(shares.values()) == pytest.approx(100)
    assert {"convolutions", "convolutions, gradient"} <= set(shares)
  assert len(profiles) == (2 if name == "training" else 0)


def test_the_demo_starts_with_nothing_compiled(tmp_path, monkeypatch):
  started = []

  def run(command, env, **options):
    started.append((command, env))
    workdir = next(word for word in command if word.startswith("--workdir=")).split("=")[1]
    pathlib.Path(workdir).mkdir()
    results = {"seconds": {"record": 2.0, "policy": 3.0}, "policy_success": 0.5}
    files.write_json(pathlib.Path(workdir) / "results.json", results)

  monkeypatch.setattr(gpu_check, "subprocess", types.SimpleNamespace(run=run))
  monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  found = gpu_check.measure_demo(SMALL)
  assert found.pop("demo: s") >= 0
  assert found == {"demo, record: s": 2.0, "demo, policy: s": 3.0, "demo, success: %": 50.0}
  ((command, env),) = started
  assert command[1:4] == ["-m", "launch.pipeline", "--config=configs/demo.py"]
  assert not pathlib.Path(env["JAX_COMPILATION_CACHE_DIR"]).exists()
  assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in env


def test_the_page_says_what_was_not_measured(tmp_path):
  page = tmp_path / "page.md"
  page.write_text("# Before\n\n<!-- gpu_check -->\nold\n<!-- /gpu_check -->\n\nAfter.\n")
  assert "| demo: s | not measured |" in gpu_page.write_page(Sizes(), tmp_path / "none")
  put(tmp_path, "training", {
    "published step: ms": 9.0, "64 clips: ms": 40.4, "published step: MiB of temporaries": 938.2,
    "published step: profile, % of its time": {"convolutions": 60.0, "BatchNorm": 40.0},
  })  # fmt: skip
  gpu_page.write_page(Sizes(), tmp_path)
  # A part that is measured later joins the others.
  put(tmp_path, "policy", {"policy loop: steps/s": 1000.0})
  text = gpu_page.write_page(Sizes(), tmp_path, page)
  assert "On gpu:H; commit abc; today." in text
  assert "| published step: ms | 9 |" in text
  assert "| published step: MiB of temporaries | 938 |" in text
  assert "| 256 clips: ms | not measured |" in text
  assert "| full, 480 px, drawn by one process: steps/s | not measured |" in text
  # 100,000 x 9 ms, and 2 million steps at 1,000 a second.
  assert "| configs/paper.py, 100,000 fine-tuning steps: minutes | 15 |" in text
  assert "| configs/paper.py, 2,000,000 policy steps: minutes | 33.3 |" in text
  assert "| part of the step | published step: profile, % of its time |" in text
  assert "| BatchNorm | 40 |" in text
  assert page.read_text() == (
    f"# Before\n\n<!-- gpu_check -->\n{text}\n<!-- /gpu_check -->\n\nAfter.\n"
  )
  record = json.loads((tmp_path / "check.json").read_text())
  assert set(record["parts"]) == {"training", "policy"}
  assert sorted(each.name for each in tmp_path.glob("check*")) == ["check.json", "check.md"]


def test_the_published_page_has_the_tables_place():
  text = (ROOT / "docs/results/gpu.md").read_text()
  assert re.search(r"<!-- gpu_check -->\n.*\| what \| measured \|.*<!-- /gpu_check -->", text, re.S)


def test_the_script_runs_all_parts_within_its_limit():
  subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
  text = SCRIPT.read_text()
  assert re.findall(r"^part (\w+) \d+$", text, re.M) == list(PARTS)
  assert int(re.search(r"^TOTAL=(\d+)", text, re.M).group(1)) < 480
  refused = subprocess.run(["bash", str(SCRIPT), "--fast"], capture_output=True, text=True)
  assert refused.returncode == 1
  assert refused.stderr.startswith("error: expected --small, --out=FOLDER or --page=FILE, got")


def test_a_part_that_fails_leaves_the_others_going(tmp_path):
  python = tmp_path / "python"
  python.write_text('#!/usr/bin/env bash\necho "$3" >>"$0.log"\n[ "$3" != training ]\n')
  python.chmod(0o755)
  done = subprocess.run(
    ["bash", str(SCRIPT), f"--out={tmp_path}"],
    env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)}, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "python.log").read_text().split() == [*PARTS, "page"]
  assert "gpu_check: training failed with status 1; the others go on" in done.stderr
