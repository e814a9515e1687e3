"""A run with evidence, shared by the tests that read its page and those that open it."""

import numpy as np
import pytest

from tests.report.runs import curve, video, write_finished_run
from vipjax import report
from vipjax.runtime import files
from vipjax.videos import write_image, write_video

LEFT, FREE = "episode 0, left", "episode 0, left, robot-free"
SUMMARY = {"object_over_area": 1.5, "robot_over_area": None, "background_over_area": 0.9,
           "peak_on_object": 0.25, "frames_with_map": 1.0}  # fmt: skip


def attention_record():
  share = [[0.5, 0.25, 0.25], [None, None, None], [0.2, 0.8, 0.0]]
  stages = {"share": share, "area": [[0.6, 0.2, 0.2]] * 3, "peak": [0, -1, 1], "mean": SUMMARY}
  return {
    "when": "after", "name": LEFT, "fps": 10.0, "film": "film.mp4",
    "stages": {"stage4": stages, "stage2": stages},
    "occlusion": {"object": [0.1, -0.2, 0.0], "robot": [0.3, 0.1, 0.2]},
    "distance": [4.0, 2.0, 0.0],
  }  # fmt: skip


def states():
  return {
    "kind": ["random"] * 3 + ["policy"] * 3, "rollout": [0] * 3 + [1] * 3,
    "time": [0.0, 0.1, 0.2] * 2, "hand": [0.5, 0.4, 0.3] * 2, "object": [0.2] * 6,
    "success": [False] * 6, "progress": [-3.0, -2.5, -2.0] * 2,
    "potentials": {"reward": [-3.0, -1.0, -2.0] * 2, "front": [-9.0, -8.0, -7.0] * 2},
  }  # fmt: skip


@pytest.fixture(scope="session")
def evidence_run(tmp_path_factory):
  """A run folder with evidence, and its report."""
  workdir = write_finished_run(tmp_path_factory.mktemp("run"))
  evaluation = files.read_json(workdir / "evaluation.json")
  for curves, middle in ((evaluation["before"], 5.0), (evaluation["after"], 2.0)):
    # As many points as the recorded video has frames.
    curves["recorded"][0] = curve(LEFT, [4.0, 3.5, 3.0, middle, 1.0, 0.0])
    curves["unseen_views"] = [curve("turned", [4.0, 3.0])]
  aligned = {"tau": 0.75, "cycle_consistency_2": 0.5, "cycle_index_error_2": 0.1,
             "cycle_consistency_3": None, "cycle_index_error_3": None}  # fmt: skip
  aligned |= {
    "pairs": {LEFT: {FREE: 1.0}, FREE: {LEFT: 0.5}},
    "nearest": {FREE: [0, 1, 2, 3, 4, 5]},
  }
  evaluation["alignment"] = {"after": {"both": aligned}}
  files.write_json(workdir / "evaluation.json", evaluation)
  means = {"stage4": SUMMARY, "stage2_robot_free_before": SUMMARY,
           "occlusion": {"robot_removed": 0.3}, "agreement": {"stage2": -0.125}}  # fmt: skip
  before = attention_record() | {"when": "before", "film": None}
  found = {"means": means, "videos": [attention_record(), before]}
  files.write_json(workdir / "attention" / "attention.json", found)
  write_video(workdir / "attention" / "film.mp4", video("left", True).frames, 10.0)
  numbers = {"progress": 0.625, "hand": None, "object": 0.5, "success": 1.0}
  write_image(workdir / "off_path" / "hack0.png", np.full((8, 8, 3), 200, np.uint8))
  off = {"correlations": {"reward": numbers}, "states": states(),
         "hacks": [{"file": "hack0.png", "state": 4, "gap": 0.6}]}  # fmt: skip
  files.write_json(workdir / "off_path" / "off_path.json", off)
  views = {"left": 0.0625, "left, robot-free": 1.0}
  worth = {"discount": 0.97, "horizon": 66, "success_after": 12, "pose_after": 6,
           "worth_solved": 0.852, "worth_pose": 0.888, "pose_pays_more": True,
           "pose_pays_more_within": 8}  # fmt: skip
  price = {"hack_price": 0.0625, "hack_price_reward": 0.6875, "hack_price_robot_free": 1.0,
           "views": views, "episodes": [views] * 3, "overlap": 0.003, "worth": worth}  # fmt: skip
  files.write_json(
    workdir / "hack_price" / "hack_price.json",
    {"before": {**price, "views": {**views, "left": 0.125}, "hack_price_reward": 0.75},
     "after": price},
  )  # fmt: skip
  for which in ("first", "last", "put_back"):
    write_image(workdir / "hack_price" / f"left_{which}.png", np.full((8, 8, 3), 90, np.uint8))
  report.write_report(workdir)
  return workdir
