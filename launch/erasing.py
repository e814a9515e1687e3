"""Measures erased films against truly robot-free ones, in the simulator; resumes by itself.

    python -m launch.erasing --config=configs/erasing.py --workdir=runs/erasing

Writes runs/erasing/erasing.json, table.md, and to films/ each film beside its true masks, its
erased twins and the robot-free one. With --config.erasing.finetune="('motion','given')" it also
fine-tunes the demo's encoder from erased twins, each a run in finetune/ (minutes).
"""

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags("configs/erasing.py")


def main(_):
  from vipjax.experiments.erasing import fine_tune, fine_tuned_table, measure, table

  config = _FLAGS.config
  workdir = run_folder.open_run(_FLAGS.workdir, config, _FLAGS.overwrite)
  text = table(measure(config, workdir))
  if config.erasing.finetune:
    text += "\n\n" + fine_tuned_table(fine_tune(config, workdir))
  files.write_text(workdir / "table.md", text + "\n")
  print(text)


if __name__ == "__main__":
  launcher.run(main, renders=True)
