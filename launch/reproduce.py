"""Runs a finished run again from its own folder and prints the differences.

    python -m launch.reproduce --workdir=runs/demo --out=runs/demo_again

Exits with status 0 if all numbers of results.json but times are the same, else with 2.
"""

import sys

from absl import flags

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags()
_OUT = flags.DEFINE_string("out", None, "the folder of the new run")


def main(_):
  from configs import paper
  from vipjax.experiments.reproduce import reproduce
  from vipjax.runtime.errors import UserError

  if not _OUT.value:
    raise UserError("expected --out=FOLDER for the new run, got none; name one.")
  differing = reproduce(_FLAGS.workdir, _OUT.value, paper.get_config(), paper.additions)
  for kind, pairs in differing.items():
    for name, (then, now) in pairs.items():
      print(f"{kind}: {name} was {then}, is {now}")
  if differing["results"]:
    sys.exit(2)
  print(f"{_OUT.value} gave the same numbers as {_FLAGS.workdir}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
