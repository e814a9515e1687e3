"""Losses: functions of embeddings, logits or values alone, no model and no config."""

from vipjax.losses.conservative import (
  conservative_loss,
  lagrange_penalty,
  monte_carlo_returns,
  td_target,
)
from vipjax.losses.contrast import contrast_loss
from vipjax.losses.distillation import distillation_loss
from vipjax.losses.expectile import expectile_loss
from vipjax.losses.icvf import icvf_loss
from vipjax.losses.progress import progress_loss
from vipjax.losses.robot_free import robot_free_loss
from vipjax.losses.tcc import cycle_index_error, tcc_loss
from vipjax.losses.triplet import triplet_loss
from vipjax.losses.vip import vip_errors, vip_loss

__all__ = [
  "conservative_loss",
  "contrast_loss",
  "cycle_index_error",
  "distillation_loss",
  "expectile_loss",
  "icvf_loss",
  "lagrange_penalty",
  "monte_carlo_returns",
  "progress_loss",
  "robot_free_loss",
  "tcc_loss",
  "td_target",
  "triplet_loss",
  "vip_errors",
  "vip_loss",
]
