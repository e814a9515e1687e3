"""Fine-tuning a value function on a few videos of one task."""

from vipjax.finetune.run import finetune, load_videos, make_encoder, make_settings
from vipjax.finetune.step import Settings, TccSettings, TrainState, init_state, make_train_step

__all__ = [
  "Settings",
  "TccSettings",
  "TrainState",
  "finetune",
  "init_state",
  "load_videos",
  "make_encoder",
  "make_settings",
  "make_train_step",
]
