"""Settings of the reward, and how it is paid from potentials."""

from __future__ import annotations

import dataclasses

import numpy as np

from vipjax.encoder import REDUCTIONS
from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError, require_among

FORMS = ("difference", "discounted", "value", "progress")
NORMALIZATIONS = ("none", "first_frame")
POTENTIALS = ("goal", "path", "subgoal")
DRAWN, PREDICTED = ROBOT_FREE = "drawn", "predicted"


@dataclasses.dataclass(frozen=True)
class RewardSettings:
  """Settings of the reward; the defaults are those of configs/paper.py.

  Attributes:
    form: "difference" V' - V (published); "discounted" gamma V' - V, which leaves the optimal
      policy of any other reward unchanged (Ng et al. 1999); "value" V'; "progress" the weighted
      sum over the channels of F(o, o'), the signed progress that the encoder's head sees from one
      frame to the next (`encoder.progress.signed_progress`). From the first frame of a video to its
      last it pays each channel about 1, as "difference" does with `normalize="first_frame"`;
      standing still pays 0.
    discount: gamma of "discounted".
    scale: fixed factor of the reward; its effect depends on the entropy temperature.
    normalize: "first_frame" divides each channel's distance by that of the first frame of its
      goal's video, which gives channels equal weight whatever the range of their distances;
      "none" is published.
    goal_reduction: with several goal frames, distance to their "mean" embedding or the "nearest".
    potential: "goal", minus the distances to the goal (published), "path", along the films, or
      "subgoal", the channels with the robot by the films' next move of the object; for the latter
      two `normalize` is "first_frame". From a film's first frame to its last each rises by the sum
      of the channels' weights.
    path_distance_weight: how much the distance from the path counts beside the way along it, in
      units of the first frame's distance to the goal, at least 0.
    path_temperature: of the soft nearest neighbour, in the same units, above 0.
    subgoal_move: how far the frame without the robot has to go for the object to have moved on, in
      the same units, above 0.
    subgoal_rest: how far the frame without the robot may be from a film's last one once the object
      has arrived, in the same units, above 0; the rest of the film is no way to go.
    subgoal_temperature: of the soft nearest neighbour among the frames without the robot, in the
      same units, above 0.
    saturation: s > 0, in units of the distance as `normalize` leaves it: half of the greatest
      potential is reached at s; 0 is published, without bound.
    robot_free: what a channel without the robot sees: a picture "drawn" without it; or the one with
      it, by encoders that have learnt to embed it as if the robot were not there, "predicted".
  """

  form: str = "difference"
  discount: float = 0.99
  scale: float = 1.0
  normalize: str = "none"
  goal_reduction: str = "mean"
  saturation: float = 0.0
  potential: str = "goal"
  path_distance_weight: float = 1.5
  path_temperature: float = 0.1
  subgoal_move: float = 0.05
  subgoal_rest: float = 0.01
  subgoal_temperature: float = 0.01
  robot_free: str = DRAWN

  def __post_init__(self):
    require_among("reward form", self.form, FORMS)
    require_among("reward normalize", self.normalize, NORMALIZATIONS)
    require_among("reward goal_reduction", self.goal_reduction, REDUCTIONS)
    require_among("reward potential", self.potential, POTENTIALS)
    require_among("reward robot_free", self.robot_free, ROBOT_FREE)
    if not (np.isfinite(self.scale) and self.scale > 0):
      raise UserError(f"expected a reward scale above 0, got {self.scale}; change it.")
    ranges.check("policy", {"discount": self.discount})
    names = (
      "saturation", "path_distance_weight", "path_temperature", "subgoal_move",
      "subgoal_rest", "subgoal_temperature",
    )  # fmt: skip
    ranges.check("reward", {name: getattr(self, name) for name in names})
    if self.potential != "goal" and self.normalize != "first_frame":
      raise UserError(
        f"expected reward normalize 'first_frame' with the potential {self.potential!r}, whose "
        f"distances are in units of the first frame's, got {self.normalize!r}; set it."
      )

  def pay(self, potential: np.ndarray, next_potential: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps, from the potentials before and after.

    Where there are only potentials, "progress" is their difference.
    """
    if self.form == "value":
      change = next_potential
    elif self.form == "discounted":
      change = self.discount * next_potential - potential
    else:
      change = next_potential - potential
    return (self.scale * change).astype(np.float32)

  def pay_progress(self, progress: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the rewards of N steps, from the weighted sums of their progress."""
    return (self.scale * progress).astype(np.float32)
