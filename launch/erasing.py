"""Measures erased films against truly robot-free ones, in the simulator; resumes by itself.

    python -m launch.erasing --config=configs/erasing.py --workdir=runs/erasing

Writes runs/erasing/erasing.json, table.md, and a film of each task and arm, with its true masks and
its erased twins, to films/.
"""

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/erasing.py")


def main(_):
  from vipjax.experiments.erasing import measure, table

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  text = table(measure(_FLAGS.config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main, renders=True)
