"""Three arms at one window: is a value learnt from some arms' videos of use to another?

    python -m launch.cross_embodiment --config=configs/cross_embodiment.py --workdir=runs/cross
    python -m launch.cross_embodiment --config=configs/cross_embodiment.py:quick

Each arm is filmed once. For every choice of one or two arms to learn from and another to judge on:
fine-tuning on their videos, then curves, alignment and object attention on the other arm's expert
episodes; in the end a policy for each arm of config.cross.policies.

Hardware: 2 CPU cores, nothing downloaded but the arms. It is 72 fine-tunings of twice the demo's
steps, 24 to a seed, 108 cells and six policies; `quick` has an eighth of the steps at half the
batch. Run time and results: docs/results/cross_embodiment.md. Resumes by itself; a whole matrix is
drawn after each seed, so it may be stopped there.
"""

from ml_collections import ConfigDict

from configs import demo
from vipjax.runtime.errors import UserError


def get_config(preset: str = "") -> ConfigDict:
  if preset not in ("", "quick"):
    raise UserError(f"expected no preset of cross_embodiment.py or 'quick', got {preset!r}.")
  config = demo.get_config()
  # The reward's goals are the other arms' last frames.
  config.expect = ConfigDict()
  config.finetune.steps = 1200
  config.policy.steps = 30_000
  config.evaluate.attention_episodes = 1
  if preset:
    config.finetune.steps = 150
    config.finetune.batch_size = 8
    config.evaluate.unseen_episodes = 4

  config.cross = ConfigDict()
  config.cross.arms = ("sawyer", "panda", "jaco")
  config.cross.seeds = (0, 1, 2)  # of fine-tuning; the videos are the same
  config.cross.tcc = (True, False)  # with config.finetune.tcc.weight as above, and with 0
  config.cross.robot_free = (True, False)  # learning also from videos without the robot, and not
  # Arms for which policies are trained, on what the two others' videos taught with the first seed
  # and the first choice of TCC: one with and one without videos without the robot.
  config.cross.policies = ("sawyer", "panda", "jaco")
  return config
