"""Trains SAC on a perfect reward at ten tasks, one run on each core; resumes by itself.

    python -m launch.ceiling --config=configs/ceiling.py --workdir=runs/ceiling

Each run is a run folder; finished ones are not repeated. ceiling.html, ceiling.png and table.md,
written after each that finishes, tell of all that are there.
"""

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags("configs/ceiling.py")


def main(_):
  from vipjax.experiments.ceiling import run_ceiling

  run_ceiling(_FLAGS.config, _FLAGS.folder_of_runs)


if __name__ == "__main__":
  launcher.run(main)
