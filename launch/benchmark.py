"""Measures how fast a part is, beside what a user would run instead and what the machine could do.

    python -m launch.benchmark embed --out=docs/results/benchmark

Suites: embed, finetune, sac, render, env, pipeline. Each takes less than four minutes on two
cores; run it on a machine that does nothing else. It writes SUITE.md and SUITE.json.

Peers that are not installed are skipped, and the page says so. `pip install .[peers]` installs
them; those that live in a Python of their own are found by --peer_python (repeatable).
"""

import shlex
import sys

from absl import flags

from vipjax.runtime import launcher

_OUT = flags.DEFINE_string("out", "benchmark", "folder of the results")
_REPEATS = flags.DEFINE_integer("repeats", 5, "how often each contender is timed", lower_bound=1)
_PEER_PYTHON = flags.DEFINE_multi_string(
  "peer_python", [], "a Python interpreter that has packages of peers; may be given repeatedly"
)


def main(argv):
  from vipjax.benchmark import run_suite  # Here, so that --help answers at once.

  # Paths of interpreters are this machine's own affair.
  shown = [word for word in sys.argv[1:] if not word.lstrip("-").startswith("peer_python")]
  command = shlex.join(["python", "-m", "launch.benchmark", *shown])
  suite = argv[1] if argv[1:] else ""
  path = run_suite(suite, _OUT.value, command, _REPEATS.value, _PEER_PYTHON.value)
  print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
  launcher.run(main, words=1)
