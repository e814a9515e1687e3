"""Distance curves of the recorded and of unseen episodes, before and after fine-tuning.

python -m launch.evaluate --config=configs/demo.py --workdir=runs/demo
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.evaluation import evaluate

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  result = evaluate(_FLAGS.config, workdir)
  for name, number in result.items():
    print(f"{name}: {number:.3f}")


if __name__ == "__main__":
  launcher.run(main)
