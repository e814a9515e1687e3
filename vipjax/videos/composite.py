"""Composites: the robot of one moment over the scene of another, from a film and its twin.

In an expert's film each pose of the arm goes with one state of the object, so that nothing in it
tells which of the two a distance should measure. A film and its robot-free twin (the same episode
and view, frame by frame) differ where the robot is, or its shadow; so the arm of one moment can be
pasted over the object of another, and films made that tell the two apart:

* *fixed arm*: the arm stays in one pose while the object goes through all its states;
* *detour*: the arm goes into a late pose while the object stays, returns, and then moves the object
  as the expert does. That pose beside an untouched object is then farther from the goal in time
  than the start of the motion is.

The robot-free twins of composites are frames of the twin. What composites cannot show: light and
shadow that the arm of one moment would throw on the object of another, and an object in front of
the arm; both are as they were in the arm's moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.videos.lazy import LazyVideo

# Pixels of a compressed film that differ by more levels show something else. With it the
# composites of films at the crf of `write_video` are off by 1.5 to 1.8 levels in the mean, as those
# films themselves are (1.6 to 1.8); with 0, by up to 4.5. Without loss 0 is off by less than .1.
THRESHOLD = 12
# The object has moved once more than this share of all pixels that its motion changes have changed.
_MOVED = 0.05


def differing(one: np.ndarray, other: np.ndarray, threshold: int = 0) -> np.ndarray:
  """Where two films differ, bool [T, H, W]: of a film and its twin, the robot and its shadow.

  Args:
    one: uint8 [T, H, W, 3].
    other: uint8 [T, H, W, 3], or [1, H, W, 3].
    threshold: greatest difference of levels, in any colour, that is none. 0 is exact for frames
      without loss. Above 0 the mask is cleaned: a pixel is what five of the nine around it are.
  """
  masks = (np.maximum(one, other) - np.minimum(one, other)).max(axis=-1) > threshold
  if not threshold:
    return masks
  height, width = masks.shape[1:]
  padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.uint8)
  around = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
  return around >= 5


def first_motion(robot_free: np.ndarray, threshold: int = THRESHOLD) -> int:
  """The last frame of a film, uint8 [T, H, W, 3], before its object moves; see `differing`.

  Raises:
    UserError: nothing moves in it.
  """
  # Against the second: of a compressed film the first may be kept without loss.
  changed = differing(robot_free[1:], robot_free[1:2], threshold).sum(axis=(1, 2))
  if not changed.any():
    raise UserError(
      "expected an object that moves in the robot-free videos for config.finetune.composites, got "
      "one that stands still; set the counts of composites to 0."
    )
  return int(np.argmax(changed > _MOVED * changed.max()))


def fixed_arm(length: int, moves: int, pose: int) -> tuple[np.ndarray, np.ndarray]:
  """Moments of the robot and of the scene, int64 [N] each: one pose, the object from `moves` on."""
  scene = np.arange(moves, length)
  return np.full(len(scene), pose), scene


def detour(length: int, moves: int, pose: int) -> tuple[np.ndarray, np.ndarray]:
  """Moments of the robot and of the scene: to `pose` with the object as at `moves`, back, and on.

  Args:
    length: T, frames of the film.
    moves: the last one before the object moves.
    pose: from `moves` to T - 1, where the robot turns.

  Returns:
    int64 [T + 2 (pose - moves)] each.
  """
  away = np.arange(moves + 1, pose + 1)
  back = away[::-1] - 1
  stays = np.full(2 * len(away), moves)
  before, after = np.arange(moves + 1), np.arange(moves + 1, length)
  return np.concatenate([before, away, back, after]), np.concatenate([before, stays, after])


class CompositeVideo(LazyVideo):
  """A film of the robot at some moments of a film over the scene at others, made when indexed."""

  def __init__(
    self,
    plain: LazyVideo,
    robot_free: LazyVideo,
    robot: np.ndarray,
    scene: np.ndarray,
    name: str,
    threshold: int = THRESHOLD,
  ):
    """Decodes nothing yet.

    Args:
      plain: the film with the robot.
      robot_free: its twin.
      robot: int64 [N], the moment of the robot in each frame.
      scene: int64 [N], the moment of everything else.
      name: what the film shows, added to the name of `plain` in messages.
      threshold: see `differing`.
    """
    source = f"{plain.metadata['source']}, {name}"
    super().__init__({**plain.metadata, "fps": plain.fps, "source": source})
    self.length = len(robot)
    self._films, self._moments, self._threshold = (plain, robot_free), (robot, scene), threshold

  def decode(self, positions: Sequence[int]) -> Iterator[np.ndarray]:
    plain, free = self._films
    robot, scene = (moments[list(positions)] for moments in self._moments)
    with_robot, without = plain[robot], free[np.concatenate([robot, scene])]
    behind, other = np.split(without, 2)
    masks = differing(with_robot, behind, self._threshold)
    # The true frame, where it is one.
    masks |= (robot == scene)[:, None, None]
    yield from np.where(masks[..., None], with_robot, other)


def composite_videos(
  videos: Sequence[LazyVideo], fixed_arms: int, detours: int, threshold: int = THRESHOLD
) -> list[LazyVideo]:
  """Films made of each film that does not fail and its robot-free twin.

  It decodes the twins, to see when their objects begin to move.

  Args:
    videos: films and their twins, which share the episode, the view and the task.
    fixed_arms: films of a fixed arm from each, in poses spread evenly over it, the last included.
    detours: detours from each, whose turns are spread evenly over the object's motion, the last
      pose included.
    threshold: see `differing`.

  Returns:
    Of each film its fixed arms, then its detours; the same for the same videos. Moments that occur
    twice in a short film give fewer.

  Raises:
    UserError: no films with the robot, or one whose twin is missing, doubled, of another length, or
      without motion.
  """
  made: list[LazyVideo] = []
  chosen = [video for video in videos if video.metadata.get("success") is not False]
  for video, twin in films_with_twins(chosen, "config.finetune.composites"):
    moves, length = first_motion(twin[:], threshold), len(video)
    for kind, count, first in (("fixed arm", fixed_arms, 0), ("detour", detours, moves)):
      track = fixed_arm if kind == "fixed arm" else detour
      poses = np.linspace(first, length - 1, count + 1).astype(int)[1:]
      made += [
        CompositeVideo(
          video, twin, *track(length, moves, pose), f"{kind} of frame {pose}", threshold
        )
        for pose in dict.fromkeys(poses.tolist())
      ]
  return made


def films_with_twins(
  videos: Sequence[LazyVideo], needed_by: str
) -> list[tuple[LazyVideo, LazyVideo]]:
  """Each film with the robot, and its robot-free twin.

  Args:
    videos: films and their twins, which share the episode, the view and the task.
    needed_by: the part of a config that asks for twins, for messages.

  Raises:
    UserError: no films with the robot, or one whose twin is missing, doubled or of another length.
  """
  plain = [video for video in videos if video.metadata.get("robot_visible") is not False]
  if not plain:
    raise UserError(
      f"expected a video with the robot for {needed_by}, got none; add one, or do without this key."
    )
  return [(video, _twin(video, videos, needed_by)) for video in plain]


def _twin(video: LazyVideo, videos: Sequence[LazyVideo], needed_by: str) -> LazyVideo:
  """The robot-free film of the same episode; raises UserError unless there is exactly one."""

  def shown(each: LazyVideo) -> tuple:
    return tuple(each.metadata.get(name) for name in ("task", "episode", "view"))

  alike = [each for each in videos if shown(each) == shown(video)]
  free = [each for each in alike if each.metadata.get("robot_visible") is False]
  if len(alike) != 2 or len(free) != 1:
    raise UserError(
      "expected one video with and one without the robot of each episode and view for "
      f"{needed_by}, got {len(alike) - len(free)} and {len(free)} like {video.metadata['source']}; "
      "record with record.robot_free=True, number your episodes, or do without this key."
    )
  if len(free[0]) != len(video):
    raise UserError(
      f"expected as many frames with the robot as without for {needed_by}, got {len(video)} in "
      f"{video.metadata['source']} and {len(free[0])} in its twin; film both at once, or do "
      "without this key."
    )
  return free[0]
