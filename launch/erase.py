"""Erases the robot from films of a static camera; needs no config.

    python -m launch.erase --videos=FOLDER_OR_FILE --out=runs/erased

--out gets the films, each with its twin without the robot, as --config.data.path takes them, and a
page with before, mask and after. Masks are of what moves, unless they are given (--masks, --alpha),
drawn from a model (--model, --joints, --camera) or SAM 2's of what is clicked on (--sam2, --click).
"""

from __future__ import annotations

import pathlib
import shlex
import sys
import time

from absl import flags

from vipjax.runtime import launcher
from vipjax.runtime.errors import UserError

_VIDEOS = flags.DEFINE_string("videos", None, "anything that vipjax.read_videos takes")
_OUT = flags.DEFINE_string("out", None, "the folder to write")
_VIEW = flags.DEFINE_string("view", None, "only this camera")
_EPISODES = flags.DEFINE_string("episodes", None, "only these episodes, such as 0,2,5-7")
_TASK = flags.DEFINE_string("task", None, "only episodes of this task")
_STRIDE = flags.DEFINE_integer("frame_stride", 1, "take every n-th frame", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", None, "pixels of the square that frames are fitted to")
_MASKS = flags.DEFINE_string(
  "masks", None, "masks, white where the robot is: anything that vipjax.read_videos takes"
)
_MASKS_VIEW = flags.DEFINE_string(
  "masks_view", None, "the camera, or HDF5 array, of the masks, in --masks or else in --videos"
)
_ALPHA = flags.DEFINE_enum(
  "alpha",
  None,
  ["opaque", "transparent"],
  "which part of the pictures in --masks, or else in --videos, is the robot",
)
_MODEL = flags.DEFINE_string("model", None, "a MuJoCo XML or URDF file of the robot or its scene")
_JOINTS = flags.DEFINE_string(
  "joints",
  "observation.state",
  "with --model: a csv file with a row for each frame, or a column of the LeRobot data set",
)
_JOINT_NAMES = flags.DEFINE_list(
  "joint_names", None, "the model's joint of each column, - for one that is none"
)
_DEGREES = flags.DEFINE_bool("degrees", False, "hinges are in degrees, not radians")
_CAMERA = flags.DEFINE_string(
  "camera", None, "with --model: a camera of the model, or a json file of a calibrated one"
)
_BODY = flags.DEFINE_string("body", None, "with --model: the root of the robot's bodies")
_SAM2 = flags.DEFINE_string(
  "sam2", None, "a folder with encoder.onnx and decoder.onnx of SAM 2; nothing is fetched"
)
_CLICK = flags.DEFINE_multi_string(
  "click", [], "with --sam2: a point on the robot, X,Y or X,Y@FRAME or VIDEO:X,Y@FRAME, in pixels "
  "from the left and the top, numbers from 0; none@FRAME where it has left. May be repeated",
)  # fmt: skip
_CLICK_BESIDE = flags.DEFINE_multi_string(
  "click_beside", [], "with --sam2: a point that is not the robot. May be repeated"
)
_THRESHOLD = flags.DEFINE_integer(
  "threshold", 24, "without masks: levels by which what moves differs from the median picture",
  lower_bound=0, upper_bound=254,
)  # fmt: skip
_GROW = flags.DEFINE_float(
  "grow", None, "pixels by which masks grow (default: 1.5% of the shorter side)", lower_bound=0.0
)
_FEATHER = flags.DEFINE_float(
  "feather", None, "pixels over which they then fade (default: likewise)", lower_bound=0.0
)
_TAIL = flags.DEFINE_float(
  "tail", 0.0, "seconds at the end of each video in which the task is done and the robot leaves: "
  "they show what it hid, and are left out of what is written", lower_bound=0.0,
)  # fmt: skip
_STATIC = flags.DEFINE_bool(
  "static_camera", False, "the camera stands still, whatever the check finds"
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace what an earlier call wrote to --out")
flags.mark_flags_as_required(["videos", "out"])


def main(_):
  from vipjax import videos  # Here, so that --help answers at once.
  from vipjax.report import erased
  from vipjax.runtime.numbers import whole_numbers
  from vipjax.runtime.progress import Progress
  from vipjax.videos.export import whole_folder
  from vipjax.videos.selection import Selection
  from vipjax.videos.twins import shows_robot, write_twins

  started = time.monotonic()
  _check_flags()
  out = pathlib.Path(_OUT.value).expanduser()
  episodes = _EPISODES.value and whole_numbers("--episodes", _EPISODES.value)
  data = videos.local_path(_VIDEOS.value, Selection(episodes=episodes))
  erased.check_out(out, data, _OVERWRITE.value)
  found = videos.open_videos(
    data, view=_VIEW.value, episodes=episodes, task=_TASK.value, frame_stride=_STRIDE.value,
    size=_SIZE.value, cache_bytes=0,
  )  # fmt: skip
  if not _MASKS.value and _MASKS_VIEW.value:
    masks_camera = Selection(view=_MASKS_VIEW.value)
    found = [each for each in found if not masks_camera.keeps(each.metadata)] or found
  found = [video for video in found if shows_robot(video)] or found
  masks_of, masks = _masks(data, found)
  films = []
  with whole_folder(out, _OVERWRITE.value) as folder:
    with Progress(len(found), "erase", unit="video") as progress:
      for twin in write_twins(
        folder, found, masks_of, grow=_GROW.value, feather=_FEATHER.value, tail=_TAIL.value,
        check_camera=not _STATIC.value,
      ):  # fmt: skip
        films.append(erased.shown(twin))
        progress.update()
    facts = {
      "videos": f"{_VIDEOS.value} ({len(films)})",
      "masks": masks,
      "command": shlex.join(["python", "-m", "launch.erase", *sys.argv[1:]]),
    }
    warnings = erased.warnings(films, masks.startswith("motion"), _TAIL.value)
    erased.write_page(folder, films, facts, warnings, time.monotonic() - started)
  for warning in warnings:
    print(f"warning: {warning}", file=sys.stderr)
  print(out / erased.PAGE)


def _check_flags() -> None:
  given = bool(_MASKS.value or _MASKS_VIEW.value or _ALPHA.value)
  if given + bool(_MODEL.value) + bool(_SAM2.value) > 1:
    raise UserError(
      "expected masks, a model or SAM 2, got more than one; leave out --model and --sam2, or else "
      "--masks, --masks_view and --alpha."
    )
  if bool(_SAM2.value) != bool(_CLICK.value) or (_CLICK_BESIDE.value and not _SAM2.value):
    raise UserError(
      "expected --sam2 and --click together, got one alone; name the folder of SAM 2's files and a "
      "point on the robot in the first frame, --click=X,Y."
    )
  if bool(_MODEL.value) != bool(_CAMERA.value):
    given = "--model" if _MODEL.value else "--camera"
    raise UserError(
      f"expected --model and --camera together, got {given} alone; name the robot's model, and a "
      "camera of the model or the json file of a calibrated one."
    )


def _masks(data, found):
  """What makes the masks, and its description."""
  from vipjax.videos import masks
  from vipjax.videos.sam2 import Click

  if _MODEL.value:
    made = masks.drawn(
      _MODEL.value, _CAMERA.value, _JOINTS.value, data, found, names=_JOINT_NAMES.value,
      degrees=_DEGREES.value, body=_BODY.value,
    )  # fmt: skip
    return made, f"drawn from {_MODEL.value} by {_JOINTS.value}"
  if _MASKS.value or _MASKS_VIEW.value or _ALPHA.value:
    path = _MASKS.value or data
    view = _MASKS_VIEW.value or (None if _MASKS.value else _VIEW.value)
    made = masks.given(path, found, view=view, alpha=_ALPHA.value, size=_SIZE.value)
    return made, f"given in {path}"
  if _SAM2.value:
    clicks = [Click.parse(text) for text in _CLICK.value]
    clicks += [Click.parse(text, inside=False) for text in _CLICK_BESIDE.value]
    made = masks.clicked(_SAM2.value, clicks, len(found))
    return made, f"SAM 2 in {_SAM2.value}, of what was clicked on"
  return masks.of_motion(_THRESHOLD.value), f"motion: {_THRESHOLD.value} levels from the median"


if __name__ == "__main__":
  launcher.run(main)
