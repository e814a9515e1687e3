"""Trains SAC on a perfect reward at ten tasks, one run on each core; resumes by itself.

    python -m launch.ceiling --config=configs/ceiling.py --workdir=runs/ceiling

Each run is a run folder; finished ones are not repeated. ceiling.html, ceiling.png and table.md,
written after each that finishes, tell of all that are there.
"""

from vipjax.runtime import launcher
from vipjax.runtime.errors import UserError

_FLAGS = launcher.define_flags("configs/ceiling.py")


def main(_):
  from vipjax.experiments.ceiling import run_ceiling

  if _FLAGS.overwrite:
    raise UserError("expected no --overwrite with many runs, got one; delete runs instead.")
  run_ceiling(_FLAGS.config, _FLAGS.workdir.absolute())


if __name__ == "__main__":
  launcher.run(main)
