"""Fine-tuning a value function on a few videos of one task."""

from vipjax.finetune.contrast import Contrast
from vipjax.finetune.devices import step_devices, steps_per_dispatch
from vipjax.finetune.settings import (
  IntentSettings,
  ProgressSettings,
  Settings,
  TccSettings,
  check_cycles,
  check_head,
)
from vipjax.finetune.step import (
  TrainState,
  frames_per_step,
  init_state,
  make_train_step,
  scan_steps,
  with_state,
)

__all__ = [
  "Contrast",
  "IntentSettings",
  "ProgressSettings",
  "Settings",
  "TccSettings",
  "TrainState",
  "check_cycles",
  "check_head",
  "frames_per_step",
  "init_state",
  "make_train_step",
  "scan_steps",
  "step_devices",
  "steps_per_dispatch",
  "with_state",
]
