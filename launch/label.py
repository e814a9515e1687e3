"""Writes value, distance and reward of every frame of recorded data into a copy; needs no config.

    python -m launch.label --data=hf://lerobot/pusht --encoder=mini --goal=last --out=pusht_labelled
    python -m launch.label --data=videos --encoder=mini --goal=goal.png --out=labels.csv

An --out that ends in .csv gets a table. Any other gets a copy of the LeRobot or TFDS data set with
the numbers beside each frame; in a LeRobot one also sarm_progress.parquet, where LeRobot's
`--sample_weighting.type=rabc` looks for it. --data is not changed.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from vipjax.runtime import launcher

_DATA = flags.DEFINE_string("data", None, "anything that vipjax.read_videos takes")
_OUT = flags.DEFINE_string("out", None, "a file that ends in .csv, or the copy's folder")
_ENCODER = flags.DEFINE_string("encoder", "mini", "anything that vipjax.load takes")
_GOAL = flags.DEFINE_string(
  "goal", "last", "last, frame=N, all-last, or image or video files with commas between them"
)
_GOALS = flags.DEFINE_enum(
  "goals", "mean", ["mean", "nearest"], "of several goal frames, which one to measure to"
)
_REWARD = flags.DEFINE_string(
  "reward_column", None, "the name of the rewards' column, such as LeRobot's next.reward"
)
_FORM = flags.DEFINE_enum(
  "form",
  "difference",
  ["difference", "progress"],
  "of the reward: how much nearer a step comes, or the progress that an encoder's head sees in it",
)
_VIEW = flags.DEFINE_string("view", None, "the camera whose pictures are measured")
flags.mark_flags_as_required(["data", "out"])


def main(_):
  from vipjax import encoder, videos  # Here, so that --help answers at once.
  from vipjax.reward.relabel import (
    check_label_out,
    check_place,
    label_videos,
    videos_to_label,
    write_labels,
  )

  out = pathlib.Path(_OUT.value).expanduser()
  check_place(out)  # Before anything is fetched.
  data = videos.local_path(_DATA.value)
  check_label_out(data, out, _REWARD.value)
  found = videos_to_label(out, videos.open_videos(data, view=_VIEW.value))
  value = encoder.load(_ENCODER.value)
  labels = label_videos(value, found, _GOAL.value, _GOALS.value, _FORM.value)
  write_labels(data, out, labels, _REWARD.value)
  for warning in dict.fromkeys(warning for each in labels for warning in each.warnings):
    print(f"warning: {warning}", file=sys.stderr)
  print(f"{len(labels)} videos, {sum(len(each.distance) for each in labels)} frames: {out}")


if __name__ == "__main__":
  launcher.run(main)
