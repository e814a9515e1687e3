"""Three arms at one window: tests whether a value learnt from other arms' videos helps an arm.

    python -m launch.cross_embodiment --config=configs/cross_embodiment.py --workdir=runs/cross
    python -m launch.cross_embodiment --config=configs/cross_embodiment.py:quick

Each arm is filmed once. For every choice of one or two arms to learn from and another arm to test:
fine-tuning on their videos, then curves, alignment and object attention on the other arm's expert
episodes; at the end a policy for each arm of config.cross.policies.

Hardware: 2 CPU cores; only the arms are downloaded. It runs 72 fine-tunings of twice the demo's
steps, 24 per seed, 108 cells and six policies; `quick` has an eighth of the steps and half the
batch. Run time and results: docs/results/cross_embodiment.md. It resumes by itself and draws the
whole matrix after each seed.
"""

from ml_collections import ConfigDict

from configs import demo
from vipjax.runtime.errors import UserError


def get_config(preset: str = "") -> ConfigDict:
  if preset not in ("", "quick"):
    raise UserError(f"expected no preset or 'quick', got {preset!r}; choose one of these.")
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
  config.cross.seeds = (0, 1, 2)  # seeds of fine-tuning; the videos are the same
  config.cross.tcc = (True, False)  # with config.finetune.tcc.weight as above, and with 0
  config.cross.robot_free = (True, False)  # with and without robot-free videos
  # Arms that get two policies each, on encoders from the two other arms' videos with the first seed
  # and the first choice of TCC: one trained with and one without robot-free videos.
  config.cross.policies = ("sawyer", "panda", "jaco")
  return config
