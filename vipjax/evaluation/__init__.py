"""Measures of a value function: curves, alignment, attention, and states off the expert's path."""

from vipjax.evaluation.alignment import align, alignment_tau, nearest_frames
from vipjax.evaluation.attention import Attention, agreement, attention, occlusion
from vipjax.evaluation.curves import (
  DistanceCurve,
  distance_curve,
  distance_curves,
  make_curve,
  video_name,
  video_names,
)
from vipjax.evaluation.direction import direction, measure_direction
from vipjax.evaluation.grad_cam import fine_stage, grad_cam, network_view, overlay
from vipjax.evaluation.groups import measure_groups
from vipjax.evaluation.hack_price import (
  HackPrice,
  compare_worth,
  discounted_worth,
  measure_hack_price,
)
from vipjax.evaluation.measure_attention import measure_attention
from vipjax.evaluation.measure_off_path import OffPath, measure_off_path
from vipjax.evaluation.off_path import States, correlations, reward_hacks
from vipjax.evaluation.statistics import (
  bootstrap_interval,
  falling_fraction,
  kendall,
  kendall_correlation,
  largest_rise,
  rank_correlation,
  smoothness,
  spearman,
)

__all__ = [
  "Attention",
  "DistanceCurve",
  "HackPrice",
  "OffPath",
  "States",
  "agreement",
  "align",
  "alignment_tau",
  "attention",
  "bootstrap_interval",
  "compare_worth",
  "correlations",
  "direction",
  "discounted_worth",
  "distance_curve",
  "distance_curves",
  "falling_fraction",
  "fine_stage",
  "grad_cam",
  "kendall",
  "kendall_correlation",
  "largest_rise",
  "make_curve",
  "measure_groups",
  "measure_attention",
  "measure_direction",
  "measure_hack_price",
  "measure_off_path",
  "nearest_frames",
  "network_view",
  "occlusion",
  "overlay",
  "rank_correlation",
  "reward_hacks",
  "smoothness",
  "spearman",
  "video_name",
  "video_names",
]
