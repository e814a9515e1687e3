"""Measures how often the scripted experts solve each task with each arm; resumes by itself.

    python -m launch.tasks --config=configs/tasks.py --workdir=runs/tasks

Writes runs/tasks/expert_success.json and table.md.
"""

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/tasks.py")


def main(_):
  from vipjax.experiments.tasks import measure, table

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  text = table(measure(_FLAGS.config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main)
