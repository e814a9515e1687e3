"""Runs scripted experts on Meta-World's 50 tasks with each arm; physics only, no rendering.

    python -m launch.tasks --config=configs/tasks.py --workdir=runs/tasks

Hardware: CPU, all cores. Run time and results: docs/results/tasks.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.tasks = ConfigDict()
  config.tasks.names = ()  # Meta-World tasks; (): all
  config.tasks.robots = ("sawyer", "panda", "jaco")
  config.tasks.controls = ("torque", "end_effector")
  config.tasks.episodes = 20  # of each task, with random placements
  config.tasks.horizon = 500  # control steps, Meta-World's own
  return config
