"""Which of a policy's own episodes reached the goal, and which only look like it, without labels.

An encoder that values the arm's last pose alone cannot tell by its value a robot that opened the
window from one that mimes it, and there is no success signal. There are the film without the robot,
which no pose can please, and the order of the expert's film:

- `reached`: at one moment the episode gained at least half of what the expert gains, with the robot
  and without, and up to there it passed the moments of the expert's film in their order;
- `failures`: the frames that gained more with the robot than any that the expert shows before the
  object moves, at least half of it, in an episode whose robot-free gain stays below a quarter in
  all of them.

An episode in between is neither. All of it is as good as the encoder's robot-free distance, which
the policy changes through the object alone. Where that film is missing or the expert gains nothing
in it, no episode is called either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vipjax.videos import evenly

# Shares of the expert's own gain. A contrast with a margin of half the first distance (the default
# of `losses.contrast_loss`) takes from a failure what is above the first.
_REACHED, _UNTOUCHED = 0.5, 0.25
# Least order of an episode that reached the goal: three pairs of moments right for one wrong.
_IN_ORDER = 0.5
_MOMENTS = 16  # of the expert's film, for the order and for what the expert gains when


class Expert(NamedTuple):
  """One channel of the expert's films.

  Attributes:
    robot_visible: whether it shows the robot.
    films: embeddings float [T, D] of one or more videos of T >= 2 frames; their last are the goal.
  """

  robot_visible: bool
  films: Sequence[np.ndarray]


class Verdict(NamedTuple):
  """What is to be learnt from an episode of T states.

  Attributes:
    reached: how much it gained at its best moment with the robot and without, the less of the two,
      as a share of the expert's gain; 0 where it did not reach the goal.
    peak: int, that moment.
    plain: float [T], gain with the robot in each state.
    failures: int [F], the states that only look like the goal, from the most valued; often none.
  """

  reached: float
  peak: int
  plain: np.ndarray
  failures: np.ndarray


def judge(episode: Sequence[np.ndarray], experts: Sequence[Expert]) -> Verdict:
  """Judges an episode by all of its channels.

  Args:
    episode: embeddings float [T, D] of each channel.
    experts: the same channels of the expert, with the robot and without.
  """
  kinds = np.array([expert.robot_visible for expert in experts])
  gains = np.array([_gain(*both) for both in zip(episode, experts, strict=True)])
  plain, robot_free = gains[kinds].mean(axis=0), gains[~kinds].mean(axis=0)
  both = np.minimum(plain, robot_free)  # NaN where the expert gains nothing: no comparison holds
  peak = int(np.argmax(both))
  order = np.mean([
    max(in_order(film, frames[: peak + 1]) for film in expert.films)
    for frames, expert in zip(episode, experts, strict=True) if expert.robot_visible
  ])  # fmt: skip
  reached = float(both[peak]) if both[peak] >= _REACHED and order >= _IN_ORDER else 0.0
  valued = np.flatnonzero((plain >= _REACHED) & (plain > _gain_before_contact(experts)))
  untouched = (robot_free[valued] < _UNTOUCHED).all()
  failures = valued[np.argsort(-plain[valued], kind="stable")] if untouched else valued[:0]
  return Verdict(reached, peak, plain, failures)


def in_order(film: np.ndarray, episode: np.ndarray) -> float:
  """How far the states nearest to the moments of a film follow one another as these do.

  Args:
    film: embeddings float [M, D].
    episode: embeddings float [T, D].

  Returns:
    Kendall's tau of the hard nearest neighbours of up to 16 moments, evenly spaced, in [-1, 1]: the
    share of pairs in order less that of pairs the other way round. It is 0 where the episode is
    nearest to all of them at one and the same moment.
  """
  moments = film[evenly(len(film), _MOMENTS)]
  nearest = np.linalg.norm(moments[:, None] - episode[None], axis=-1).argmin(axis=1)
  earlier, later = np.triu_indices(len(moments), 1)
  return float(np.sign(nearest[later] - nearest[earlier]).mean())


def _gain(frames: np.ndarray, expert: Expert) -> np.ndarray:
  """How much nearer to the goal each state is than the first, as a share of the expert's gain."""
  goal = np.mean([film[-1] for film in expert.films], axis=0)

  def gained(embeddings):
    distances = np.linalg.norm(embeddings - goal, axis=-1)
    return distances[0] - distances

  own = np.mean([gained(film)[-1] for film in expert.films])
  return gained(frames) / own if own > 1e-6 else np.full(len(frames), np.nan)


def _gain_before_contact(experts: Sequence[Expert]) -> float:
  """The most that the expert gains with the robot while it has gained next to nothing without."""
  curves = {True: [], False: []}
  for expert in experts:
    for film in expert.films:
      places = np.linspace(0, len(film) - 1, _MOMENTS)
      gain = np.interp(places, np.arange(len(film)), _gain(film, expert))
      curves[expert.robot_visible].append(gain)
  plain, robot_free = (np.mean(curves[visible], axis=0) for visible in (True, False))
  return float(plain[robot_free < _UNTOUCHED].max(initial=0.0))
