"""Writes report.html of a run folder: one page that opens from disk.

python -m launch.report --workdir=runs/demo
"""

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.report import write_report

  print(write_report(_FLAGS.workdir))


if __name__ == "__main__":
  launcher.run(main)
