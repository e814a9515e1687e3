"""The former name of launch.reproduce, to which it forwards in this version."""

import sys

from launch import reproduce
from vipjax.runtime import launcher

if __name__ == "__main__":
  print("launch.repeat is now launch.reproduce.", file=sys.stderr)
  launcher.run(reproduce.main, renders=True)
