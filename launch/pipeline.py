"""Runs all stages in a row: record, finetune, evaluate, train_policy, report.

    python -m launch.pipeline --config=configs/demo.py

With configs/ablation.py it runs many variants and seeds and compares them in one page. The same
command resumes an interrupted run, or says that it is finished; --overwrite starts over.
"""

import shlex
import sys
import time

from vipjax.runtime import files, launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from configs.paper import additions
  from vipjax.experiments.ablation import run_ablation
  from vipjax.experiments.comparison import format_comparison
  from vipjax.report import format_results, write_report
  from vipjax.stages.pipeline import run_stages

  if "ablation" in _FLAGS.config:
    page = run_ablation(_FLAGS.config, _FLAGS.folder_of_runs, additions)
    print(format_comparison(page.parent))
    print(f"comparison: {page}")
    return
  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  if run_folder.stage_done(workdir, "report"):
    print(f"{workdir} is finished; --overwrite starts over.")
    results = files.read_json(workdir / "results.json")
  else:
    command = shlex.join(["python", "-m", "launch.pipeline", *sys.argv[1:]])
    results = run_stages(_FLAGS.config, workdir, additions, command=command)
    started = time.monotonic()
    write_report(workdir)
    run_folder.mark_done(workdir, "report", {}, time.monotonic() - started)
  print(format_results(results))
  print(f"report: {workdir / 'report.html'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
