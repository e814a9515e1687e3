"""Learns from some arms' videos and judges on another arm, every combination; resumes by itself.

    python -m launch.cross_embodiment --config=configs/cross_embodiment.py --workdir=runs/cross

Writes runs/cross/cross.json, matrix.png, table.md and, for each pair of arms, aligned pictures.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/cross_embodiment.py")


def main(_):
  from vipjax.evaluation.cross_embodiment import cross_embodiment
  from vipjax.report.cross_embodiment import write_pictures

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  print(write_pictures(cross_embodiment(_FLAGS.config, workdir), workdir))


if __name__ == "__main__":
  launcher.run(main, renders=True)
