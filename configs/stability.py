"""Tests every arm under extreme torques: all +1, all -1, bang-bang, random signs, uniform.

    python -m launch.stability --config=configs/stability.py --workdir=runs/stability

Hardware: one CPU core, some minutes; no rendering. Results: docs/results/tasks.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.stability = ConfigDict()
  config.stability.robots = ("sawyer", "panda", "jaco")
  config.stability.steps = 10_000  # steps of each motion, 80 per second, without a reset
  return config
