"""Records the scripted expert: videos from every view, with the robot and without it.

    python -m launch.record --config=configs/demo.py --workdir=runs/demo
    python -m launch.record --config=configs/pretrain.py --workdir=runs/pretrain

With a config that declares a corpus: that of many tasks, for pretraining.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.videos.corpus import record_corpus
  from vipjax.videos.record import record

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  many = "corpus" in _FLAGS.config
  result = record_corpus(_FLAGS.config, workdir) if many else record(_FLAGS.config, workdir)
  print(f"{result['videos']} videos, {result['frames']} frames in {workdir / 'videos'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
