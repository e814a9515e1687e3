"""Chooses the library with which MuJoCo renders without a display.

MuJoCo reads `MUJOCO_GL` once, when it is imported, so `configure` has to run before that.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import os

from vipjax.runtime.errors import UserError

# The library of each value of MUJOCO_GL. glfw needs a display, which cannot be checked in advance.
_LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}
# The reason for our choice of MUJOCO_GL; child processes inherit both variables.
_WHY = "VIPJAX_GL_REASON"
_OFF = ("disable", "disabled", "off", "false", "0")
_ADVICE = (
  "on Debian or Ubuntu install it with "
  "`apt-get install libosmesa6 libegl1 libgl1 libglvnd0 libgl1-mesa-dri libgles2`"
)


def can_load(library: str) -> bool:
  """Returns whether a shared library, given by its name for the linker such as "EGL", loads."""
  path = ctypes.util.find_library(library)
  if path is None:
    return False
  try:
    ctypes.CDLL(path)
  except OSError:
    return False
  return True


def has_nvidia_device() -> bool:
  """Returns whether this process sees an NVIDIA GPU."""
  return bool(glob.glob("/dev/nvidia[0-9]*"))


def choose() -> tuple[str, str] | None:
  """Returns the `MUJOCO_GL` that fits this machine and the reason; None without a headless library.

  EGL renders on an NVIDIA GPU. Without a GPU the first choice is OSMesa, which needs no device
  files, and the second is EGL in software.
  """
  nvidia = has_nvidia_device()
  if nvidia and can_load("EGL"):
    return "egl", "this machine has an NVIDIA GPU"
  why = "its NVIDIA GPU cannot be used without libEGL" if nvidia else "no NVIDIA GPU is here"
  if can_load("OSMesa"):
    return "osmesa", why
  if can_load("EGL"):
    return "egl", f"{why} and there is no libOSMesa"
  return None


def configure() -> str | None:
  """Sets `MUJOCO_GL` before MuJoCo is imported, unless the user has set it; never raises.

  It also makes Mesa's software renderer draw on the calling thread (`LP_NUM_THREADS=0`, unless
  set): at small frame sizes its threads cost more than they gain, and parallel environments are
  processes already.

  Returns:
    The value of `MUJOCO_GL`, in lower case; None if no library was found. The variable then stays
    unset: physics works, and `require` reports why rendering does not.
  """
  os.environ.setdefault("LP_NUM_THREADS", "0")
  chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
  if not chosen:
    choice = choose()
    if choice is None:
      return None
    chosen, os.environ[_WHY] = choice
    os.environ["MUJOCO_GL"] = chosen
  return chosen


def draws_on_gpu() -> bool:
  """Returns whether MuJoCo renders on an NVIDIA GPU; call it after `configure`."""
  return os.environ.get("MUJOCO_GL", "").strip().lower() == "egl" and has_nvidia_device()


def explain() -> str:
  """Returns one line that names the renderer and the reason; call it after `configure`."""
  chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
  why = os.environ.get(_WHY, "the environment variable MUJOCO_GL says so")
  return f"drawing frames with {_LIBRARIES.get(chosen, chosen)}: {why}"


def require() -> str:
  """Calls `configure` for code that is about to render, and checks that rendering works.

  Returns:
    The value of `MUJOCO_GL`.

  Raises:
    UserError: no headless library loads, the user's choice does not load, or `MUJOCO_GL` switches
      rendering off.
  """
  chosen = configure()
  if chosen is None:
    raise UserError(
      "expected a headless GL library to render frames, OSMesa or EGL, got none that can be "
      f"loaded; {_ADVICE}."
    )
  if chosen in _OFF:
    raise UserError(
      "expected a GL library to render frames, got the environment variable "
      f"MUJOCO_GL={chosen}, which switches rendering off; unset it."
    )
  library = _LIBRARIES.get(chosen)
  if library is not None and not can_load(library):
    raise UserError(
      f"expected the library lib{library}, as the environment variable MUJOCO_GL={chosen} says, "
      f"got none that can be loaded; unset the variable to use another, or {_ADVICE}."
    )
  return chosen
