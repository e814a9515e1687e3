"""Drives every arm by the strongest torques and reports what happens; resumes by itself.

    python -m launch.stability --config=configs/stability.py --workdir=runs/stability

Writes runs/stability/stability.json and table.md.
"""

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/stability.py")


def main(_):
  from vipjax.experiments.stability import measure, table

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  text = table(measure(_FLAGS.config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main)
