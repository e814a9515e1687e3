"""The pictures of any MuJoCo environment of Gymnasium, with and without its robot."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import gymnasium
import mujoco
import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.scene.parts import geoms_of, hidden

# Where environments keep the model that they draw: ours; Gymnasium's and gymnasium-robotics';
# robosuite's; dm_control's in Shimmy's shell.
_PLACES = ("drawn_model", "model", "sim.model", "physics.model")
# Where robosuite and dm_control keep MuJoCo's model within their own.
_WITHIN = ("_model", "ptr")


class RobotFreeView:
  """Draws an environment with and without its robot, by the environment's own `render`."""

  def __init__(self, env: gymnasium.Env, robot: str | Sequence[str]):
    """Finds the robot.

    Args:
      env: an environment with a MuJoCo model and render_mode "rgb_array".
      robot: the name of the body that is its root, or several names of bodies, which stand for
        their subtrees, and of geoms.

    Raises:
      UserError: another render_mode, no model, or no body or geom of a name.
    """
    check_render_mode(env.render_mode)
    self._env = env
    self._names = [robot] if isinstance(robot, str) else list(robot)
    self._model, self._robot = None, None
    self._find()

  def frames(self) -> np.ndarray:
    """Draws the present state.

    Neither picture shows the sites, such as the dots that mark where a goal is.

    Returns:
      uint8 [2, H, W, 3]: with and without the robot.
    """
    model = self._find()
    with hidden(model, sites=True):
      plain = drawn(self._env)
      with hidden(model, self._robot):
        return np.stack([plain, drawn(self._env)])

  def _find(self) -> mujoco.MjModel:
    # robosuite makes another model in some resets.
    model = _drawn_model(self._env)
    if model is not self._model:
      self._model, self._robot = model, geoms_of(model, self._names)
    return model


def _drawn_model(env: gymnasium.Env) -> mujoco.MjModel:
  for place in _PLACES:
    try:
      found = operator.attrgetter(place)(env.unwrapped)
    except AttributeError:
      continue
    for each in (found, *(getattr(found, name, None) for name in _WITHIN)):
      if isinstance(each, mujoco.MjModel):
        return each
  raise UserError(
    "expected an environment with a MuJoCo model, as the attribute model, sim.model or "
    f"physics.model, got {env.unwrapped!r}; leave out robot."
  )


def drawn(env: gymnasium.Env) -> np.ndarray:
  """Returns what an environment's `render` draws, uint8 [H, W, 3].

  Raises:
    UserError: it draws anything else.
  """
  # Gymnasium's MuJoCo environments draw in the OpenGL context that happens to be current: another
  # environment's, or none after one was closed.
  viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
  if viewer is not None:
    viewer.make_context_current()
  return rendered(env.render())


def rendered(frame: object) -> np.ndarray:
  """Returns a result of `render` as uint8 [H, W, 3]; raises UserError for anything else."""
  return check_frames(frame, "the result of render()", "[H, W, 3]")


def check_render_mode(mode: str | None) -> None:
  """Raises UserError for another render_mode than "rgb_array"."""
  if mode != "rgb_array":
    raise UserError(
      f"expected an environment with render_mode='rgb_array', got {mode!r}; pass it to "
      "gymnasium.make."
    )
