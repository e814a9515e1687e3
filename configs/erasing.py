"""How near films with the robot erased come to truly robot-free ones, which a simulator can draw.

    python -m launch.erasing --config=configs/erasing.py --workdir=runs/erasing

Hardware: one CPU core. Run time and results: docs/results/erase.md.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.record.hold = 5  # of all tasks alike
  config.evaluate.off_path_episodes = 6  # rollouts of each kind, for what is fine-tuned
  config.erasing = ConfigDict()
  config.erasing.tasks = (
    "window-open", "drawer-open", "door-close", "faucet-close", "button-press-topdown-wall",
  )  # fmt: skip
  config.erasing.robots = ("sawyer", "panda", "jaco")
  # Masks: "motion", what moves; "given", the true ones; "model", drawn from joint angles.
  config.erasing.sources = ("motion", "given", "model")
  config.erasing.encoder = "mini"  # anything that vipjax.load takes
  # The demo is run from twins of these sources, too: "robot-free", which are drawn; "given" (there:
  # where the film and its drawn twin differ); "motion". --config.record.retreat=50 shows in the end
  # what the hand hides.
  config.erasing.finetune = ()
  config.erasing.seeds = (0,)
  config.erasing.policy = False  # whether these runs train a policy
  return config
