"""Measures the speed of a part beside its peers and the machine's limit.

    python -m launch.benchmark embed --out=docs/results/benchmark

Suites: embed, finetune, sac, render, env, pipeline, warp. Each takes less than four minutes on two
cores; run it on a machine that does nothing else. It writes SUITE.md and SUITE.json.

Of them warp needs the extra of that name and --scene=FOLDER, which launch.export_scene wrote.
One more, agent, takes hours: how soon our agent and others solve the tasks of --config, by actions
and by the clock. It writes agent.png, too, and all of them after each run; by the same command it
goes on.

Skips peers that are not installed, and says so in the page. `pip install .[peers]` installs them;
--peer_python (repeatable) finds peers in another Python.
"""

import pathlib
import shlex
import sys

from absl import flags

from vipjax.runtime import launcher

_FLAGS = launcher.define_config_flag("configs/agent.py")
_OUT = flags.DEFINE_string("out", "benchmark", "the folder of the results")
_REPEATS = flags.DEFINE_integer("repeats", 5, "how often to time each contender", lower_bound=1)
_PEER_PYTHON = flags.DEFINE_multi_string(
  "peer_python", [], "a Python interpreter with packages of peers; may be given repeatedly"
)
_AGENTS = flags.DEFINE_multi_enum(
  "agent", ["sac", "crossq", "simba"], ["sac", "crossq", "simba"],
  "of the suite agent: a peer; may be given repeatedly",
)  # fmt: skip
_OWN_RATIO = flags.DEFINE_bool(
  "own_ratio", True, "of the suite agent: each peer also with its own one update an action"
)
_SCENE = flags.DEFINE_string("scene", "scenes/window-open", "of the suite warp: the exported scene")


def main(argv):
  from vipjax.benchmark import run_suite  # Here, so that --help answers at once.

  # Paths of interpreters concern this machine alone.
  shown = [word for word in sys.argv[1:] if not word.lstrip("-").startswith("peer_python")]
  command = shlex.join(["python", "-m", "launch.benchmark", *shown])
  suite = argv[1] if argv[1:] else ""
  sizes = {}
  if suite == "agent":
    from vipjax.experiments.ceiling import find_contests

    sizes = {"contests": find_contests(_FLAGS.config), "agents": _AGENTS.value}
    sizes |= {"own_ratio": _OWN_RATIO.value, "earlier": pathlib.Path(_OUT.value) / "agent.json"}
  if suite == "warp":
    sizes = {"scene": _SCENE.value}
  path = run_suite(suite, _OUT.value, command, _REPEATS.value, _PEER_PYTHON.value, **sizes)
  print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
  launcher.run(main, words=1)
