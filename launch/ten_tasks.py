"""Runs the whole method at ten tasks and compares them on a page, resumes by itself.

    python -m launch.ten_tasks --config=configs/ten_tasks.py --workdir=runs/ten_tasks

Each run is a run folder with its own report; finished ones are not repeated.
"""

from vipjax.runtime import launcher

_FLAGS = launcher.define_flags("configs/ten_tasks.py")


def main(_):
  from configs.paper import additions
  from vipjax.experiments.ten_tasks import run_ten_tasks

  page = run_ten_tasks(_FLAGS.config, _FLAGS.folder_of_runs, additions)
  print(f"page: {page}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
