"""Measures erased films against truly robot-free ones, in the simulator; resumes by itself.

    python -m launch.erasing --config=configs/erasing.py --workdir=runs/erasing

Writes runs/erasing/erasing.json, table.md, and to films/ each film beside its true masks, its
erased twins and the robot-free one. With
--config.erasing.finetune="('robot-free','given','motion')" it also runs the demo from drawn and
from erased twins, each a run in finetune/ (minutes) with a report, and compares them in
finetune/twins.html.
"""

import shlex
import sys

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/erasing.py")


def main(_):
  from configs.paper import additions
  from vipjax.experiments.erasing import measure, table
  from vipjax.experiments.twins import check_twins, run_twins

  config = _FLAGS.config
  check_twins(config)
  workdir = run_folder.open_run(_FLAGS.workdir, config, _FLAGS.overwrite)
  text = table(measure(config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)
  if config.erasing.finetune:
    command = shlex.join(["python", "-m", "launch.erasing", *sys.argv[1:]])
    page = run_twins(config, workdir, additions, command)
    print((page.parent / "table.md").read_text() + f"page: {page}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
