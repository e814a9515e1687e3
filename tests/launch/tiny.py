"""A launcher as users run it, with ResNet-18 cut down to one block, which compiles in a second.

python tests/launch/tiny.py launch.finetune --config=... ...
"""

import runpy
import sys

from vipjax.encoder import resnet

resnet.STAGE_SIZES["resnet18"] = (1,)
if __name__ == "__main__":  # not in the processes that a launcher spawns, which import this again
  sys.argv = sys.argv[1:]
  runpy.run_module(sys.argv[0], run_name="__main__")
