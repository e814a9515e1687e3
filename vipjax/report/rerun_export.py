"""An episode for Rerun's viewer: frames, their distance to the goal, and Grad-CAM, in one .rrd.

`rerun-sdk` is an optional extra (`pip install "vipjax[rerun]"`); `rerun FILE.rrd` opens the viewer.
"""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

import numpy as np

from vipjax.encoder import ValueFunction
from vipjax.evaluation import fine_stage, grad_cam, network_view, overlay
from vipjax.report.own_videos import Measured
from vipjax.runtime.errors import UserError
from vipjax.videos import fit_square
from vipjax.videos.access import permitted, whole_file

_JPEG_QUALITY = 90


def rerun_package() -> Any:
  """The module `rerun`; raises UserError when it is not installed."""
  try:
    return importlib.import_module("rerun")
  except ImportError as error:
    raise UserError(
      "expected the package rerun-sdk for --rerun, got none; pip install rerun-sdk, or leave the "
      "flag out."
    ) from error


def write_rerun(path: pathlib.Path, value: ValueFunction, measured: Measured) -> None:
  """Writes one video as a recording of Rerun; a file that is there is replaced.

  Its entities are `frame`, `grad_cam` (where the value is raised, over the network's view of the
  frame; of several goals, towards the mean), `distance`, `reward` of the step that led to each
  frame (none for the first) and `goal/<n>`; its timelines are `time`, in seconds, and `frame_nr`.

  Args:
    path: ends in .rrd; folders on the way are made.
    value: what the distances were measured with.
    measured: the video, its curve and its goal, as `own_videos.measure` made them.

  Raises:
    UserError: rerun-sdk is not installed, or the place cannot be written.
  """
  rerun = rerun_package()
  frames, curve = measured.video.frames, measured.curve
  # All that the network sees of either, at one size.
  side = min(frames.shape[1:3])
  squares = fit_square(frames, side)
  goals = np.concatenate([fit_square(image[None], side) for image in measured.goal.frames])
  seen = network_view(value.preprocessing, squares, full_size=True)
  maps = overlay(seen, grad_cam(value, squares, goals, fine_stage(value)))
  with whole_file(path, overwrite=True) as partial, permitted(path):
    # The name of the video is what the viewer lists it by.
    recording = rerun.RecordingStream("vipjax", recording_id=f"{curve.name}, {path.name}")
    recording.save(partial, default_blueprint=_blueprint())
    for number, image in enumerate(measured.goal.frames):
      recording.log(f"goal/{number}", rerun.Image(image), static=True)
    for index, time in enumerate(curve.times):
      recording.set_time("time", duration=float(time))
      recording.set_time("frame_nr", sequence=index)
      recording.log("frame", rerun.Image(frames[index]).compress(jpeg_quality=_JPEG_QUALITY))
      recording.log("grad_cam", rerun.Image(maps[index]).compress(jpeg_quality=_JPEG_QUALITY))
      recording.log("distance", rerun.Scalars(float(curve.distances[index])))
      if index:
        step = curve.distances[index - 1] - curve.distances[index]
        recording.log("reward", rerun.Scalars(float(step)))
    recording.flush()
    recording.disconnect()


def _blueprint() -> Any:
  """Pictures above, curves below."""
  layout = importlib.import_module("rerun.blueprint")
  pictures = [
    layout.Spatial2DView(origin=origin, name=name)
    for origin, name in (("frame", "frame"), ("grad_cam", "Grad-CAM"), ("goal/0", "goal"))
  ]
  curves = [layout.TimeSeriesView(origin=name, name=name) for name in ("distance", "reward")]
  return layout.Blueprint(
    layout.Vertical(layout.Horizontal(*pictures), layout.Horizontal(*curves)), collapse_panels=True
  )
