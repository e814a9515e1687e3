"""The demo's policy with all environments on one GPU, by MuJoCo Warp (docs/warp.md).

    python -m launch.film_warp --config=configs/warp.py --workdir=runs/warp
    python -m launch.finetune --config=configs/warp.py --workdir=runs/warp
    python -m launch.train_policy --config=configs/warp.py --workdir=runs/warp

Presets: `configs/warp.py:9` (the default, nine environments as published) and
`configs/warp.py:1024`. Hardware: one GPU. No run time is known: nothing of it has run on one.
"""

from ml_collections import ConfigDict

from configs import demo
from vipjax.runtime.errors import UserError


def get_config(preset: str = "9") -> ConfigDict:
  if preset not in ("9", "1024"):
    raise UserError(f"expected the preset '9' or '1024', got {preset!r}; choose one of these.")
  config = demo.get_config()
  policy = config.policy
  policy.backend = "warp"
  policy.scene = "scenes/window-open"
  if preset == "1024":
    # By arithmetic, not by measurement: with nine environments a transition is learnt from 85 times
    # (three updates of 256 for nine transitions); here 96 times, by updates that fill a GPU. Steps
    # of all environments are fewer than a hundredth as many, so it may take more of them.
    policy.num_envs = 1024
    policy.batch_size = 2048
    policy.updates_per_step = 48
    policy.learning_rate = 6e-4
    policy.warmup_steps = 20 * 1024
    policy.steps = 2_000_000
    policy.eval_every = 100_000
    policy.checkpoint_every = 500_000
  return config
