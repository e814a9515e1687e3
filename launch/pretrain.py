"""Pretrains an encoder: records the corpus, then trains with the VIP loss; resumes by itself.

    python -m launch.pretrain --config=configs/pretrain.py --workdir=runs/pretrain

The artefact is runs/pretrain/encoder, which `vipjax.load` and --config.encoder.init take.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/pretrain.py")


def main(_):
  from vipjax.finetune import finetune
  from vipjax.videos.corpus import record_corpus

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  corpus = record_corpus(_FLAGS.config, workdir)
  print(f"{corpus['videos']} videos of {corpus['tasks']} tasks, {corpus['frames']} frames")
  result = finetune(_FLAGS.config, workdir)
  print(f"{result['steps']} steps; encoder in {workdir / 'encoder'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
