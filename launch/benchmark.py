"""Measures the speed of a part beside its peers and the machine's limit.

    python -m launch.benchmark embed --out=docs/results/benchmark

Suites: embed, finetune, sac, render, env, pipeline. Each takes less than four minutes on two
cores; run it on a machine that does nothing else. It writes SUITE.md and SUITE.json.

Skips peers that are not installed, and says so in the page. `pip install .[peers]` installs them;
--peer_python (repeatable) finds peers in another Python.
"""

import shlex
import sys

from absl import flags

from vipjax.runtime import launcher

_OUT = flags.DEFINE_string("out", "benchmark", "the folder of the results")
_REPEATS = flags.DEFINE_integer("repeats", 5, "how often to time each contender", lower_bound=1)
_PEER_PYTHON = flags.DEFINE_multi_string(
  "peer_python", [], "a Python interpreter with packages of peers; may be given repeatedly"
)


def main(argv):
  from vipjax.benchmark import run_suite  # Here, so that --help answers at once.

  # Paths of interpreters concern this machine alone.
  shown = [word for word in sys.argv[1:] if not word.lstrip("-").startswith("peer_python")]
  command = shlex.join(["python", "-m", "launch.benchmark", *shown])
  suite = argv[1] if argv[1:] else ""
  path = run_suite(suite, _OUT.value, command, _REPEATS.value, _PEER_PYTHON.value)
  print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
  launcher.run(main, words=1)
