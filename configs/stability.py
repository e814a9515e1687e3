"""Every arm under the wildest torques: all +1, all -1, bang-bang, random signs, uniform.

    python -m launch.stability --config=configs/stability.py --workdir=runs/stability

Hardware: one CPU core, some minutes; nothing is drawn. Results: docs/results/tasks.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.stability = ConfigDict()
  config.stability.robots = ("sawyer", "panda", "jaco")
  config.stability.steps = 10_000  # of each motion, 80 a second, without a reset
  return config
