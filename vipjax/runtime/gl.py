"""Chooses the library with which MuJoCo renders without a display.

MuJoCo reads `MUJOCO_GL` once, when it is imported, so `configure` has to run before that.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import os

from vipjax.runtime.errors import UserError

# What each value of MUJOCO_GL needs. glfw also needs a display, which only opening one can tell.
_LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}
# Why we chose what MUJOCO_GL says; processes that inherit the one inherit the other.
_WHY = "VIPJAX_GL_REASON"
_OFF = ("disable", "disabled", "off", "false", "0")
_ADVICE = (
  "on Debian or Ubuntu install it with "
  "`apt-get install libosmesa6 libegl1 libgl1 libglvnd0 libgl1-mesa-dri libgles2`"
)


def can_load(library: str) -> bool:
  """Whether the shared library (a name as the linker knows it, such as "EGL") loads here."""
  path = ctypes.util.find_library(library)
  if path is None:
    return False
  try:
    ctypes.CDLL(path)
  except OSError:
    return False
  return True


def has_nvidia_device() -> bool:
  """Whether this machine shows an NVIDIA GPU to this process."""
  return bool(glob.glob("/dev/nvidia[0-9]*"))


def choose() -> tuple[str, str] | None:
  """The value of `MUJOCO_GL` that fits this machine, and why; None without a headless library.

  EGL renders on an NVIDIA GPU. Without one OSMesa comes first, as it needs no device files, and
  EGL in software is second.
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

  Also has Mesa's software renderer draw on the calling thread (`LP_NUM_THREADS=0`, unless set):
  at the small frame sizes used here its threads cost more than they bring, and parallel
  environments are processes already.

  Returns:
    The value of `MUJOCO_GL`, in small letters; None when no library was found, and then nothing
    is set: physics works, and `require` tells why rendering does not.
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


def explain() -> str:
  """What draws the frames and why, in one line; after `configure`."""
  chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
  why = os.environ.get(_WHY, "the environment variable MUJOCO_GL says so")
  return f"drawing frames with {_LIBRARIES.get(chosen, chosen)}: {why}"


def require() -> str:
  """Like `configure`, for code that is about to render.

  Returns:
    The value of `MUJOCO_GL`.

  Raises:
    UserError: no headless library is here, or the one that the user asked for is not, or
      `MUJOCO_GL` switches rendering off.
  """
  chosen = configure()
  if chosen is None:
    raise UserError(
      "MuJoCo needs a headless GL library to render frames, but neither OSMesa nor EGL can be "
      f"loaded: {_ADVICE}."
    )
  if chosen in _OFF:
    raise UserError(
      f"Rendering frames needs a GL library, but the environment variable MUJOCO_GL={chosen} "
      "switches rendering off: unset it."
    )
  library = _LIBRARIES.get(chosen)
  if library is not None and not can_load(library):
    raise UserError(
      f"The environment variable MUJOCO_GL={chosen} asks for the library lib{library}, but it "
      f"cannot be loaded: unset the variable to use another, or {_ADVICE}."
    )
  return chosen
