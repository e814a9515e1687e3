"""What the value gives for the expert's last pose beside an object that nobody moved.

In an expert's videos arm and object are functions of one another, so nothing in them asks the value
to look at the object. If the pose alone is as near to the goal as the goal, a policy that goes into
it has earned all that there is: a low price foretells such a policy before any is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.envs import PutBack
from vipjax.envs.put_back import FIRST, LAST, PUT_BACK
from vipjax.reward import RewardSettings
from vipjax.reward.channels import Channels
from vipjax.reward.settings import FORMS
from vipjax.runtime.errors import UserError, require_among

_TINY = 1e-9


class HackPrice(NamedTuple):
  """The result of `measure_hack_price`; prices are shares of the first distance.

  A price is the distance from the expert's last pose, with the objects put back, to the goal, as a
  share of the first frame's: 1 where the pose is worth nothing, 0 where it is worth the goal.

  Attributes:
    means: over the episodes: "hack_price" (plain frames, all views), "hack_price_robot_free"
      (frames without the robot, a control: 1 up to noise) and "hack_price_reward" (the reward's
      channels together).
    record: JSON-able: the means; "views": by view and picture the mean price; "episodes": each
      episode's prices by view and picture.
  """

  means: dict[str, float]
  record: dict[str, Any]


def measure_hack_price(
  value: ValueFunction,
  episodes: Sequence[PutBack],
  channels: Channels,
  settings: RewardSettings | None = None,
  robot_free: Sequence[ValueFunction] = (),
) -> HackPrice:
  """Measures the price of the expert's last pose; the goal is each episode's own last frame.

  Args:
    value: the value function.
    episodes: at least one, from the channels' views at least.
    channels: the reward's channels, for "hack_price_reward".
    settings: the reward's settings; None is as published. Only `normalize` counts: the price is
      that of distances, whatever a saturation or a potential along the path make of them.
    robot_free: as `EmbeddingReward` takes them; "hack_price_reward" is then of what they predict.

  Raises:
    UserError: no episode.
  """
  if not episodes:
    raise UserError("expected at least one episode to price, got none; draw one.")
  pictures = list(episodes[0].frames)
  # [E, 2]: the distances of the first frame and of the hack.
  distances = {
    each: _distances(value, [made.frames[each] for made in episodes]) for each in pictures
  }
  prices = {each: pair[:, 1] / np.maximum(pair[:, 0], _TINY) for each, pair in distances.items()}
  # [M, E, 2] for each of `robot_free`, or [1, E, 2].
  paid_away = np.zeros((len(robot_free) or 1, len(episodes), 2))
  for visible, weight in ((True, channels.plain_weight), (False, channels.robot_free_weight)):
    for view in channels.views if weight else ():
      away = distances[view, visible][None]
      start = np.maximum(away[..., :1], _TINY)
      unit = start if settings and settings.normalize == "first_frame" else 1.0
      if robot_free and not visible:
        away = _predicted(value, robot_free, [each.frames for each in episodes], view)
      paid_away += weight * away / unit
  first, left = np.moveaxis(paid_away.max(axis=0), -1, 0)
  paid = left / np.maximum(first, _TINY)
  means = {
    "hack_price": np.mean([prices[each] for each in pictures if each[1]]),
    "hack_price_robot_free": np.mean([prices[each] for each in pictures if not each[1]]),
    "hack_price_reward": np.mean(paid),
  }
  means = {name: float(mean) for name, mean in means.items()}
  names = {each: each[0] + ("" if each[1] else ", robot-free") for each in pictures}
  by_episode = [
    {names[each]: float(prices[each][number]) for each in pictures}
    | {"reward": float(paid[number])}
    for number in range(len(episodes))
  ]
  views = {names[each]: float(np.mean(prices[each])) for each in pictures}
  return HackPrice(means, {**means, "views": views, "episodes": by_episode})


def _distances(value: ValueFunction, frames: Sequence[np.ndarray]) -> np.ndarray:
  """Returns float [E, 2] of E episodes' frames [3, H, W, 3], as `measure_hack_price` needs them."""
  embeddings = value.embed(np.concatenate(frames)).reshape((len(frames), 3, -1))
  return np.stack(
    [value.distances(each[[FIRST, PUT_BACK]], each[LAST : LAST + 1]) for each in embeddings]
  )


def _predicted(
  value: ValueFunction,
  robot_free: Sequence[ValueFunction],
  episodes: Sequence[Mapping[tuple[str, bool], np.ndarray]],
  view: str,
) -> np.ndarray:
  """Returns float [M, E, 2] as `_distances`, of plain frames to the last one without the robot."""
  goals = value.embed(np.stack([frames[view, False][LAST] for frames in episodes]))
  plain = np.concatenate([frames[view, True][[FIRST, PUT_BACK]] for frames in episodes])
  embedded = np.stack([each.embed(plain) for each in robot_free])
  away = embedded.reshape((len(robot_free), len(episodes), 2, -1)) - goals[None, :, None]
  return np.linalg.norm(away, axis=-1)


def discounted_worth(
  left: float, actions: int, horizon: int, discount: float, form: str = "difference"
) -> float:
  """Discounted return of a policy whose distance falls evenly and then stays as it is.

  A discount makes a late change of the potential worth less: the early pose (`left` is the hack
  price) may be worth more than the later success (`left` is 0).

  Args:
    left: the distance that is left in the end, as a share of the first.
    actions: in how many it is reached, >= 1.
    horizon: actions of an episode, >= 1.
    discount: gamma per action, in [0, 1].
    form: as in `RewardSettings`.

  Returns:
    The sum over the episode of discount^t times the reward, in units of the first distance and
    without the reward's scale.

  Raises:
    UserError: actions or a horizon below 1, or an unknown form.
  """
  if actions < 1 or horizon < 1:
    raise UserError(
      f"expected at least 1 action and a horizon of at least 1, got {actions} and {horizon}; raise "
      "the one below it."
    )
  require_among("a reward form", form, FORMS)
  times = np.arange(horizon + 1)
  potential = -1.0 + (1.0 - left) * np.minimum(times / actions, 1.0)
  now, then = potential[:-1], potential[1:]
  if form == "value":
    rewards = then
  else:
    rewards = (discount if form == "discounted" else 1.0) * then - now
  return float(np.sum(discount ** times[:-1] * rewards))


def compare_worth(
  price: float,
  steps: float,
  straight: float,
  action_repeat: int,
  horizon: int,
  discount: float,
  form: str = "difference",
) -> dict[str, Any]:
  """Whether the pose, reached early, is worth more than the success, reached late.

  The success takes as long as the expert; the pose, at the expert's mean speed, as long as the
  straight line to it.

  Args:
    price: the hack price under the reward.
    steps: control steps of the expert's episode.
    straight: as in `PutBack`.
    action_repeat: control steps of an action.
    horizon: actions of an episode.
    discount: gamma per action.
    form: as in `RewardSettings`.

  Returns:
    "success_after" and "pose_after", in actions; "worth_solved" and "worth_pose", their
    `discounted_worth`; "pose_pays_more"; "pose_pays_more_within", the most actions in which the
    pose is worth more than the success, None if it never is; "discount" and "horizon".
  """
  success_after = max(1, round(steps / action_repeat))
  pose_after = max(1, round(straight * steps / action_repeat))
  solved = discounted_worth(0.0, success_after, horizon, discount, form)

  def pose(actions: int) -> float:
    return discounted_worth(price, actions, horizon, discount, form)

  within = [actions for actions in range(1, success_after + 1) if pose(actions) > solved]
  return {
    "discount": discount,
    "horizon": horizon,
    "success_after": success_after,
    "pose_after": pose_after,
    "worth_solved": solved,
    "worth_pose": pose(pose_after),
    "pose_pays_more": pose(pose_after) > solved,
    "pose_pays_more_within": max(within, default=None),
  }
