"""Films the scripted expert from every view, with and without the robot.

    python -m launch.record --config=configs/demo.py --workdir=runs/demo
    python -m launch.record --config=configs/pretrain.py --workdir=runs/pretrain

With a config that declares stages of pretraining it records their corpora of many tasks.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.experiments.pretraining import record_stages
  from vipjax.stages.record import record

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  if "pretrain" in _FLAGS.config:
    for name, result in record_stages(_FLAGS.config, workdir).items():
      _tell(result, workdir / name)
  else:
    _tell(record(_FLAGS.config, workdir), workdir)


def _tell(result, folder):
  print(f"{result['videos']} videos, {result['frames']} frames in {folder / 'videos'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
