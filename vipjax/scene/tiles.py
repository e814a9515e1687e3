"""Draws many states of a scene, from several viewpoints each, with one context and one read-back.

A GPU takes turns between the contexts of processes, so that more processes draw no more pictures
than one, and for a small picture it waits more than it draws. One process that draws all pictures
side by side in one buffer keeps it busy (docs/results/gpu.md has the rates). MuJoCo's Python
binding reads pixels into the host's memory at once: it has no pixel buffers, whose transfer would
go on while the next pictures are drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import mujoco
import numpy as np

from vipjax.scene.rendering import ROTATED_CAMERAS, DrawnScene, View, drawn_state
from vipjax.scene.robots import Robot

# Pixels; every OpenGL implementation that MuJoCo runs on has buffers of this height.
_TALLEST = 8192
_MAX_GEOMS = 10_000  # as in mujoco.Renderer


def state_size(model: mujoco.MjModel) -> int:
  """The length of `state_vector`."""
  return sum(array.size for array in drawn_state(model, mujoco.MjData(model)))


def state_vector(model: mujoco.MjModel, data: mujoco.MjData, out: np.ndarray) -> None:
  """Writes the part of a physics model's state that a picture shows into float64 [state_size]."""
  np.concatenate([array.ravel() for array in drawn_state(model, data)], out=out)


class TileRenderer(DrawnScene, contextlib.AbstractContextManager):
  """Draws states of a scene into tiles of one buffer, offscreen.

  Holds an OpenGL context of the calling thread: close it, or use it as a context manager.
  """

  def __init__(
    self, spec: mujoco.MjSpec, robot: Robot, size: int, quality: str = "fast", pictures: int = 1
  ):
    """Compiles the drawing model.

    Args:
      spec, robot, size, quality: as for `DrawnScene`, with its errors.
      pictures: how many there are at a time, usually. More are drawn in several turns, and so are
        those that do not fit a buffer.
    """
    self._tiles = max(1, min(pictures, _TALLEST // max(size, 1)))
    super().__init__(spec, robot, size, quality, self._tiles)
    arrays = drawn_state(self.model, self._data)
    self._shapes = [array.shape for array in arrays]
    self._ends = np.cumsum([array.size for array in arrays])[:-1]
    self._scene = mujoco.MjvScene(self.model, maxgeom=_MAX_GEOMS)
    self._gl = mujoco.GLContext(size, self._tiles * size)
    self._gl.make_current()
    self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
    self._pixels = np.empty((self._tiles, size, size, 3), np.uint8)

  def render(
    self,
    states: Iterable[np.ndarray],
    pictures: Sequence[tuple[View, bool]],
    outs: Iterable[np.ndarray],
  ) -> None:
    """Draws the same pictures of each state.

    Args:
      states: of `state_vector`, float64 [state_size] each.
      pictures: of each state the viewpoint, and whether the robot is visible.
      outs: for each state uint8 [pictures, size, size, 3], which gets RGB frames, upright, as
        `SceneRenderer.render` draws them.

    Raises:
      UserError: the scene has no camera of that name.
    """
    self._gl.make_current()  # of several in a process
    drawn: list[tuple[np.ndarray, View]] = []
    for state, frames in zip(states, outs, strict=True):
      parts = np.split(state, self._ends)
      self._synchronise(map(np.reshape, parts, self._shapes))
      for (view, robot_visible), frame in zip(pictures, frames, strict=True):
        if len(drawn) == self._tiles:
          self._read(drawn)
          drawn = []
        self._show(self._scene, view, robot_visible)
        tile = mujoco.MjrRect(0, len(drawn) * self.size, self.size, self.size)
        mujoco.mjr_render(tile, self._scene, self._context)
        drawn.append((frame, view))
    self._read(drawn)

  def close(self) -> None:
    """Frees the OpenGL context; further calls do nothing."""
    if self._gl is not None:
      self._gl.make_current()
      self._context.free()
      self._gl.free()
      self._gl = None

  def __exit__(self, *unused) -> None:
    self.close()

  def _read(self, drawn: Sequence[tuple[np.ndarray, View]]) -> None:
    """Reads the first tiles back and gives each frame its own, the right way up."""
    if not drawn:
      return
    pixels = self._pixels[: len(drawn)].reshape(-1, self.size, 3)
    rect = mujoco.MjrRect(0, 0, self.size, len(pixels))
    mujoco.mjr_readPixels(pixels, None, rect, self._context)
    for (frame, view), tile in zip(drawn, self._pixels, strict=False):
      # The lowest row comes first.
      frame[...] = tile[:, ::-1] if view.camera in ROTATED_CAMERAS else tile[::-1]
