"""At run time neither TensorFlow nor torch is imported, even where they are installed."""

import subprocess
import sys

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
