"""The quick start: its cells run from top to bottom, as Jupyter would run them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "docs/quickstart.ipynb"


@pytest.fixture(scope="module")
def cells():
  notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
  assert notebook["nbformat"] == 4
  return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_runs(cells):
  program = "\n\n".join("".join(cell["source"]) for cell in cells)
  environment = {**os.environ, "MPLBACKEND": "agg"}
  command = [sys.executable, "-c", program]
  done = subprocess.run(
    command, cwd=NOTEBOOK.parent, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert "(44, 128, 128, 3) uint8 40 frames/s" in done.stdout
  assert float(re.search(r"rank correlation with time: ([\d.]+)", done.stdout)[1]) > 0.9
  assert "success: True" in done.stdout


def test_it_was_saved_with_what_it_shows(cells):
  assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
  outputs = [output for cell in cells for output in cell["outputs"]]
  assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
