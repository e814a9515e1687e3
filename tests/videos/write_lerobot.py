"""Writes the data set of tests/testdata/lerobot_* with the lerobot package, 0.3.3 or later.

python tests/videos/write_lerobot.py FOLDER video|image
"""

import inspect
import sys

import numpy as np
from drawn import EPISODES, SIZES, drawn  # found beside this file
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def main(folder, kind):
  names = ["height", "width", "channels"]
  features = {
    f"observation.images.{camera}": {"dtype": kind, "shape": (*size, 3), "names": names}
    for camera, size in SIZES.items()
  }
  features["observation.state"] = {"dtype": "float32", "shape": (2,), "names": ["x", "y"]}
  features["action"] = {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]}
  features["next.success"] = {"dtype": "bool", "shape": (1,), "names": None}
  dataset = LeRobotDataset.create(
    "vipjax/test", fps=10, features=features, root=folder, use_videos=kind == "video"
  )
  # Until v3 the task went beside the frame.
  beside = "task" in inspect.signature(dataset.add_frame).parameters
  for number, (length, task, success) in enumerate(EPISODES):
    for time in range(length):
      frame = {
        "observation.state": np.array([number, time], np.float32),
        "action": np.zeros(2, np.float32),
        "next.success": np.array([success and time == length - 1]),
      }
      for camera in SIZES:
        frame[f"observation.images.{camera}"] = drawn(camera, number, time)
      if beside:
        dataset.add_frame(frame, task=task)
      else:
        dataset.add_frame({**frame, "task": task})
    dataset.save_episode()
  if hasattr(dataset, "finalize"):
    dataset.finalize()


if __name__ == "__main__":
  main(*sys.argv[1:])
