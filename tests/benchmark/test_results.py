"""The page and the JSON of a result made by hand."""

import json

import numpy as np
import pytest

from vipjax.benchmark.floor import Cost, Peak
from vipjax.benchmark.results import Case, SuiteResult, write


@pytest.fixture
def result():
  case = Case(
    name="small",
    unit="frames",
    amount=10,
    seconds={"vipjax": [1.0, 2.0, 4.0], "PyTorch": [2.0, 3.0, 4.0]},
    cost=Cost(operations=50.0, bytes=1.0),
    memory_mb={"vipjax": 1234.5, "PyTorch": 99.94},
    facts={"difference": np.float32(0.5)},
  )
  tables = {"More": [{"pixels": "64", "rate": 0.123456}]}
  return SuiteResult("embed", "About it.", [case], {"sbx-rl": "why"}, Peak(50.0, 1.0, "f"), tables)


def test_page(result, tmp_path):
  page = write(result, tmp_path / "new", "python -m launch.benchmark embed").read_text()
  # Medians of 10, 5, 2.5 and of 5, 3.33, 2.5; ratios 2, 1.5, 1; the floor is 1 s of a median 2.
  assert "| small | vipjax | 5.00 frames/s | 3.75 to 7.50 |  | 50% | 1,234 |" in page
  assert "|  | PyTorch | 3.33 frames/s | 2.92 to 4.17 | 1.50 (1.00 to 2.00) |  | 99.9 |" in page
  assert "## More\n\n| pixels | rate |\n| --- | --- |\n| 64 | 0.123 |" in page
  assert "Skipped: sbx-rl (why)." in page
  assert "`python -m launch.benchmark embed` on cpu:cpu" in page


def test_json_has_all_that_the_page_has(result, tmp_path):
  write(result, tmp_path, "the command")
  record = json.loads((tmp_path / "embed.json").read_text())
  (case,) = record["cases"]
  assert case["seconds"]["PyTorch"] == [2.0, 3.0, 4.0]
  assert case["rates"]["vipjax"]["median"] == 5.0
  assert case["advantages"]["PyTorch"]["median"] == 1.5
  assert case["floor_reached"] == 0.5
  assert case["facts"]["difference"] == 0.5
  assert record["command"] == "the command"
  assert {"packages", "python", "devices", "git_commit"} <= set(record["versions"])


def test_a_picture_and_facts_stand_beside_the_tables(result, tmp_path):
  made = SuiteResult("agent", "", [], {}, result.peak, {}, {"runs": [1]}, b"a picture")
  page = write(made, tmp_path, "c")
  assert "![agent](agent.png)" in page.read_text()
  assert page.with_suffix(".png").read_bytes() == b"a picture"
  assert json.loads(page.with_suffix(".json").read_text())["facts"] == {"runs": [1]}


def test_without_a_cost_no_floor_is_claimed(result, tmp_path):
  case = Case("loop", "steps", 1, {"vipjax": [1.0]}, None, {}, {})
  page = write(SuiteResult("sac", "", [case], {}, result.peak), tmp_path, "c").read_text()
  assert "| loop | vipjax | 1.00 steps/s | 1.00 to 1.00 |  |  |  |" in page


def test_operations_that_are_not_counted_are_said_to_be_so(result, tmp_path):
  case = Case("step", "frames", 1, {"vipjax": [1.0]}, Cost(None, 1.0), {}, {})
  path = write(SuiteResult("embed", "", [case], {}, result.peak), tmp_path, "c")
  assert "| step | vipjax | 1.00 frames/s | 1.00 to 1.00 |  | not counted |  |" in path.read_text()
  assert json.loads(path.with_suffix(".json").read_text())["cases"][0]["floor_reached"] is None
