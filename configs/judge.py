"""Judges encoders on tasks unseen in training: zero-shot curves, off-path correlations, hack price.

    python -m launch.judge --config=configs/judge.py --workdir=runs/judge

Hardware: 2 CPU cores. Run time and numbers: docs/results/mini.md. For other encoders, also later:
--config.judge.encoders="('mini', 'random', 'runs/demo')".
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  # One view at every task, the window too, so that they compare.
  config.policy.views = ("front",)
  config.judge = ConfigDict()
  # Held out of configs/pretrain.py, each with a control under which the scripted expert succeeds.
  config.judge.tasks = (
    ("window-open", "torque"),
    ("window-close", "torque"),
    ("drawer-close", "torque"),
    ("button-press-wall", "end_effector"),
    ("faucet-close", "torque"),
    ("plate-slide-back", "end_effector"),
    ("handle-pull-side", "end_effector"),
  )
  config.judge.encoders = ("mini", "random")  # "random", or anything that vipjax.load takes
  config.evaluate.unseen_episodes = 6  # expert episodes of each task, with other placements
  config.evaluate.off_path_episodes = 6  # rollouts of each kind
  return config
