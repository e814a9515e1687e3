"""When and on what the encoder learns beside the policy, and how many frames that takes."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class OnlineSettings:
  """When and on what the encoder goes on learning; the defaults are those of configs/paper.py.

  Attributes:
    every: environment steps from one training to the next; 0 is never, as published.
    steps: updates in each training, at least 1.
    learning_rate: Adam's, of all layers, > 0.
    clips: clips of the agent's latest episodes in each batch of the VIP loss; 0 for none.
    recent: how many latest episodes these clips come from, and are looked through beside those of
      the highest reward; at least 1.
    best: how many of the agent's episodes join the task's videos at most: those nearest to the goal
      with the robot and without it, see `own_episodes.judge`; 0 for none.
    contrast: weight of the contrast of goals against the agent's own states that only look like
      them (`losses.contrast_loss`); 0 for none.
    frames_mb: MiB of the file of frames. The replay remembers only transitions whose frames it has.

  Raises:
    UserError: one of them is out of its range, or the agent's episodes would not be used at all.
  """

  every: int = 0
  steps: int = 50
  learning_rate: float = 1e-4
  clips: int = 8
  recent: int = 9
  best: int = 2
  contrast: float = 0.0
  frames_mb: int = 4096

  def __post_init__(self):
    ranges.check("policy.online", vars(self))
    if self.every and not self.clips + self.best + self.contrast:
      raise UserError(
        "expected the agent's own episodes in online training, got config.policy.online.clips, "
        "best and contrast of 0; set one of them, or config.policy.online.every to 0."
      )

  @property
  def episodes(self) -> int:
    """How many finished episodes a training needs."""
    return max(self.recent if self.clips or self.contrast else 0, self.best)


class FrameBudget(NamedTuple):
  """How much the file of frames holds.

  Attributes:
    steps: steps of all environments together, with every frame of theirs.
    rows: rows of frames that those steps take.
    spare: further rows, for going on from a checkpoint; see `FrameReplay`.
  """

  steps: int
  rows: int
  spare: int


def plan_frame_budget(
  online: OnlineSettings,
  row_shape: tuple[int, ...],
  horizon: int,
  replay: int,
  run: int,
  since_checkpoint: int,
) -> FrameBudget:
  """How many steps and rows the file holds, within config.policy.online.frames_mb.

  Args:
    online: gives the file's size and the episodes that it must hold.
    row_shape: [N, C, H, W, 3].
    horizon: steps in an episode.
    replay: capacity of the replay, transitions.
    run: environment steps of the whole run.
    since_checkpoint: environment steps that a run may repeat after an interruption.

  Raises:
    UserError: the file, the replay or the run is too small for the episodes.
  """
  num_envs, row_bytes = row_shape[0], int(np.prod(row_shape))
  # An environment that diverges begins anew alone: its reset is a row for itself.
  rows_per_step = 1 + min(1.0, num_envs / horizon)

  def rows_of(transitions: int) -> int:
    return math.ceil(-(-transitions // num_envs) * rows_per_step) + 1

  # One episode more of each environment: the oldest is not whole.
  wanted = (-(-online.episodes // num_envs) + 1) * horizon * num_envs
  kept = min(replay, run)
  if kept < wanted:
    raise UserError(
      f"expected config.policy.steps and replay_capacity of at least {wanted} for "
      f"{online.episodes} of the policy's own episodes, got {kept}; raise them, or lower "
      "config.policy.online.recent and best."
    )
  fits, asked = online.frames_mb * 2**20 // row_bytes, rows_of(kept)
  whole = replay >= run and asked <= fits
  spare = 0 if whole else rows_of(since_checkpoint)  # what is never overwritten needs none
  rows = min(asked, fits - spare)
  if rows < rows_of(wanted):
    need = min(rows_of(wanted) + rows_of(since_checkpoint), rows_of(run)) * row_bytes
    raise UserError(
      f"expected config.policy.online.frames_mb of at least {-(-need // 2**20)} for "
      f"{online.episodes} episodes and for going on after an interruption, got {online.frames_mb}; "
      "raise it, or lower config.policy.checkpoint_every."
    )
  return FrameBudget(min(int((rows - 1) / rows_per_step), -(-kept // num_envs)), rows, spare)
