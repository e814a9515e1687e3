"""Records the scripted expert: videos from every view, with the robot and without it.

python -m launch.record --config=configs/demo.py --workdir=runs/demo
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.videos.record import record

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  result = record(_FLAGS.config, workdir)
  print(f"{result['videos']} videos, {result['frames']} frames in {workdir / 'videos'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
