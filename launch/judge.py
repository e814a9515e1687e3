"""Judges encoders, without fine-tuning, on tasks that they were not trained on; resumes by itself.

    python -m launch.judge --config=configs/judge.py --workdir=runs/judge

Writes runs/judge/judge.json and table.md. Another run with other --config.judge.encoders adds
theirs to the table.
"""

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/judge.py")


def main(_):
  from vipjax.experiments.judge import judge, table

  # Other encoders may be added to those of an earlier call, which judge.json lists.
  opened = _FLAGS.config.copy_and_resolve_references()
  opened.judge.encoders = ()
  workdir = run_folder.open_run(_FLAGS.workdir, opened, _FLAGS.overwrite)
  text = table(judge(_FLAGS.config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main, renders=True)
