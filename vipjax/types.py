"""The shapes that rooms hand to one another."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Video:
  """One episode seen from one viewpoint.

  Attributes:
    frames: uint8 [T, H, W, 3], RGB, upright, T >= 1.
    fps: frames per second of episode time (> 0); of a variable rate the mean.
    task: name of the task, such as "window-open"; None when unknown.
    embodiment: "sawyer", "panda", "jaco", "human", ...; None when unknown.
    view: name of the viewpoint; None when unknown.
    robot_visible: False when the robot was rendered with its alpha at 0; None when unknown.
    success: whether the episode ended in success; None when unknown.
    source: where it came from (file path, dataset and episode), for messages and reports.
    episode: which episode it shows; views and robot-free copies of one episode share it.
    times: float64 [T], when each frame is shown, in s from the first; None where frames follow one
      another at the fps.
  """

  frames: np.ndarray
  fps: float = 10.0
  task: str | None = None
  embodiment: str | None = None
  view: str | None = None
  robot_visible: bool | None = None
  success: bool | None = None
  source: str = ""
  episode: int | None = None
  times: np.ndarray | None = None

  @property
  def seconds(self) -> np.ndarray:
    """float64 [T], when each frame is shown, in s from the first."""
    return np.arange(len(self.frames)) / self.fps if self.times is None else self.times

  def first(self, count: int) -> Video:
    """The video that ends after `count` frames; `fps` stays that of the whole."""
    times = None if self.times is None else self.times[:count]
    return dataclasses.replace(self, frames=self.frames[:count], times=times)

  def metadata(self) -> dict[str, Any]:
    """Everything but the frames and their times, as JSON-able values."""
    names = (field.name for field in dataclasses.fields(self))
    return {name: getattr(self, name) for name in names if name not in ("frames", "times")}


@dataclasses.dataclass(frozen=True)
class Trajectory:
  """One episode with what was done in it: T steps between T + 1 observations, T >= 1.

  Attributes:
    observations: float32 [T + 1, O].
    actions: float32 [T, A], as they were commanded.
    rewards: float32 [T], of the step from observation t to t + 1.
    discounts: float32 [T], 0 where a step ended the episode for good, 1 elsewhere (a time limit is
      1).
    success: whether the episode ended in success; None when unknown.
    frames: uint8 [T + 1, H, W, 3], as in `Video`; None where nothing was filmed.
    fps: observations per second (> 0).
    task, embodiment, view, source, episode: as in `Video`.
  """

  observations: np.ndarray
  actions: np.ndarray
  rewards: np.ndarray
  discounts: np.ndarray
  success: bool | None = None
  frames: np.ndarray | None = None
  fps: float = 10.0
  task: str | None = None
  embodiment: str | None = None
  view: str | None = None
  source: str = ""
  episode: int | None = None

  def __len__(self) -> int:
    return len(self.actions)

  @classmethod
  def of_video(cls, video: Video, *arrays: np.ndarray) -> Trajectory:
    """Returns what a video shows with observations, actions, rewards and discounts, in order."""
    return cls(*arrays, **{name: getattr(video, name) for name in cls._shown()})

  def video(self) -> Video:
    """Returns its frames, and what a video knows of them."""
    return Video(**{name: getattr(self, name) for name in self._shown()})

  @classmethod
  def _shown(cls) -> list[str]:
    of_video = {field.name for field in dataclasses.fields(Video)}
    return [field.name for field in dataclasses.fields(cls) if field.name in of_video]


class VideoSet(NamedTuple):
  """Videos of different lengths in one padded array (a pytree; lives on the device).

  Attributes:
    frames: uint8 [N, T_max, H, W, 3]; past its length a video repeats its last frame.
    lengths: int32 [N], number of true frames of each video.
  """

  frames: Any
  lengths: Any


class Transition(NamedTuple):
  """What the agent learns from; leaves have a leading batch (or capacity) axis.

  Attributes:
    observation: float32 [..., O].
    action: float32 [..., A], each in [-1, 1].
    reward: float32 [...].
    discount: float32 [...], 0 where the episode terminated, 1 elsewhere (a time limit is 1).
    next_observation: float32 [..., O], taken before any automatic reset.
  """

  observation: Any
  action: Any
  reward: Any
  discount: Any
  next_observation: Any
