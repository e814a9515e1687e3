"""Fine-tuning a value function on a few videos of one task."""

from vipjax.finetune.pretrain import pretrain, record_stages
from vipjax.finetune.run import (
  check_cycles,
  finetune,
  load_videos,
  make_encoder,
  make_settings,
  step_devices,
  steps_per_dispatch,
  with_state,
)
from vipjax.finetune.settings import Settings, TccSettings
from vipjax.finetune.step import (
  TrainState,
  frames_per_step,
  init_state,
  make_train_step,
  repeat,
)

__all__ = [
  "Settings",
  "TccSettings",
  "TrainState",
  "check_cycles",
  "finetune",
  "frames_per_step",
  "init_state",
  "load_videos",
  "make_encoder",
  "make_settings",
  "make_train_step",
  "pretrain",
  "record_stages",
  "repeat",
  "step_devices",
  "steps_per_dispatch",
  "with_state",
]
