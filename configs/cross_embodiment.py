"""Three arms at one window: is a value learnt from some arms' videos of use to another?

    python -m launch.cross_embodiment --config=configs/cross_embodiment.py --workdir=runs/cross

Each arm is filmed once. For every choice of one or two arms to learn from and another to judge on:
fine-tuning on their videos, then curves, alignment and object attention on the other arm's expert
episodes, and a policy of that arm where config.cross.policies asks for one.

Hardware: 2 CPU cores, nothing downloaded but the arms. Run time: not measured yet; it is 108
fine-tunings like the demo's and three of its policies. Resumes by itself.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  # The reward's goals are the other arms' last frames.
  config.expect = ConfigDict()
  config.evaluate.attention_episodes = 2

  config.cross = ConfigDict()
  config.cross.arms = ("sawyer", "panda", "jaco")
  config.cross.seeds = (0, 1, 2)  # of fine-tuning; the videos are the same
  config.cross.tcc = (True, False)  # with config.finetune.tcc.weight as above, and with 0
  config.cross.robot_free = (True, False)  # learning also from videos without the robot, and not
  # Arms for which a policy is trained, on what the two others' videos taught with the first of
  # each choice above.
  config.cross.policies = ("sawyer", "panda", "jaco")
  return config
