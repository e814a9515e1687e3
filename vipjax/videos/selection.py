"""Which of the videos at a path are wanted."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vipjax.runtime.errors import UserError

# Ends the name of a camera whose frames were drawn without the robot.
ROBOT_FREE = "_robot_free"

_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Selection:
  """What a video has to be; None asks for nothing. An unknown value fits no demand.

  Attributes:
    view: the camera's name; the long name that a data set has for it ends in it. With
      "_robot_free" at its end, the camera's copies without the robot alone.
    episodes: numbers of episodes.
    task: the task's name or text.
    success: how the episode ended.
  """

  view: str | None = None
  episodes: Sequence[int] | None = None
  task: str | None = None
  success: bool | None = None

  def wants_episode(self, episode: int | None) -> bool:
    """Whether an episode may be wanted, from its number alone."""
    return self.episodes is None or episode in self.episodes

  def wants_view(self, view: str | None) -> bool:
    """Whether a camera is wanted, or its copies without the robot are."""
    if self.view is None or view == self.view:
      return True
    name = self.view.removesuffix(ROBOT_FREE)
    return view is not None and (view == name or name.endswith((f".{view}", f"/{view}")))

  def keeps(self, metadata: Mapping[str, Any]) -> bool:
    """Whether a video of these metadata is wanted."""
    view = metadata.get("view")
    copies = self.view is not None and self.view.endswith(ROBOT_FREE) and view != self.view
    return (
      self.wants_view(view)
      and (not copies or metadata.get("robot_visible") is False)
      and self.wants_episode(metadata.get("episode"))
      and (self.task is None or metadata.get("task") == self.task)
      and (self.success is None or metadata.get("success") is self.success)
    )

  def nothing_found(self, path: pathlib.Path, found: Sequence[Mapping[str, Any]]) -> UserError:
    """The error for a selection that leaves none of the videos that there are."""
    wanted = ", ".join(
      f"{field.name}={getattr(self, field.name)!r}"
      for field in dataclasses.fields(self)
      if getattr(self, field.name) is not None
    )
    there = [
      f"{name} ({_listed(metadata.get(name) for metadata in found)})"
      for name in ("view", "episode", "task", "success")
    ]
    return UserError(
      f"expected a video with {wanted} in {path}, got {len(found)} with {', '.join(there)}; choose "
      "among these."
    )


def _listed(values) -> str:
  different = list(dict.fromkeys("unknown" if value is None else str(value) for value in values))
  more = len(different) - _SHOWN
  return ", ".join(different[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
