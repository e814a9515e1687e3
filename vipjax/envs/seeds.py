"""Seeds of episodes: each purpose has a stream of its own, and streams do not overlap."""

from __future__ import annotations

import enum

import numpy as np

from vipjax.runtime.errors import UserError


class Stream(enum.IntEnum):
  """Purposes of episodes. The numbers are part of every run's randomness and never change."""

  RECORDED = 0
  BACKGROUND = 1
  UNSEEN = 2
  TRAINING = 3
  EVALUATION = 4
  FINAL = 5
  OFF_PATH = 6
  ROBOTS = 7


def episode_seed(stream: Stream, run_seed: int, number: int = 0) -> int:
  """Returns the seed of an episode, or of the first of several consecutive seeds.

  Args:
    stream: what the episode is for.
    run_seed: config.seed, at least 0.
    number: which episode of the stream, at least 0.

  Returns:
    A hash of the three arguments, 48 bits: whichever seeds people choose, two streams overlap with
    a probability of 10^-10 or less.

  Raises:
    UserError: a negative run_seed.
  """
  if run_seed < 0:
    raise UserError(f"expected config.seed of at least 0, got {run_seed}; raise it.")
  state = np.random.SeedSequence([run_seed, int(stream), number]).generate_state(1, np.uint64)
  return int(state[0] >> np.uint64(16))
