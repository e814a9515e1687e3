"""The price of the expert's last pose, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.encoder import goal_distances
from vipjax.envs import PutBack
from vipjax.evaluation.hack_price import compare_worth, discounted_worth, measure_hack_price
from vipjax.reward import RewardSettings
from vipjax.reward.channels import Channels
from vipjax.runtime.errors import UserError
from vipjax.scene import View


class Level:
  """Embeds a frame as the level of its first pixel's first two colours."""

  distances = staticmethod(goal_distances)

  def embed(self, frames):
    return np.asarray(frames, np.float32)[:, 0, 0, :2]


def pictures(*levels):
  """Frames of (red, green) levels: the first, the last, the last with the object back."""
  frames = np.zeros((3, 2, 2, 3), np.uint8)
  frames[..., :2] = np.array(levels)[:, None, None]
  return frames


def episode(front, side, front_free, side_free):
  frames = {
    ("front", True): pictures(*front), ("front", False): pictures(*front_free),
    ("side", True): pictures(*side), ("side", False): pictures(*side_free),
  }  # fmt: skip
  return PutBack(frames, True, 60, 0.5, 0.0)


# Arm in red, object in green. Distances to the goal, first and put back, in each picture:
EPISODES = [
  # 50 and 10; 100 and 40; 40 and 40; 20 and 20.
  episode(
    [(30, 40), (0, 0), (0, 10)], [(60, 80), (0, 0), (0, 40)],
    [(0, 40), (0, 0), (0, 40)], [(0, 20), (0, 0), (0, 20)],
  ),
  # 5 and 3; 10 and 1; 3 and 3; 1 and 1.
  episode(
    [(4, 3), (0, 0), (0, 3)], [(10, 0), (0, 0), (1, 0)],
    [(0, 3), (0, 0), (0, 3)], [(0, 1), (0, 0), (0, 1)],
  ),
]  # fmt: skip
VIEWS = {"front": View(), "side": View(azimuth=10.0)}


def test_prices_by_hand():
  made = measure_hack_price(Level(), EPISODES, Channels({"front": View()}))
  assert made.means == pytest.approx({
    "hack_price": (0.2 + 0.4 + 0.6 + 0.1) / 4,
    "hack_price_robot_free": 1.0,
    "hack_price_reward": (0.2 + 0.6) / 2,
  })  # fmt: skip
  assert made.record["views"] == pytest.approx(
    {"front": 0.4, "front, robot-free": 1.0, "side": 0.25, "side, robot-free": 1.0}
  )
  assert made.record["episodes"][1] == pytest.approx(
    {"front": 0.6, "front, robot-free": 1.0, "side": 0.1, "side, robot-free": 1.0, "reward": 0.6}
  )
  assert made.record["hack_price"] == made.means["hack_price"]


@pytest.mark.parametrize(
  ("views", "weights", "normalize", "prices"),
  [
    # Distances add up: (10 + 2 * 40) / (50 + 2 * 40), and so on.
    (("front",), (1.0, 2.0), "none", (90 / 130, (3 + 6) / (5 + 6))),
    # Each channel as a share of its own first distance.
    (("front",), (1.0, 2.0), "first_frame", ((0.2 + 2) / 3, (0.6 + 2) / 3)),
    (("front", "side"), (1.0, 0.0), "none", (50 / 150, 4 / 15)),
    (("front", "side"), (1.0, 0.0), "first_frame", (0.3, 0.35)),
    (("side",), (0.0, 2.0), "none", (1.0, 1.0)),
  ],
)
def test_what_the_reward_pays(views, weights, normalize, prices):
  channels = Channels({name: VIEWS[name] for name in views}, "", *weights)
  settings = RewardSettings(normalize=normalize)
  made = measure_hack_price(Level(), EPISODES, channels, settings)
  assert made.means["hack_price_reward"] == pytest.approx(np.mean(prices))
  assert [each["reward"] for each in made.record["episodes"]] == pytest.approx(prices)


class Green(Level):
  """Sees the second colour alone, as factor x level + more."""

  def __init__(self, factor, more):
    self.factor, self.more = factor, more

  def embed(self, frames):
    return super().embed(frames) * [0, self.factor] + [0, self.more]


def test_what_is_predicted_is_paid_by_the_one_that_sees_least_done():
  channels, settings = Channels({"front": View()}, "", 1.0, 2.0), RewardSettings()
  seen = [Green(1, 0), Green(0.5, 15)]
  made = measure_hack_price(Level(), EPISODES, channels, settings, seen)
  # Of plain levels 40 and 10 the distances are 40, 10 and 35, 20; of 3 and 3 they are 3 and 16.5.
  prices = (10 + 2 * 20) / (50 + 2 * 40), (3 + 2 * 16.5) / (5 + 2 * 16.5)
  assert [each["reward"] for each in made.record["episodes"]] == pytest.approx(prices)
  assert made.means["hack_price_robot_free"] == 1.0


def test_frames_that_do_not_differ_have_no_price():
  still = [episode(*([[(1, 1)] * 3] * 4))]
  assert measure_hack_price(Level(), still, Channels(VIEWS)).means["hack_price"] == 0.0
  with pytest.raises(UserError, match="at least one episode"):
    measure_hack_price(Level(), [], Channels(VIEWS))


def test_worth_by_hand():
  # Half of the way, then .4 of .8: the price is .2.
  assert discounted_worth(0.2, 2, 5, 0.5) == pytest.approx(0.4 + 0.5 * 0.4)
  assert discounted_worth(0.2, 2, 5, 1.0) == pytest.approx(0.8)
  # The episode ends half way.
  assert discounted_worth(0.0, 4, 2, 0.5) == pytest.approx(0.25 + 0.5 * 0.25)
  # gamma V' - V adds up to gamma^T V_T - V_0, whatever lies between.
  for actions in (1, 3):
    worth = discounted_worth(0.2, actions, 5, 0.9, "discounted")
    assert worth == pytest.approx(1 - 0.9**5 * 0.2)
  assert discounted_worth(0.2, 1, 3, 0.5, "value") == pytest.approx(-0.2 * (1 + 0.5 + 0.25))


@pytest.mark.parametrize(
  ("discount", "pose", "solved"), [(0.97, 0.888, 0.850), (0.99, 0.933, 0.947), (0.997, 0.95, 0.984)]
)
def test_a_discount_can_make_the_pose_worth_more(discount, pose, solved):
  # A price of .043, reached in 6 actions, against a success after 12.
  made = compare_worth(0.043, 36, 0.5, 3, 66, discount)
  assert (made["pose_after"], made["success_after"]) == (6, 12)
  assert made["worth_pose"] == pytest.approx(pose, abs=5e-4)
  assert made["worth_solved"] == pytest.approx(solved, abs=5e-4)
  assert made["pose_pays_more"] == (pose > solved)
  within = made["pose_pays_more_within"]
  worth = [discounted_worth(0.043, actions, 66, discount) for actions in range(1, 13)]
  pays = [each > made["worth_solved"] for each in worth]
  assert pays == [within is not None and actions <= within for actions in range(1, 13)]


def test_a_pose_that_is_worth_little_never_pays_more():
  assert compare_worth(0.6, 36, 0.5, 3, 66, 0.97)["pose_pays_more_within"] is None


def test_worth_of_nothing():
  with pytest.raises(UserError, match="at least 1 action"):
    discounted_worth(0.1, 0, 5, 0.9)
  with pytest.raises(UserError, match="difference, discounted, value, progress, got 'sum'"):
    discounted_worth(0.1, 1, 5, 0.9, "sum")
