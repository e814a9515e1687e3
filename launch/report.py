"""Writes a run folder's report.html, one page that opens from disk.

    python -m launch.report --workdir=runs/demo

With --config it first collects results.json from the finished stages, for runs that were made
launcher by launcher.
"""

from absl import flags

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from configs.paper import additions
  from vipjax.report import write_report
  from vipjax.stages.pipeline import collect_results

  if flags.FLAGS.config is not None:
    workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config)
    collect_results(_FLAGS.config, workdir, additions)
  print(write_report(_FLAGS.workdir))


if __name__ == "__main__":
  launcher.run(main)
