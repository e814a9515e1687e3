"""How good a value function is: curves, alignment, attention, and what lies off the path."""

from vipjax.evaluation.alignment import align, alignment_tau, cycle_errors, nearest_frames
from vipjax.evaluation.curves import (
  DistanceCurve,
  distance_curve,
  distance_curves,
  make_curve,
  off_path_correlation,
  summary,
  video_name,
  video_names,
)
from vipjax.evaluation.grad_cam import enlarge, fine_stage, grad_cam, network_view, overlay
from vipjax.evaluation.run import evaluate
from vipjax.evaluation.statistics import (
  falling_fraction,
  kendall,
  kendall_correlation,
  largest_rise,
  normalise,
  rank_correlation,
  smoothness,
  spearman,
)

__all__ = [
  "DistanceCurve",
  "align",
  "alignment_tau",
  "cycle_errors",
  "distance_curve",
  "distance_curves",
  "enlarge",
  "evaluate",
  "falling_fraction",
  "fine_stage",
  "grad_cam",
  "kendall",
  "kendall_correlation",
  "largest_rise",
  "make_curve",
  "nearest_frames",
  "network_view",
  "normalise",
  "off_path_correlation",
  "overlay",
  "rank_correlation",
  "smoothness",
  "spearman",
  "summary",
  "video_name",
  "video_names",
]
