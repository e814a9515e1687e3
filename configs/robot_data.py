"""Robot data with actions: the pretraining corpus's episodes under torque, played once more.

    python -m launch.record --config=configs/robot_data.py --workdir=runs/robot_data

Writes runs/robot_data/robot/<task>/tfds (RLDS, for `tfds.builder_from_directory`) and .../lerobot
(v3.0): of every control step a picture, the state, the action, the reward, the discount and whether
the episode succeeds. Failures are kept. Hardware: CPU, all cores. What the numbers mean:
`vipjax.envs.robot_state`, docs/formats.md.
"""

from ml_collections import ConfigDict

from configs import pretrain


def get_config() -> ConfigDict:
  config = pretrain.get_config()
  del config.pretrain
  # One camera for all tasks, far enough that the arm stays in the picture.
  front = {"camera": "", "lookat": (0.0, 0.68, 0.15), "azimuth": 140.0, "elevation": -35.0}
  config.views = ConfigDict({"front": {**front, "distance": 1.35}})
  # Under torque an action is one control step: held for three, the expert takes 212 steps for a
  # window instead of 83.
  config.corpus.controls = ("torque",)

  config.robot_data = ConfigDict()
  # (): the tasks that the torque expert solves and that are not held out (docs/results/tasks.md).
  config.robot_data.tasks = ()
  config.robot_data.formats = ("tfds", "lerobot")
  config.robot_data.joint_noise = 0.05  # radians, on the arm at reset; the corpus's
  config.robot_data.placement = -1  # seed of the one placement of the objects; -1: anew each time
  return config
