"""Writes distance curves of your own videos as a page that opens from disk; needs no config.

    python -m launch.curves --videos=FOLDER_OR_FILE --encoder=mini

Takes seconds with a small encoder and trains nothing. --out gets the page, films and curves.csv.

    python -m launch.curves --live=CAMERA_OR_STREAM --goal=GOAL_PICTURE

draws the distance as it is filmed, on a page that this machine serves until Ctrl-C.
"""

from __future__ import annotations

import pathlib
import shlex
import sys
import time

from absl import flags

from vipjax.runtime import launcher

_VIDEOS = flags.DEFINE_string(
  "videos", None, "a video, a folder or a data set: anything that vipjax.read_videos takes"
)
_LIVE = flags.DEFINE_string(
  "live",
  None,
  "instead of --videos a camera (0 is the first), its device, the address of a stream, or a video "
  "file played at its own pace; without --goal the goal is chosen on the page",
)
_PORT = flags.DEFINE_integer("port", 8000, "of the page of --live; 0 takes a free one")
_ENCODER = flags.DEFINE_string(
  "encoder",
  "mini",
  "anything that vipjax.load takes: 'mini', 'vip-resnet50', a run folder, an artefact",
)
_OUT = flags.DEFINE_string("out", None, "the folder to write (default: runs/curves_NAME)")
_GOAL = flags.DEFINE_string(
  "goal", "last", "last, frame=N, all-last, or image or video files with commas between them"
)
_GOALS = flags.DEFINE_enum(
  "goals", "mean", ["mean", "nearest"], "of several goal frames, which one to measure to"
)
_MAX_FRAMES = flags.DEFINE_integer(
  "max_frames", 150, "the most frames to take of each video, evenly spaced"
)
_MAX_VIDEOS = flags.DEFINE_integer("max_videos", 24, "the most videos to take, from the first")
_VIEW = flags.DEFINE_string("view", None, "only this camera")
_EPISODES = flags.DEFINE_string("episodes", None, "only these episodes, such as 0,2,5-7")
_TASK = flags.DEFINE_string("task", None, "only episodes of this task")
_RERUN = flags.DEFINE_bool(
  "rerun", False, "also write each video for Rerun's viewer, with Grad-CAM, into rerun/"
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an existing page at --out")


def main(_):
  from vipjax.runtime.errors import UserError

  if _LIVE.value is not None:
    if _VIDEOS.value is not None:
      raise UserError("expected either --videos or --live, got both; leave out one of them.")
    _watch()
  elif _VIDEOS.value is None:
    raise UserError("expected --videos=VALUE, got none; --help says what it takes.")
  else:
    _write_page()


def _watch():
  """Shows what is filmed until it ends, or until Ctrl-C, which is how a camera's film ends."""
  from vipjax import encoder
  from vipjax.report import live
  from vipjax.videos.live import LiveFrames

  goal = live.goal_of(_GOAL.value)
  watched = live.Watch(encoder.load(_ENCODER.value), goal, _GOALS.value)
  with LiveFrames(_LIVE.value) as film, live.served(watched, _PORT.value) as address:
    print(address, flush=True)
    port = address.rsplit(":", 1)[1]
    print(
      f"over ssh: ssh -L {port}:localhost:{port} THIS_MACHINE, then the same address there; Ctrl-C "
      "ends it",
      file=sys.stderr,
    )
    try:
      for words in live.watch(watched, film):
        if sys.stderr.isatty():
          print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
      pass
    print(f"\n{watched.measured} of {film.filmed} frames; {watched.words()}", file=sys.stderr)


def _write_page():
  from vipjax import encoder, videos  # Here, so that --help answers at once.
  from vipjax.report import own_videos, rerun_export
  from vipjax.runtime import places
  from vipjax.runtime.numbers import whole_numbers

  started = time.monotonic()
  name = pathlib.Path(_VIDEOS.value).absolute().name
  out = pathlib.Path(_OUT.value or f"runs/curves_{name}").expanduser()
  if _RERUN.value:
    rerun_export.rerun_package()
  places.make_page_folder(out / own_videos.PAGE, _OVERWRITE.value)
  value = encoder.load(_ENCODER.value)
  episodes = _EPISODES.value and whole_numbers("--episodes", _EPISODES.value)
  found = videos.open_videos(_VIDEOS.value, view=_VIEW.value, episodes=episodes, task=_TASK.value)
  measured = own_videos.measure(
    value, found[: _MAX_VIDEOS.value], _GOAL.value, _GOALS.value, _MAX_FRAMES.value
  )
  head = "" if value.head.name == "l2" else f", head {value.head.name}"
  facts = {
    "videos": f"{_VIDEOS.value} ({len(measured)} of {len(found)})",
    "encoder": f"{value.metadata.get('name', _ENCODER.value)} ({_ENCODER.value}){head}",
    "licence of the encoder": value.metadata.get("licence", "unknown"),
    "command": shlex.join(["python", "-m", "launch.curves", *sys.argv[1:]]),
  }
  if _RERUN.value:
    for film, each in zip(own_videos.film_names(measured), measured, strict=True):
      rerun_export.write_rerun(out / "rerun" / f"{film}.rrd", value, each)
  page = own_videos.write_curves(out, measured, facts, time.monotonic() - started)
  for warning in dict.fromkeys(warning for each in measured for warning in each.warnings):
    print(f"warning: {warning}", file=sys.stderr)
  print(page)


if __name__ == "__main__":
  launcher.run(main)
