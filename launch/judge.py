"""Judges encoders, without fine-tuning, on tasks they were not trained on; resumes by itself.

    python -m launch.judge --config=configs/judge.py --workdir=runs/judge

Writes runs/judge/judge.json and table.md.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/judge.py")


def main(_):
  from vipjax.evaluation.held_out import judge, table

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  text = table(judge(_FLAGS.config, workdir))
  run_folder.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main, renders=True)
