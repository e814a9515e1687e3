"""Trains V-PTR, its ablations and rewards of videos, and compares them on a page; resumes.

    python -m launch.vptr --config=configs/vptr.py --workdir=runs/vptr

A stage alone: --config.vptr.stages="('video',)"; rows alone: --config.vptr.only="('full',)".
V-PTR's encoder is frozen, with which its publication fails; with --config.vptr.encoder_learns it
learns, which is for a GPU: docs/results/vptr.md.
"""

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags("configs/vptr.py")


def main(_):
  from configs import demo
  from configs.paper import additions
  from vipjax.experiments.vptr import run_vptr
  from vipjax.experiments.vptr_page import FROZEN

  print(FROZEN, flush=True)
  page = run_vptr(_FLAGS.config, _FLAGS.folder_of_runs, demo.get_config(), additions)
  print(f"page: {page}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
