"""What is imported at run time, and the versions that launch/constraints.txt gives."""

import ast
import pathlib
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]

_PROGRAM = """
import sys
import vipjax
for name in vipjax.__all__:
  getattr(vipjax, name)
import vipjax.report
found = {"tensorflow", "torch", "torchvision", "stable_baselines3"} & set(sys.modules)
sys.exit(f"imported: {sorted(found)}" if found else 0)
"""


def test_neither_tensorflow_nor_torch_is_imported():
  done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


def requirements():
  """Those of the two commands: setup.py's, with the extra "test"."""
  tree = ast.parse((ROOT / "setup.py").read_text())
  values = {
    node.targets[0].id: ast.literal_eval(node.value)
    for node in tree.body
    if isinstance(node, ast.Assign)
  }
  return map(Requirement, values["REQUIREMENTS"] + values["EXTRAS"]["test"])


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_python_gets_one_version_of_each_requirement(version):
  lines = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
  pins = {}
  for pin in map(Requirement, [line for line in lines if not line.startswith("#")]):
    (exact,) = pin.specifier
    assert exact.operator == "==" and pin.url is None
    if pin.marker is None or pin.marker.evaluate({"python_version": version}):
      assert pins.setdefault(canonicalize_name(pin.name), exact.version) == exact.version
  for wanted in requirements():
    assert pins[canonicalize_name(wanted.name)] in wanted.specifier, str(wanted)
