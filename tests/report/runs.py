"""A small finished run folder, made up, with text in it that would break a page if it could."""

from __future__ import annotations

import json

import numpy as np

from vipjax.runtime import files
from vipjax.types import Video
from vipjax.videos import write_image, write_video, write_videos

HOSTILE = "<script>alert('\"&')</script>"


def curve(name, distances, correlation=1.0, falling=1.0):
  """A record as `DistanceCurve.record` makes it."""
  return {
    "name": name,
    "distances": list(distances),
    "times": [0.1 * step for step in range(len(distances))],
    "rank_correlation": correlation,
    "falling_fraction": falling,
    "largest_rise": 0.0,
  }


def video(view, robot_visible, length=6):
  """A ramp of grey that brightens."""
  levels = np.linspace(40, 200, length).astype(np.uint8)
  frames = np.broadcast_to(levels[:, None, None, None], (length, 24, 32, 3)).copy()
  return Video(frames, fps=10.0, view=view, robot_visible=robot_visible, episode=0)


def write_finished_run(workdir):
  """Writes every file that a report reads; returns `workdir`."""
  videos = [video("left", True), video("left", False)]
  write_videos(workdir / "videos", videos)
  write_video(workdir / "policy" / "final.mp4", videos[0].frames, 10.0)
  write_image(workdir / "policy" / "goal0.png", videos[0].frames[-1])
  goal = {
    "file": "goal0.png", "source": f"{workdir}/videos/a.mp4, last frame", "view": "left",
    "weight": 1.0, "robot_visible": False, "warnings": [f"doubtful {HOSTILE}"],
  }  # fmt: skip
  files.write_json(workdir / "policy/goals.json", {"goals": "nearest", "frames": [goal, goal]})
  names = ["episode 0, left", "episode 0, left, robot-free"]
  evaluation = {
    "before": {
      "recorded": [curve(name, [1.0, 2.0, 0.0], 0.5, 0.5) for name in names],
      "unseen": [curve("episode 7, left", [1.0, 1.5, 0.0], 0.25, 0.5)],
    },
    "after": {
      "recorded": [curve(name, [4.0, 2.0, 0.0]) for name in names],
      "unseen": [curve("episode 7, left", [4.0, 1.0, 0.0], 0.75)],
    },
  }
  files.write_json(workdir / "evaluation.json", evaluation)
  rows = [
    {"step": 1, "stage": "finetune", "loss": 3.0, "vip_loss": 2.0, "tcc_loss": None},
    {"step": 2, "stage": "finetune", "loss": 2.0, "vip_loss": 1.0, "tcc_loss": 0.5},
    {"step": 9, "stage": "policy", "success": 0.0, "return": 0.1, "train_distance": 3.0},
    {"step": 12, "stage": "policy", "online_loss": 0.5},
    {"step": 18, "stage": "policy", "success": 1.0, "return": 2.0, "train_distance": 1.0},
  ]
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  config = {
    "seed": 3, "data": {"task": ""}, "env": {"task": "window-open"},
    "finetune": {"steps": 2, "odd": HOSTILE},
  }  # fmt: skip
  files.write_json(workdir / "config.json", config)
  versions = {
    "python": "3.11.1",
    "git_commit": HOSTILE,
    "packages": {"jax": "0.10.2", "gone": None},
  }
  files.write_json(workdir / "versions.json", versions)
  files.write_json(workdir / "results.json", RESULTS)
  return workdir


RESULTS = {
  "policy_success": 0.9,
  "rank_correlation_unseen": 0.981,
  "rank_correlation_before": 0.412,
  "rank_correlation_unseen_before": 0.412,
  "episodes": 20,
  "other": {"slide": 0.5, HOSTILE: HOSTILE},
  "seconds": {"record": 12.34, "finetune": 65.0, "evaluate": 1.0, "policy": 7384.0},
  "peak_memory_mb": 3072.0,
  "seeds": [3],
  "command": f"python -m launch.pipeline --x='{HOSTILE}'",
  "additions": [{"name": "reward.scale", "value": 10.0, "reason": HOSTILE}],
  "notes": [HOSTILE],
}
