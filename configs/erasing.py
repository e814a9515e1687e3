"""How near films with the robot erased come to truly robot-free ones, which a simulator can draw.

    python -m launch.erasing --config=configs/erasing.py --workdir=runs/erasing

Hardware: one CPU core. Run time and results: docs/results/erase.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.record = ConfigDict()
  config.record.size = 128  # pixels
  config.record.frame_stride = 2  # control steps of 12.5 ms from frame to frame
  config.record.hold = 5  # steps filmed after success
  config.erasing = ConfigDict()
  config.erasing.tasks = (
    "window-open", "drawer-open", "door-close", "faucet-close", "button-press-topdown-wall",
  )  # fmt: skip
  config.erasing.robots = ("sawyer", "panda", "jaco")
  # Masks: "motion", what moves; "given", the true ones; "model", drawn from joint angles.
  config.erasing.sources = ("motion", "given", "model")
  config.erasing.encoder = "mini"  # anything that vipjax.load takes
  return config
