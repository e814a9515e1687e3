"""How good a value function is: distance curves of videos and their statistics."""

from vipjax.evaluation.curves import (
  DistanceCurve,
  curve_of_distances,
  distance_curve,
  distance_curves,
  off_path_correlation,
  summary,
  video_name,
  video_names,
)
from vipjax.evaluation.run import evaluate
from vipjax.evaluation.statistics import (
  falling_fraction,
  largest_rise,
  normalise,
  rank_correlation,
  spearman,
)

__all__ = [
  "DistanceCurve",
  "curve_of_distances",
  "distance_curve",
  "distance_curves",
  "evaluate",
  "falling_fraction",
  "largest_rise",
  "normalise",
  "off_path_correlation",
  "rank_correlation",
  "spearman",
  "summary",
  "video_name",
  "video_names",
]
