"""What LeRobot does to a batch before the model: a batch axis, the device. Colours stay."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
  AddBatchDimensionProcessorStep,
  DeviceProcessorStep,
  PolicyProcessorPipeline,
  policy_action_to_transition,
)
from lerobot.utils.constants import (
  POLICY_POSTPROCESSOR_DEFAULT_NAME,
  POLICY_PREPROCESSOR_DEFAULT_NAME,
)

from lerobot_policy_vipjax.configuration_vipjax import VipjaxConfig


def make_vipjax_pre_post_processors(
  config: VipjaxConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
  """Returns the pipelines before and after the model; LeRobot finds this function by its name.

  Args:
    config: the model's.
    dataset_stats: not used, for the encoder's own preprocessing is in the model.
  """
  del dataset_stats
  before = PolicyProcessorPipeline(
    steps=[AddBatchDimensionProcessorStep(), DeviceProcessorStep(device=config.device or "cpu")],
    name=POLICY_PREPROCESSOR_DEFAULT_NAME,
  )
  after = PolicyProcessorPipeline(
    steps=[],
    name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
    to_transition=policy_action_to_transition,
  )
  return before, after
