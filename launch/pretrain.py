"""Pretrains an encoder in stages, each with a corpus that it records; resumes by itself.

    python -m launch.pretrain --config=configs/pretrain.py --workdir=runs/pretrain

The artefact is runs/pretrain/encoder, which `vipjax.load` and --config.encoder.init take.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/pretrain.py")


def main(_):
  from vipjax.experiments.pretraining import pretrain

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  for name, result in pretrain(_FLAGS.config, workdir).items():
    print(f"{name}: {result['steps']} steps on {result['videos']} videos")
  print(f"encoder in {workdir / 'encoder'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
