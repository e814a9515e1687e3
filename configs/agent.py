"""What agents are compared at, side by side with those of other packages: some of the ten tasks.

    python -m launch.benchmark agent --out=docs/results/benchmark

It is configs/ceiling.py with three tasks, by torques, on the ideal potential. Other tasks:
--config.ceiling.tasks="('door-close',)". Hardware: CPU. Run time: hours; docs/results/agents.md.
"""

from ml_collections import ConfigDict

from configs import ceiling


def get_config() -> ConfigDict:
  config = ceiling.get_config()
  config.ceiling.rewards = ("ideal",)
  config.ceiling.controls = ("torque",)
  config.ceiling.tasks = ("window-open", "drawer-open", "door-open")
  return config
