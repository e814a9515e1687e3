"""Value, distance and reward of every frame of recorded data, into a copy; needs no config.

    python -m launch.label --data=hf://lerobot/pusht --encoder=mini --goal=last --out=pusht_labelled
    python -m launch.label --data=videos --encoder=mini --goal=goal.png --out=labels.csv

An --out that ends in .csv gets a table; else a LeRobot data set (with sarm_progress.parquet, which
its `--sample_weighting.type=rabc` finds there) or a TFDS one is copied with the numbers beside each
frame. What is at --data stays as it is.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from vipjax.runtime import launcher

_DATA = flags.DEFINE_string("data", None, "anything that vipjax.read_videos takes")
_OUT = flags.DEFINE_string("out", None, "a file that ends in .csv, or the copy's folder")
_ENCODER = flags.DEFINE_string("encoder", "mini", "what vipjax.load takes")
_GOAL = flags.DEFINE_string("goal", "last", "last, frame=N, all-last, or image files, with commas")
_GOALS = flags.DEFINE_enum(
  "goals", "mean", ["mean", "nearest"], "with several goal frames, distance to which of them"
)
_REWARD = flags.DEFINE_string(
  "reward_column", None, "the name of the rewards, such as next.reward (LeRobot's replay buffer)"
)
_VIEW = flags.DEFINE_string("view", None, "the camera to take the numbers from")
flags.mark_flags_as_required(["data", "out"])


def main(_):
  from vipjax import encoder, videos  # Here, so that --help answers at once.
  from vipjax.reward.relabel import (
    check_label_out,
    check_label_videos,
    check_place,
    label_videos,
    write_labels,
  )

  out = pathlib.Path(_OUT.value).expanduser()
  check_place(out)  # Before anything is fetched.
  data = videos.local_path(_DATA.value)
  check_label_out(data, out, _REWARD.value)
  found = videos.open_videos(data, view=_VIEW.value)
  check_label_videos(out, found)
  value = encoder.load(_ENCODER.value)
  labels = label_videos(value, found, _GOAL.value, _GOALS.value)
  write_labels(data, out, labels, _REWARD.value)
  for warning in dict.fromkeys(warning for each in labels for warning in each.warnings):
    print(f"warning: {warning}", file=sys.stderr)
  print(f"{len(labels)} videos, {sum(len(each.distance) for each in labels)} frames: {out}")


if __name__ == "__main__":
  launcher.run(main)
