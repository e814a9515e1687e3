"""Measures a run's encoder: distance curves, alignment, attention, states off the expert's path.

    python -m launch.evaluate --config=configs/demo.py --workdir=runs/demo
    python -m launch.evaluate --workdir=runs/demo --again --attention=4 --off_path=10

Without --config it takes the run's own. --again repeats finished measurements, for example after
the policy stage, when the states that the policy visits are part of them. `launch.report` shows the
results.
"""

from __future__ import annotations

from absl import flags

from vipjax.runtime import files, launcher, places, run_folder

_FLAGS = launcher.define_flags()
_AGAIN = flags.DEFINE_bool("again", False, "repeat finished measurements")
# These numbers do not affect training, so they may differ from those of the run.
_NUMBERS = {
  "attention_episodes": flags.DEFINE_integer(
    "attention", None, "expert episodes for Grad-CAM (default: config.evaluate's)", lower_bound=0
  ),
  "failed_episodes": flags.DEFINE_integer(
    "failed", None, "episodes that fail on purpose (likewise)", lower_bound=0
  ),
  "robots": flags.DEFINE_list(
    "robots", None, "other arms for the unseen episodes, such as panda,jaco (likewise)"
  ),
  "off_path_episodes": flags.DEFINE_integer(
    "off_path", None, "rollouts of each kind off the expert's path (likewise)", lower_bound=0
  ),
  "view_shift": flags.DEFINE_float(
    "view_shift", None, "degrees by which to turn cameras for unseen viewpoints (likewise)"
  ),
}


def main(_):
  from configs import paper
  from vipjax.report.tables import value_text
  from vipjax.stages.evaluate import evaluate

  if flags.FLAGS.config is None:
    config = run_folder.run_config(_FLAGS.workdir, paper.get_config())
    workdir = _FLAGS.workdir.absolute()
    places.hold(workdir)
  else:
    config = _FLAGS.config
    workdir = run_folder.open_run(_FLAGS.workdir, config, _FLAGS.overwrite)
  for key, flag in _NUMBERS.items():
    if flag.value is not None:
      config.evaluate[key] = tuple(flag.value) if key == "robots" else flag.value
  result = evaluate(config, workdir, again=_AGAIN.value)
  collected = workdir / "results.json"
  if collected.exists():  # of a pipeline that has finished
    files.write_json(collected, {**files.read_json(collected), **result})
  for name, number in files.flatten(result).items():
    print(f"{name}: {value_text(number)}")


if __name__ == "__main__":
  launcher.run(main)
