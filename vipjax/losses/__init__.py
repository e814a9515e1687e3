"""Losses: functions of embeddings or of their logits alone, no model and no config."""

from vipjax.losses.contrast import contrast_loss
from vipjax.losses.distillation import distillation_loss
from vipjax.losses.expectile import expectile_loss
from vipjax.losses.icvf import icvf_loss
from vipjax.losses.progress import progress_loss
from vipjax.losses.tcc import cycle_index_error, tcc_loss
from vipjax.losses.triplet import triplet_loss
from vipjax.losses.vip import vip_errors, vip_loss

__all__ = [
  "contrast_loss",
  "cycle_index_error",
  "distillation_loss",
  "expectile_loss",
  "icvf_loss",
  "progress_loss",
  "tcc_loss",
  "triplet_loss",
  "vip_errors",
  "vip_loss",
]
