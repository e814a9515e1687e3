"""Judges encoders, without fine-tuning, on tasks that they were not trained on; resumes by itself.

    python -m launch.judge --config=configs/judge.py --workdir=runs/judge

Writes runs/judge/judge.json and table.md. Another run with other --config.judge.encoders adds
theirs to the table.

    python -m launch.judge --data=FOLDER --rewards=mini,runs/mine,my_module:my_reward

judges rewards on one's own episodes of known outcome or quality, and needs neither a config nor a
simulator; --out gets a page, judge.json and values.csv.
"""

from __future__ import annotations

import pathlib
import shlex
import sys
import time

from absl import flags

from vipjax.runtime import files, gl, launcher, run_folder
from vipjax.runtime.errors import UserError

_FLAGS = launcher.define_flags("configs/judge.py")
_DATA = flags.DEFINE_string(
  "data", None, "episodes with successes and failures: anything that vipjax.read_videos takes"
)
_REWARDS = flags.DEFINE_list(
  "rewards",
  ["mini"],
  "with --data: anything that vipjax.load takes, random, or module:function (frames -> values)",
)
_QUALITY = flags.DEFINE_string(
  "quality", None, "with --data: a csv or json file of the quality of each episode"
)
_OUT = flags.DEFINE_string("out", None, "with --data: the folder to write (runs/judge_NAME)")
_GOAL = flags.DEFINE_string(
  "goal", None, "of encoders: image or video files (default: the ends of the other successes)"
)
_GOALS = flags.DEFINE_enum(
  "goals", "mean", ["mean", "nearest"], "of several goal frames, which one to measure to"
)
_VIEW = flags.DEFINE_string("view", None, "the camera whose pictures are judged")
_EPISODES = flags.DEFINE_string("episodes", None, "only these episodes, such as 0,2,5-7")
_TASK = flags.DEFINE_string("task", None, "only episodes of this task")
_MAX_FRAMES = flags.DEFINE_integer(
  "max_frames", 150, "the most frames to take of each episode, evenly spaced"
)


def main(_):
  if _DATA.value is not None:
    return judge_data()
  if flags.FLAGS["rewards"].present:
    raise UserError("expected --data with --rewards, got none; name the episodes to judge them on.")
  gl.require()
  print(gl.explain(), file=sys.stderr, flush=True)
  from vipjax.experiments.judge import judge, table

  # Other encoders may be added to those of an earlier call, which judge.json lists.
  opened = _FLAGS.config.copy_and_resolve_references()
  opened.judge.encoders = ()
  workdir = run_folder.open_run(_FLAGS.workdir, opened, _FLAGS.overwrite)
  text = table(judge(_FLAGS.config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


def judge_data():
  from vipjax import videos  # Here, so that --help answers at once.
  from vipjax.evaluation import judge_episodes
  from vipjax.report import judged
  from vipjax.runtime import places
  from vipjax.runtime.numbers import whole_numbers

  started = time.monotonic()
  name = pathlib.Path(_DATA.value).absolute().name
  out = pathlib.Path(_OUT.value or f"runs/judge_{name}").expanduser()
  quality = _QUALITY.value and judge_episodes.read_quality(_QUALITY.value)
  places.make_page_folder(out / judged.PAGE, _FLAGS.overwrite)
  episodes = _EPISODES.value and whole_numbers("--episodes", _EPISODES.value)
  found = videos.open_videos(_DATA.value, view=_VIEW.value, episodes=episodes, task=_TASK.value)
  chosen = judge_episodes.choose_episodes(found, quality or None)
  results = judge_episodes.judge_rewards(
    chosen, _REWARDS.value, _GOAL.value, _GOALS.value, _MAX_FRAMES.value
  )
  facts = {
    "episodes": f"{_DATA.value} ({len(chosen)})",
    "quality": _QUALITY.value or "success is 1, failure 0",
    "rewards": ", ".join(_REWARDS.value),
    "goals of the encoders": _GOAL.value or "the ends of the other best episodes of the task",
    "command": shlex.join(["python", "-m", "launch.judge", *sys.argv[1:]]),
  }
  print(judged.write_judged(out, results, facts, time.monotonic() - started))


if __name__ == "__main__":
  launcher.run(main)
