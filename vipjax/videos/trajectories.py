"""Episodes with actions, states and rewards, in and out of other people's formats."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from vipjax.runtime.errors import UserError, require_among
from vipjax.types import Trajectory
from vipjax.videos.export import whole_folder
from vipjax.videos.formats import lerobot, rlds
from vipjax.videos.formats.episodes import Episode, by_episode
from vipjax.videos.lazy import LazyVideo
from vipjax.videos.read import open_videos

FORMATS = {"tfds": rlds.write_tfds, "lerobot": lerobot.write_lerobot}


def write_trajectories(
  folder: str | os.PathLike[str],
  trajectories: Sequence[Trajectory],
  form: str,
  *,
  overwrite: bool = False,
) -> pathlib.Path:
  """Writes trajectories as a data set, which `read_trajectories` and `read_videos` read again.

  Both formats have a row for each of the T + 1 frames. No step begins at the last one: it repeats
  the action before, with a reward of 0 and the discount before. Names are, in RLDS,
  `observation/state`, `observation/<view>`, `action`, `reward`, `discount`; in LeRobot
  `observation.state`, `observation.images.<view>`, `action`, `next.reward`, `next.discount`,
  `next.done`, `next.success`.

  Args:
    folder: appears under its name only when it is whole.
    trajectories: at least one, with frames; those of one episode from several views share the rest.
    form: "tfds" (RLDS in array_record) or "lerobot" (v3.0; its films are compressed).
    overwrite: whether a folder that is there may be replaced.

  Returns:
    The folder.

  Raises:
    UserError: another form, no trajectories, some without frames or with arrays that do not fit one
      another, a folder that is there, or as `write_dataset`.
  """
  require_among("a format", form, FORMATS)
  if not trajectories:
    raise UserError(f"expected at least one trajectory for {folder}, got none; record some.")
  for trajectory in trajectories:
    check_trajectory(trajectory)
  videos = [each.video() for each in trajectories]
  of_video = {id(video): each for video, each in zip(videos, trajectories, strict=True)}
  episodes = [
    Episode(each.number, each.cameras, _padded(of_video[id(each.first)]))
    for each in by_episode(videos)
  ]
  folder = pathlib.Path(folder).expanduser()
  with whole_folder(folder, overwrite) as partial:
    FORMATS[form](partial, episodes)
  return folder


def read_trajectories(
  path: str | os.PathLike[str], view: str | None = None
) -> Iterator[Trajectory]:
  """Yields the trajectories of a data set with actions: TFDS (RLDS) or LeRobot, as `read_videos`.

  The last of T + 1 steps has no successor: its action is left out, and a reward there, as data sets
  of Open X-Embodiment have it, counts for the step that leads to it. Without discounts an episode
  ends for good where it is known to end in success.

  Args:
    path: as `read_videos` takes it.
    view: the camera, where there are several.

  Raises:
    UserError: as `read_videos`; several cameras, or no actions, states or rewards; a single step.
  """
  videos = open_videos(path, view=view)
  _steps(videos[0], path)
  cameras = sorted({f"{each.metadata.get('view')}" for each in videos})
  twice = len({each.metadata.get("episode") for each in videos}) < len(videos)
  if twice or len(cameras) > 1:
    raise UserError(
      f"expected one camera in {path}, got several ({', '.join(cameras)}); name one of them as the "
      "view."
    )
  for video in videos:
    yield _trajectory(video, path)


def check_trajectory(trajectory: Trajectory) -> None:
  """Raises UserError unless the arrays have frames and fit one another."""
  steps, name = len(trajectory), trajectory.source or "the trajectory"
  if trajectory.frames is None:
    raise UserError(f"expected frames in {name}, got none; film it.")
  lengths = {
    "observations": len(trajectory.observations) - 1, "frames": len(trajectory.frames) - 1,
    "rewards": len(trajectory.rewards), "discounts": len(trajectory.discounts),
  }  # fmt: skip
  wrong = [f"{key} for {length}" for key, length in lengths.items() if length != steps]
  if wrong or steps < 1:
    raise UserError(
      f"expected arrays of at least one step in {name}, got {steps} actions and "
      f"{', '.join(wrong) or 'nothing else'}; bring them to one length."
    )


def _padded(trajectory: Trajectory) -> dict[str, np.ndarray]:
  """A row of numbers for each frame."""
  last = np.zeros(1, np.float32)
  return {
    "state": trajectory.observations,
    "action": np.concatenate([trajectory.actions, trajectory.actions[-1:]]),
    "reward": np.concatenate([trajectory.rewards, last]),
    "discount": np.concatenate([trajectory.discounts, trajectory.discounts[-1:]]),
  }


def _steps(video: LazyVideo, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """The numbers of a video's steps; raises UserError where it has no actions, states or rewards."""
  steps = video.steps()
  missing = [name for name in ("state", "action", "reward") if name not in steps]
  if missing:
    raise UserError(
      f"expected a state, an action and a reward in each step of {path}, got none of "
      f"{', '.join(missing)}; give a data set of robot actions, such as launch.record "
      "--config=configs/robot_data.py writes."
    )
  return steps


def _trajectory(video: LazyVideo, path: str | os.PathLike[str]) -> Trajectory:
  steps, source, read = _steps(video, path), video.metadata["source"], video.read()
  if len(read.frames) < 2 or any(len(column) != len(read.frames) for column in steps.values()):
    raise UserError(
      f"expected at least two steps, with as many pictures, in {source}, got {len(read.frames)} "
      f"pictures and {len(steps['action'])} steps; leave the episode out."
    )
  rewards = steps["reward"][:-1].copy()
  rewards[-1] += steps["reward"][-1]
  if "discount" in steps:
    discounts = steps["discount"][:-1]
  else:
    discounts = np.ones_like(rewards)
    discounts[-1] = 0.0 if read.success else 1.0
  return Trajectory.of_video(read, steps["state"], steps["action"][:-1], rewards, discounts)
