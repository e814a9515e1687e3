"""Learns from some arms' videos and judges on another arm, in all combinations; resumes by itself.

    python -m launch.cross_embodiment --config=configs/cross_embodiment.py --workdir=runs/cross

Writes runs/cross/cross.json after every cell, and matrix.png, summary.md, table.md and aligned
pictures of each pair of arms after every seed and after the policies, which come last.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/cross_embodiment.py")


def main(_):
  from vipjax.experiments.cross_embodiment import cells, judge_cells, train_policies
  from vipjax.experiments.cross_pictures import write_pictures

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  config = _FLAGS.config
  for seed in config.cross.seeds:
    wanted = [cell for cell in cells(config.cross) if cell.seed == seed]
    write_pictures(judge_cells(config, workdir, wanted), workdir)
  table = write_pictures(train_policies(config, workdir), workdir)
  print(f"{table}\n\n{(workdir / 'summary.md').read_text(encoding='utf-8')}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
